// One pass of packed weights over the columns (pixels, tokens) of a tile: the loops around fused_block.
#pragma once
#include <span>

#include "kernels/gemm/fused.hpp"

namespace pando::kernels {

// n columns whose outputs lie evenly spaced in memory.
struct PassRun {
  float* c;               // channel 0 of the operator's output
  const float* residual;  // likewise, or null
  int64_t n;
};

struct MatrixPass {
  ProductType type = ProductType::f32;
  const void* weights =
      nullptr;  // block i (output channels 32 i ..), [taps][k][32], block_stride values behind the last
  int64_t block_stride = 0;
  int64_t channels = 0;  // that have weights: what lies behind a tile's is brought near for the next one
  const void* const* columns = nullptr;  // [taps][columns of all runs]
  int64_t taps = 1, k = 1;
  // Of one call, so that its weights stay in L2 while all columns pass: whole taps, or a part of one.
  int64_t chunk_taps = 1, chunk_k = 1;
  const float* bias = nullptr;                  // of channel 0 of the weights
  int64_t out_stride = 0, residual_stride = 0;  // from column to column
};

// Chooses the chunks of `pass` from its taps and k, for an L2 of `l2` bytes.
void choose_chunks(MatrixPass& pass, double l2);

inline size_t pass_scratch_bytes(int64_t columns) { return static_cast<size_t>(columns) * gemm_block * sizeof(float); }

// Output channels [lo, hi) of every run, lo a multiple of gemm_block, with bias, residual and activation applied while
// a block is in registers (a program, epilogue.code, is left to the caller). Nothing outside those channels is
// written. `scratch` holds pass_scratch_bytes(columns of all runs).
void matrix_pass(const MatrixPass& pass, std::span<const PassRun> runs, int64_t lo, int64_t hi,
                 const EpilogueArgs& epilogue, float* scratch);

// dst = finish(src + bias) for rows x cols elements; src may be dst. bias and residual may be null.
struct FinishBlock {
  const float* src;
  int64_t src_stride;
  float* dst;
  int64_t dst_stride;
  const float* residual;
  int64_t residual_stride;
  const float* bias;
  int64_t rows, cols;
};
void finish_block(const EpilogueArgs& epilogue, const FinishBlock& block);

}  // namespace pando::kernels
