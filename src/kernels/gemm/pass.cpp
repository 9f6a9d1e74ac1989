#include "kernels/gemm/pass.hpp"

#include <algorithm>

namespace pando::kernels {
namespace {

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
  for_pieces(n, [&](int64_t, int piece) {
    const bool accumulate = pass.chunk < pass.entries;
    if (hi - lo >= gemm_block) pass.gemm->prepare(gemm_block, piece, accumulate);
    const int rest = static_cast<int>((hi - lo) % gemm_block);
    if (rest > 0) pass.gemm->prepare(gemm_rows(rest, piece), piece, accumulate);
  });
}

void matrix_pass(const MatrixPass& pass, std::span<const PassRun> runs, int64_t lo, int64_t hi,
                 const EpilogueArgs& epilogue, float* scratch) {
  for (int64_t block = lo; block < hi; block += gemm_block) {
    const float* weights = pass.weights + block / gemm_block * pass.block_stride;
    const int wanted = static_cast<int>(std::min<int64_t>(gemm_block, hi - block));
    // Chunks outside, columns inside: a chunk's weights are read from L2 or beyond once, then from L1.
    for (int q = 0; q < pass.entries; q += pass.chunk) {
      const int count = std::min(pass.chunk, pass.entries - q);
      const bool last = q + count == pass.entries;
      float* c = scratch;
      for (const PassRun& run : runs) {
        for_pieces(run.n, [&](int64_t j, int n) {
          (*pass.gemm)(gemm_rows(wanted, n), n, q > 0, weights, run.b + j * pass.gemm->ldb, c,
                       static_cast<GemmOffset>(count), pass.a_offsets + q, pass.b_offsets + q);
          if (last)
            finish_block(epilogue, {c, gemm_block, run.c + j * pass.out_stride + block, pass.out_stride,
                                    run.residual ? run.residual + j * pass.residual_stride + block : nullptr,
                                    pass.residual_stride, pass.bias ? pass.bias + block : nullptr, n, wanted});
          c += static_cast<int64_t>(n) * gemm_block;
        });
      }
    }
  }
}

}  // namespace pando::kernels
