// The product under convolution and matrix multiplication by a packed operand, with the end of the operator (bias,
// residual, activation) applied in registers.
//
//   y(i, j) = finish(sum over t, p of weights(t, p, i) * column(t, j)[p])      i < channels, t < taps, p < k
//
// Every element is the plain chain of fused multiply-adds in the order of t, then p, whatever n, and however the chain
// is cut into calls that go on from sums. Columns are found through pointers, so that padding, strides and dilation of
// a convolution need no copies (M. Dukhan, "The indirect convolution algorithm", 2019).
//
// bf16 multiplies values rounded to bfloat16 (AVX-512's vdpbf16ps: two products at a time are added to a float32 sum;
// numbers below the normal range count as zero); k is even then, and the chain runs over pairs. Only where has_bf16()
// (base/cpu.hpp).
#pragma once
#include "kernels/conv/epilogue.hpp"
#include "kernels/gemm/gemm.hpp"

namespace pando::kernels {

enum class ProductType : uint8_t { f32, bf16 };
constexpr int64_t value_bytes(ProductType t) { return t == ProductType::f32 ? 4 : 2; }
constexpr int64_t padded_k(ProductType t, int64_t k) { return t == ProductType::f32 ? k : (k + 1) / 2 * 2; }
// n values to bfloat16, to the nearest, ties to even: for bf16 products only.
void to_bf16(const float* from, int64_t n, uint16_t* to);

// One block of at most gemm_block output channels for `n` columns.
struct FusedBlock {
  ProductType type;
  const void* weights;         // [taps][k][gemm_block]; bf16: [taps][k / 2][gemm_block][2]
  const void* const* columns;  // [taps][column_stride], n are used
  int64_t column_stride;
  int64_t begin;  // values into each column where the k ones lie
  int64_t taps, k, n, channels;
  const float* begin_sums;  // [n][gemm_block] sums to go on from; null: from zero
  float* sums;              // where they go, likewise; null: the chains end here, and what follows is set
  float* y;
  int64_t y_stride;
  const float* residual;  // or null
  int64_t residual_stride;
  const float* bias;  // or null
  // Weights that are read next: brought into L2 meanwhile.
  const std::byte* ahead;
  int64_t ahead_bytes;
};
// A program (epilogue.code) is left to the caller.
void fused_block(const EpilogueArgs& epilogue, const FusedBlock& block);

}  // namespace pando::kernels
