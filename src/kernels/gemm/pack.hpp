// Weights packed for the batch-reduce kernels: blocks of 32 output channels, each [k][32], where k runs over taps and
// input channels in the order of the fma chain. Missing channels of the last block are zero.
#pragma once
#include <cstddef>
#include <cstdint>

#include "kernels/gemm/gemm.hpp"

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

}  // namespace pando::kernels
