#include "kernels/gemm/pass.hpp"

#include <algorithm>

#include "kernels/gemm/fused.hpp"

namespace pando::kernels {
namespace {

FusedBlock channel_block(const MatrixPass& pass, int64_t block, int64_t hi) {
  FusedBlock f{};
  f.a = pass.weights + block / gemm_block * pass.block_stride;
  f.ldb = pass.gemm->ldb;
  f.k = pass.gemm->k;
  f.channels = std::min<int64_t>(gemm_block, hi - block);
  f.y_stride = pass.out_stride;
  f.residual_stride = pass.residual_stride;
  f.bias = pass.bias ? pass.bias + block : nullptr;
  return f;
}

}  // namespace

void matrix_pass(const MatrixPass& pass, std::span<const PassRun> runs, int64_t lo, int64_t hi,
                 const EpilogueArgs& epilogue, float* scratch) {
  int64_t columns = 0;
  for (const PassRun& run : runs) columns += run.n;
  for (int64_t block = lo; block < hi; block += gemm_block) {
    FusedBlock f = channel_block(pass, block, hi);
    // Chunks outside, columns inside: a chunk's weights are read from L2 or beyond once, then from L1.
    for (int q = 0; q < pass.entries; q += pass.chunk) {
      f.count = std::min(pass.chunk, pass.entries - q);
      f.a_offsets = pass.a_offsets + q;
      f.b_offsets = pass.b_offsets + q;
      const bool last = q + f.count == pass.entries, end = last && block + gemm_block >= hi;
      // What comes next lies behind this chunk, or is the next block's first one.
      const float* next = f.a + (last ? pass.block_stride : (q + f.count) * f.k * gemm_block);
      const int64_t next_floats = end ? 0 : f.count * f.k * gemm_block;
      int64_t done = 0;
      for (const PassRun& run : runs) {
        f.b = run.b;
        f.n = run.n;
        f.y = run.c + block;
        f.residual = run.residual ? run.residual + block : nullptr;
        f.begin = q == 0 ? nullptr : scratch + done * gemm_block;
        f.sums = last ? nullptr : scratch + done * gemm_block;
        const int64_t from = next_floats * done / columns;
        done += run.n;
        f.ahead = next + from;
        f.ahead_floats = next_floats * done / columns - from;
        fused_block(epilogue, f);
      }
    }
  }
}

}  // namespace pando::kernels
