#include "kernels/gemm/pass.hpp"

#include <algorithm>

namespace pando::kernels {
namespace {

// How the channels of one block are computed for n columns: m rows; in place when all of them are wanted.
struct BlockWay {
  int wanted, m;
  bool in_place() const { return wanted == m; }
};
BlockWay way(int64_t block_lo, int64_t hi, int n) {
  const int wanted = static_cast<int>(std::min<int64_t>(gemm_block, hi - block_lo));
  return {wanted, gemm_rows(wanted, n)};
}

template <class F>
void for_pieces(int64_t n, const F& f) {
  for (int64_t j = 0; j < n;) {
    const int piece = pass_piece(n - j);
    f(j, piece);
    j += piece;
  }
}

}  // namespace

void prepare_pass(const MatrixPass& pass, int64_t n, int64_t lo, int64_t hi) {
  const bool accumulate = pass.chunk < pass.entries;
  for_pieces(n, [&](int64_t, int piece) {
    if (hi - lo >= gemm_block) pass.direct->prepare(gemm_block, piece, accumulate);
    if ((hi - lo) % gemm_block == 0) return;
    const BlockWay w = way(lo + (hi - lo) / gemm_block * gemm_block, hi, piece);
    (w.in_place() ? pass.direct : pass.padded)->prepare(w.m, piece, accumulate);
  });
}

void matrix_pass(const MatrixPass& pass, std::span<const PassRun> runs, int64_t lo, int64_t hi,
                 const EpilogueArgs& epilogue, float* scratch) {
  for (int64_t block = lo; block < hi; block += gemm_block) {
    const float* weights = pass.weights + block / gemm_block * pass.block_stride;
    // Chunks outside, columns inside: a chunk's weights are read from L2 or beyond once, then from L1.
    for (int q = 0; q < pass.entries; q += pass.chunk) {
      const int count = std::min(pass.chunk, pass.entries - q);
      const bool last = q + count == pass.entries;
      float* padded = scratch;
      for (const PassRun& run : runs) {
        for_pieces(run.n, [&](int64_t j, int n) {
          const BlockWay w = way(block, hi, n);
          const GemmFamily& gemm = w.in_place() ? *pass.direct : *pass.padded;
          float* out = run.c + j * pass.direct->ldc + block;
          float* c = w.in_place() ? out : padded;
          gemm(w.m, n, q > 0, weights, run.b + j * gemm.ldb, c, static_cast<GemmOffset>(count), pass.a_offsets + q,
               pass.b_offsets + q);
          if (!w.in_place()) padded += static_cast<int64_t>(n) * gemm_block;
          if (!last) return;
          const float* residual = run.residual ? run.residual + j * pass.residual_stride + block : nullptr;
          finish_block(epilogue, {c, gemm.ldc, out, pass.direct->ldc, residual, pass.residual_stride,
                                  pass.bias ? pass.bias + block : nullptr, n, w.wanted});
        });
      }
    }
  }
}

}  // namespace pando::kernels
