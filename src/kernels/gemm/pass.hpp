// One pass of packed weights over the columns (pixels, tokens) of a tile: the loops around the batch-reduce kernels.
#pragma once
#include <span>

#include "kernels/conv/epilogue.hpp"
#include "kernels/gemm/gemm.hpp"

namespace pando::kernels {

// n columns that lie evenly spaced in memory: by the family's ldb in the input, by out_stride in the output.
struct PassRun {
  const float* b;
  float* c;               // channel 0 of the operator's output
  const float* residual;  // likewise, or null
  int64_t n;
};

struct MatrixPass {
  const GemmFamily* gemm;  // only its k and ldb are read: the kernels are those of fused.hpp
  const float* weights;    // block i (output channels 32 i ..) at weights + i * block_stride
  int64_t block_stride;
  const GemmOffset *a_offsets, *b_offsets;
  int entries = 0;              // of the batch
  int chunk = 0;                // entries per call, so that their weights stay in L1 while all columns pass
  const float* bias = nullptr;  // of channel 0 of the weights
  int64_t out_stride = 0, residual_stride = 0;  // from column to column
};

inline size_t pass_scratch_bytes(int64_t columns) { return static_cast<size_t>(columns) * gemm_block * sizeof(float); }

// Output channels [lo, hi) of every run, lo a multiple of gemm_block, with bias, residual and activation applied while
// a block is in L1 (a program, epilogue.code, is left to the caller). Nothing outside those channels is written.
// `scratch` holds pass_scratch_bytes(columns of all runs).
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
