// The sum of two tensors of 8-bit integers, back in 8 bits: what stands between the branches of a residual network.
#pragma once
#include <cstddef>
#include <cstdint>

#include "base/dtype.hpp"

namespace pando::kernels {

// y = clip(round(activation((b + b.offset) * b.scale + (a + a.offset) * a.scale) / divisor) + zero, lo, hi), every step
// rounded to float32, as the map program has it.
struct QuantizedSum {
  struct Operand {
    float offset, scale;
    bool is_signed;
  } a, b;
  float floor, ceiling;  // of the activation; infinities: none
  float divisor, zero, lo, hi;
};
// n elements that lie one after the other. y may be an operand.
void quantized_sum(const QuantizedSum& how, const std::byte* a, const std::byte* b, int64_t n, std::byte* y);

}  // namespace pando::kernels
