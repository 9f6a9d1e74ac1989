// The batch-reduce product of gemm.hpp with the end of the operator (bias, residual, activation) applied in registers.
#pragma once
#include "kernels/conv/epilogue.hpp"
#include "kernels/gemm/gemm.hpp"

namespace pando::kernels {

// One block of at most gemm_block output channels for `n` columns; the names of gemm.hpp, lda is gemm_block.
struct FusedBlock {
  const float *a, *b;
  int64_t ldb;
  int k;
  int64_t count;
  const GemmOffset *a_offsets, *b_offsets;
  int64_t n, channels;
  const float* begin;  // [n][gemm_block] sums to go on from; null: from zero
  float* sums;         // where they go, likewise; null: the chains end here, and what follows is set
  float* y;
  int64_t y_stride;
  const float* residual;  // or null
  int64_t residual_stride;
  const float* bias;  // or null
  // Weights that are read next: brought into L2 meanwhile.
  const float* ahead;
  int64_t ahead_floats;
};
// The same chain as every other kernel of this folder. A program (epilogue.code) is left to the caller.
void fused_block(const EpilogueArgs& epilogue, const FusedBlock& block);

}  // namespace pando::kernels
