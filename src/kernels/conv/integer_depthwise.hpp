// Depthwise convolution of 8-bit integers by the float32 kernel: products of bytes, and sums of up to 512 of them, are
// exact in float32.
#pragma once
#include "kernels/conv/depthwise.hpp"
#include "kernels/conv/integer.hpp"

namespace pando::kernels {

inline constexpr int64_t max_exact_taps = 512;  // 512 * 255 * 128 < 2^24

// One input channel per output channel. `plan.shape` is not used but for the output's strides.
struct IntegerDepthwise {
  DepthwiseShape shape;
  IntegerPlan plan;
  size_t scratch_bytes(const DepthwiseBox& box) const;
};
// `weights`: of the float32 kernel, the integers as numbers; args.start: the bias, i32 per channel.
void depthwise_integer(const IntegerDepthwise& op, const IntegerArgs& args, const float* weights,
                       const DepthwiseBox& box, std::byte* scratch);

}  // namespace pando::kernels
