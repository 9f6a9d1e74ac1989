// Weights packed for the batch-reduce kernels: blocks of 32 output channels, each [k][32], where k runs over taps and
// input channels in the order of the fma chain. Missing channels of the last block are zero.
#pragma once
#include <cstddef>
#include <cstdint>

#include "base/dtype.hpp"
#include "kernels/gemm/fused.hpp"

namespace pando::kernels {

// Floats of `channels` output channels and k weights each. The slack lets kernels read past a block's last row.
inline int64_t packed_floats(int64_t channels, int64_t k) {
  return (channels + gemm_block - 1) / gemm_block * gemm_block * k + gemm_block;
}

// From w [co][ci][taps] (the order of ONNX convolutions); k = (tap, channel). `scale` [co] multiplies; may be null.
// Sources may be unaligned bytes of a mapped file.
void pack_conv_weights(const std::byte* w, const std::byte* scale, int64_t co, int64_t ci, int64_t taps, float* out);

// From b [k][n], rows `row_stride` floats apart, or its transpose [n][k].
void pack_matrix(const std::byte* b, bool transposed, int64_t k, int64_t n, int64_t row_stride, float alpha,
                 float* out);

// Weights of 16 bits, from float32 ones w(o, t, p) at w[o * stride_o + t * stride_t + p * stride_p].
struct StridedWeights {
  const std::byte* w;
  int64_t stride_o, stride_t, stride_p;
};
// For bf16 products: [co / 32][taps][padded k / 2][32][2], rounded, `factor` (per output channel, or null) applied
// before. packed_bf16() values.
inline int64_t packed_bf16(int64_t co, int64_t taps, int64_t k) {
  return (co + gemm_block - 1) / gemm_block * gemm_block * taps * padded_k(ProductType::bf16, k);
}
void pack_bf16(const StridedWeights& from, const std::byte* factor, int64_t co, int64_t taps, int64_t k, uint16_t* to);
// For gemv_half: [n / 32][k][32] values of f16 or bf16, rounded from float32 packed likewise.
void round_packed(DType type, const float* packed, int64_t values, uint16_t* to);

}  // namespace pando::kernels
