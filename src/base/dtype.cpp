#include "base/dtype.hpp"

#include <bit>
#include <cmath>

namespace pando {

float to_float(BFloat16 b) { return std::bit_cast<float>(uint32_t{b.bits} << 16); }

BFloat16 to_bfloat16(float f) {
  uint32_t u = std::bit_cast<uint32_t>(f);
  if ((u & 0x7fffffff) > 0x7f800000) return {static_cast<uint16_t>((u >> 16) | 0x40)};  // keep NaN a NaN
  return {static_cast<uint16_t>((u + 0x7fff + ((u >> 16) & 1)) >> 16)};
}

float to_float(Half h) {
  uint32_t sign = uint32_t{h.bits & 0x8000u} << 16, exponent = (h.bits >> 10) & 31, mantissa = h.bits & 0x3ffu;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000u | (mantissa << 13));
  if (exponent == 0) {
    float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
    return sign ? -magnitude : magnitude;
  }
  return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
}

Half to_half(float f) {
  uint32_t u = std::bit_cast<uint32_t>(f), sign = (u >> 16) & 0x8000, magnitude = u & 0x7fffffff;
  if (magnitude > 0x7f800000) return {static_cast<uint16_t>(sign | 0x7e00)};
  if (magnitude >= 0x477ff000) return {static_cast<uint16_t>(sign | 0x7c00)};  // rounds to infinity
  if (magnitude < 0x38800000) {  // subnormal: let the float adder do the rounding
    float shifted = std::bit_cast<float>(magnitude) + 0.5f;
    return {static_cast<uint16_t>(sign | (std::bit_cast<uint32_t>(shifted) & 0x7ff))};
  }
  uint32_t rounded = magnitude - 0x38000000 + 0xfff + ((magnitude >> 13) & 1);
  return {static_cast<uint16_t>(sign | (rounded >> 13))};
}

namespace {

// The float next to d towards zero, its last bit set when something was cut off ("round to odd"): a float has more than
// two bits beyond those of a 16-bit float, so rounding this one gives what rounding d gives.
float odd_float(double d) {
  float f = static_cast<float>(d);
  double back = static_cast<double>(f);
  if (back == d || d != d) return f;
  uint32_t bits = std::bit_cast<uint32_t>(f);
  if (std::abs(back) > std::abs(d)) bits--;
  return std::bit_cast<float>(bits | 1);
}

}  // namespace

Half to_half(double d) { return to_half(odd_float(d)); }
BFloat16 to_bfloat16(double d) { return to_bfloat16(odd_float(d)); }

template <>
Half to_narrow(float f) {
  return to_half(f);
}
template <>
Half to_narrow(double d) {
  return to_half(d);
}
template <>
BFloat16 to_narrow(float f) {
  return to_bfloat16(f);
}
template <>
BFloat16 to_narrow(double d) {
  return to_bfloat16(d);
}

}  // namespace pando
