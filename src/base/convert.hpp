// Conversions between element types, as the operator Cast makes them.
#pragma once
#include <cmath>
#include <cstdint>
#include <type_traits>

#include "base/dtype.hpp"

namespace pando {

// The type that a stored type computes in: float for the floats that are only stored, itself otherwise.
template <class T>
using Compute = std::conditional_t<std::is_arithmetic_v<T>, T, float>;

template <class T>
Compute<T> widen(T v) {
  if constexpr (std::is_arithmetic_v<T>) return v;
  else return to_float(v);
}

// As dispatch, for operators whose shape rule has refused what is no floating-point type.
template <class F>
void dispatch_float(DType t, F&& f) {
  dispatch(t, [&](auto tag) {
    if constexpr (std::is_floating_point_v<Compute<decltype(tag)>>) f(tag);
  });
}

// Float to integer as x86 does it: truncated; out of range and NaN give the smallest value of the 32- or 64-bit
// conversion, narrowed by wraparound. (C++ leaves it undefined.)
template <class To>
To truncate(double v) {
  if constexpr (std::is_same_v<To, uint64_t>) {
    if (v >= 0x1p63) return v < 0x1p64 ? static_cast<uint64_t>(v) : UINT64_MAX;
  }
  if constexpr (sizeof(To) == 8 || std::is_same_v<To, uint32_t>)
    return static_cast<To>(v >= -0x1p63 && v < 0x1p63 ? static_cast<int64_t>(v) : INT64_MIN);
  else return static_cast<To>(v > -0x1p31 - 1 && v < 0x1p31 ? static_cast<int32_t>(v) : INT32_MIN);
}

// A number as float or double such that rounding it to a narrow float is rounding the number itself. Of the integers
// only those of 64 bits do not fit double: what is cut off is kept as a last bit.
inline float narrowable(float v) { return v; }
inline double narrowable(double v) { return v; }
template <class T>
requires std::is_integral_v<T>
double narrowable(T v) {
  const bool negative = v < T(0);
  const uint64_t u = negative ? 0 - static_cast<uint64_t>(v) : static_cast<uint64_t>(v);
  const uint64_t kept = u >> 53 ? u >> 11 | ((u & 0x7ff) != 0) : u;
  const double magnitude = static_cast<double>(kept) * (u >> 53 ? 0x1p11 : 1);
  return negative ? -magnitude : magnitude;
}

// Any element type to any other, as the operator Cast: integers wrap, to boolean is != 0 (NaN is true).
template <class To, class From>
To convert(From from) {
  auto v = widen(from);
  if constexpr (!std::is_arithmetic_v<To>) return to_narrow<To>(narrowable(v));
  else if constexpr (std::is_same_v<To, bool>) return v != decltype(v){};
  else if constexpr (std::is_floating_point_v<decltype(v)> && std::is_integral_v<To>) return truncate<To>(v);
  else return static_cast<To>(v);
}

}  // namespace pando
