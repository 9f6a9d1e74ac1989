// The product under convolution and matrix multiplication by a packed operand, with the end of the operator (bias,
// residual, activation) applied in registers.
//
//   y(i, j) = finish(sum over t, p of weights(t, p, i) * column(t, j)[p])      i < channels, t < taps, p < k
//
// Every element is the plain chain of fused multiply-adds in the order of t, then p, whatever n, and however the chain
// is cut into calls that go on from sums. Columns are found through pointers, so that padding, strides and dilation of
// a convolution need no copies (M. Dukhan, "The indirect convolution algorithm", 2019).
#pragma once
#include "kernels/conv/epilogue.hpp"
#include "kernels/gemm/gemm.hpp"

namespace pando::kernels {

// One block of at most gemm_block output channels for `n` columns.
struct FusedBlock {
  const float* weights;         // [taps][k][gemm_block]
  const float* const* columns;  // [taps][column_stride], n are used
  int64_t column_stride;
  int64_t begin;  // floats into each column where the k values lie
  int64_t taps, k, n, channels;
  const float* begin_sums;  // [n][gemm_block] sums to go on from; null: from zero
  float* sums;              // where they go, likewise; null: the chains end here, and what follows is set
  float* y;
  int64_t y_stride;
  const float* residual;  // or null
  int64_t residual_stride;
  const float* bias;  // or null
  // Weights that are read next: brought into L2 meanwhile.
  const float* ahead;
  int64_t ahead_floats;
};
// A program (epilogue.code) is left to the caller.
void fused_block(const EpilogueArgs& epilogue, const FusedBlock& block);

}  // namespace pando::kernels
