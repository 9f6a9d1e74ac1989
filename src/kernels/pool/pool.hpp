// Pooling of channels-last images, float32 or maxima of 8-bit integers: one output pixel, vectors over channels.
#pragma once
#include <cstddef>
#include <cstdint>

namespace pando::kernels {

enum class PoolOp : uint8_t { max, average, lp };

// The taps of one output pixel that lie inside the image: a box of up to three dimensions.
struct PoolTaps {
  int64_t extent[3];
  int64_t stride[3];  // in elements, from tap to tap
};

// y[c] = the maximum of x[c + offset of tap], the sum divided by `divisor`, or the p-norm, for c < channels. No taps:
// -infinity, 0, 0.
void pool_pixel(PoolOp op, const float* x, const PoolTaps& taps, float divisor, int64_t p, int64_t channels, float* y);

// The maximum of bytes, with a sign or without. No taps: the least one.
void max_pool_pixel(bool is_signed, const std::byte* x, const PoolTaps& taps, int64_t channels, std::byte* y);

}  // namespace pando::kernels
