#include "base/dtype.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>

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

namespace {

template <class T>
float decoded(T x) {
  const int magnitude = x.bits & 0x7f, one = 1 << T::fraction_bits, exponent = magnitude >> T::fraction_bits;
  const bool nan = T::uz ? x.bits == T::nan : magnitude > T::largest + (T::has_infinity ? 1 : 0);
  if (nan) return std::numeric_limits<float>::quiet_NaN();
  const int fraction = magnitude & (one - 1);
  float value = std::ldexp(static_cast<float>(exponent ? one + fraction : fraction),
                           std::max(exponent, 1) - T::bias - T::fraction_bits);
  if (T::has_infinity && magnitude > T::largest) value = std::numeric_limits<float>::infinity();
  return x.bits & 0x80 ? -value : value;
}

template <class T>
float by_table(T x) {
  static const auto table = [] {
    std::array<float, 256> all;
    for (int i = 0; i < 256; i++) all[static_cast<size_t>(i)] = decoded(T{static_cast<uint8_t>(i)});
    return all;
  }();
  return table[x.bits];
}

template <class T>
T encoded(double d) {
  const uint8_t sign = std::signbit(d) ? 0x80 : 0;
  if (d != d) return {static_cast<uint8_t>(T::uz ? T::nan : T::nan | sign)};
  const double magnitude = std::abs(d);
  const int smallest = 1 - T::bias;  // exponent of normal numbers
  const int own = static_cast<int>(std::bit_cast<uint64_t>(magnitude) >> 52) - 1023;
  const int exponent = std::clamp(own, smallest, 32);
  const double scale = std::bit_cast<double>(static_cast<uint64_t>(1023 + T::fraction_bits - exponent) << 52);
  // Adding 2^52 rounds to an integer, half to even. A carry counts as one more in the exponent, as it should.
  const double fraction = std::min(magnitude * scale, 0x1p30) + 0x1p52 - 0x1p52;
  const double bits = std::min<double>((exponent - smallest) * (1 << T::fraction_bits) + fraction, T::largest);
  const auto low = static_cast<uint8_t>(bits);
  return {static_cast<uint8_t>(T::uz && low == 0 ? 0 : low | sign)};
}

}  // namespace

float to_float(Float8E4M3 x) { return by_table(x); }
float to_float(Float8E4M3UZ x) { return by_table(x); }
float to_float(Float8E5M2 x) { return by_table(x); }
float to_float(Float8E5M2UZ x) { return by_table(x); }

template <class T>
T to_narrow(float f) {
  if constexpr (std::is_same_v<T, Half>) return to_half(f);
  else if constexpr (std::is_same_v<T, BFloat16>) return to_bfloat16(f);
  else return encoded<T>(static_cast<double>(f));
}
template <class T>
T to_narrow(double d) {
  if constexpr (std::is_same_v<T, Half>) return to_half(d);
  else if constexpr (std::is_same_v<T, BFloat16>) return to_bfloat16(d);
  else return encoded<T>(d);
}
template Half to_narrow(float);
template Half to_narrow(double);
template BFloat16 to_narrow(float);
template BFloat16 to_narrow(double);
template Float8E4M3 to_narrow(float);
template Float8E4M3 to_narrow(double);
template Float8E4M3UZ to_narrow(float);
template Float8E4M3UZ to_narrow(double);
template Float8E5M2 to_narrow(float);
template Float8E5M2 to_narrow(double);
template Float8E5M2UZ to_narrow(float);
template Float8E5M2UZ to_narrow(double);

}  // namespace pando
