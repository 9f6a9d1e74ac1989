// A few rows against a large packed matrix: bound by reading the weights, which are streamed once.
#pragma once
#include "base/blocks.hpp"
#include "kernels/gemm/pass.hpp"

namespace pando::kernels {

struct Gemv {
  const float* a;  // element (r, p) at a[r * row_stride + p * k_stride]
  int64_t rows, row_stride, k_stride, k;
  DType type;           // of the weights: f32, f16, bf16
  const void* weights;  // packed blocks [k][32], of channel 0
  const float* bias;    // of channel 0, or null
  float* y;             // of channel 0
  int64_t y_stride;
  const float* residual;  // of channel 0, or null
  int64_t residual_stride;
};

// Channels [lo, hi) of all rows, lo a multiple of 32: the same fma chain, and so the same bits, as matrix_pass with the
// weights as float32. A
// program (epilogue.code) is left to the caller.
void gemv(const Gemv& g, int64_t lo, int64_t hi, const EpilogueArgs& epilogue);

}  // namespace pando::kernels
