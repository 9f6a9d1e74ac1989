// What one instruction of a map program does to one element, for every type: the meaning that all kernels have.
#pragma once
#include <cmath>
#include <cstdint>
#include <limits>

#include "base/convert.hpp"
#include "base/map_program.hpp"

namespace pando {
namespace scalar {

template <class T>
inline T sigmoid(T x) {
  return T(1) / (T(1) + std::exp(-x));
}

template <class T>
inline T softplus(T x) {  // log(1 + e^x), without overflow
  return (x > 0 ? x : T(0)) + std::log1p(std::exp(-std::abs(x)));
}

template <class T>
inline T gelu_tanh(T x) {
  constexpr T sqrt_2_over_pi = T(0.79788456080286535588);
  return T(0.5) * x * (T(1) + std::tanh(sqrt_2_over_pi * (x + T(0.044715) * x * x * x)));
}

// Comparisons let NaN through: clip(NaN), min and max with a NaN are NaN. Of a zero and a zero of the other sign the
// first operand wins, as in clip, which takes the place of min and max with a constant.
template <class T>
inline T clamp_to(T x, T lo, T hi) {
  T v = x < lo ? lo : x;
  return v > hi ? hi : v;
}
template <class T>
inline T min_nan(T a, T b) {
  return b != b ? b : b < a ? b : a;
}
template <class T>
inline T max_nan(T a, T b) {
  return b != b ? b : b > a ? b : a;
}

template <class T>
inline T floor_mod(T a, T b) {
  T r = std::fmod(a, b);
  return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}

template <class T>
inline T bound_from(double p) {  // a parameter as the nearest value of an integer type
  if (p <= static_cast<double>(std::numeric_limits<T>::lowest())) return std::numeric_limits<T>::lowest();
  return p < static_cast<double>(std::numeric_limits<T>::max()) ? static_cast<T>(p) : std::numeric_limits<T>::max();
}

template <class T>
inline T integer_pow(T base, T exponent) {
  if (exponent < 0) return truncate<T>(std::pow(static_cast<double>(base), static_cast<double>(exponent)));
  uint64_t result = 1, square = static_cast<uint64_t>(base);
  for (uint64_t e = static_cast<uint64_t>(exponent); e; e >>= 1, square *= square)
    if (e & 1) result *= square;
  return static_cast<T>(result);
}

// Quotient and remainder, defined for 0 and for lowest / -1.
template <class T>
inline T quotient(T a, T b) {
  if (b == 0) return 0;
  if (std::is_signed_v<T> && b == static_cast<T>(-1)) return static_cast<T>(0 - static_cast<uint64_t>(a));
  return static_cast<T>(a / b);
}
template <class T>
inline T remainder(T a, T b) {
  if (b == 0 || (std::is_signed_v<T> && b == static_cast<T>(-1))) return 0;
  return static_cast<T>(a % b);
}

}  // namespace scalar

// The result in the operands' own type; comparisons and predicates give 0 or 1. For float and double.
template <class T>
inline T map_float(const MapInstr& in, T a, T b, T c) {
  const T p0 = static_cast<T>(in.p0), p1 = static_cast<T>(in.p1);
  switch (in.op) {
    case MapOp::copy:
    case MapOp::cast: return a;
    case MapOp::neg: return -a;
    case MapOp::abs: return std::abs(a);
    case MapOp::sign: return a != a ? a : T(a > 0) - T(a < 0);
    case MapOp::floor: return std::floor(a);
    case MapOp::ceil: return std::ceil(a);
    case MapOp::round: return std::nearbyint(a);
    case MapOp::trunc: return std::trunc(a);
    case MapOp::sqrt: return std::sqrt(a);
    case MapOp::rsqrt: return T(1) / std::sqrt(a);
    case MapOp::reciprocal: return T(1) / a;
    case MapOp::exp: return std::exp(a);
    case MapOp::log: return std::log(a);
    case MapOp::erf: return std::erf(a);
    case MapOp::tanh:
    case MapOp::tanh_exact: return std::tanh(a);
    case MapOp::sigmoid: return scalar::sigmoid(a);
    case MapOp::softplus: return scalar::softplus(a);
    case MapOp::softsign: return a / (T(1) + std::abs(a));
    case MapOp::sin: return std::sin(a);
    case MapOp::cos: return std::cos(a);
    case MapOp::tan: return std::tan(a);
    case MapOp::asin: return std::asin(a);
    case MapOp::acos: return std::acos(a);
    case MapOp::atan: return std::atan(a);
    case MapOp::sinh: return std::sinh(a);
    case MapOp::cosh: return std::cosh(a);
    case MapOp::asinh: return std::asinh(a);
    case MapOp::acosh: return std::acosh(a);
    case MapOp::atanh: return std::atanh(a);
    case MapOp::relu: return a < 0 ? T(0) : a;
    case MapOp::leaky_relu: return a < 0 ? a * p0 : a;
    case MapOp::elu: return a < 0 ? p0 * std::expm1(a) : a;
    case MapOp::selu: return p1 * (a < 0 ? p0 * std::expm1(a) : a);
    case MapOp::celu: return a < 0 ? p0 * std::expm1(a / p0) : a;
    case MapOp::hard_sigmoid: return scalar::clamp_to(p0 * a + p1, T(0), T(1));
    case MapOp::hard_swish: return a * scalar::clamp_to(a / T(6) + T(0.5), T(0), T(1));
    case MapOp::gelu_erf: return T(0.5) * a * (T(1) + std::erf(a * T(0.70710678118654752440)));
    case MapOp::gelu_tanh: return scalar::gelu_tanh(a);
    case MapOp::clip: return scalar::clamp_to(a, p0, p1);
    case MapOp::mish: return a * std::tanh(scalar::softplus(a));
    case MapOp::thresholded_relu: return a > p0 ? a : T(0);
    case MapOp::shrink: return a < -p1 ? a + p0 : a > p1 ? a - p0 : T(0);
    case MapOp::logical_not: return a == 0;
    case MapOp::is_nan: return std::isnan(a);
    case MapOp::is_inf: return std::isinf(a) && (a < 0 ? in.p0 : in.p1) != 0;
    case MapOp::add_imm: return a + p0;
    case MapOp::mul_imm: return a * p0;
    case MapOp::affine: return a * p0 + p1;
    case MapOp::add: return a + b;
    case MapOp::sub: return a - b;
    case MapOp::mul: return a * b;
    case MapOp::div: return a / b;
    case MapOp::pow: return std::pow(a, b);
    case MapOp::min: return scalar::min_nan(a, b);
    case MapOp::max: return scalar::max_nan(a, b);
    case MapOp::mod: return scalar::floor_mod(a, b);
    case MapOp::fmod: return std::fmod(a, b);
    case MapOp::prelu: return a < 0 ? a * b : a;
    case MapOp::equal: return a == b;
    case MapOp::less: return a < b;
    case MapOp::less_equal: return a <= b;
    case MapOp::greater: return a > b;
    case MapOp::greater_equal: return a >= b;
    case MapOp::logical_and: return a != 0 && b != 0;
    case MapOp::logical_or: return a != 0 || b != 0;
    case MapOp::logical_xor: return (a != 0) != (b != 0);
    case MapOp::where: return a != 0 ? b : c;
    case MapOp::clip3: return scalar::clamp_to(a, b, c);
    case MapOp::fma_mul_add: return a * b + c;
    default: return a;  // operations on bits: refused by infer
  }
}

// The same for integers: results wrap around, dividing by 0 gives 0, shifts by the width or more give 0.
template <class T>
inline T map_integer(const MapInstr& in, T a, T b, T c) {
  // Unsigned 64-bit arithmetic wraps by definition; narrowing it gives the wraparound of every type.
  const auto ua = static_cast<uint64_t>(a), ub = static_cast<uint64_t>(b), uc = static_cast<uint64_t>(c);
  constexpr uint64_t width = sizeof(T) * 8;
  const bool shifts_out = static_cast<std::make_unsigned_t<T>>(b) >= width;
  switch (in.op) {
    case MapOp::neg: return static_cast<T>(0 - ua);
    case MapOp::abs: return a < 0 ? static_cast<T>(0 - ua) : a;
    case MapOp::sign: return static_cast<T>((a > 0) - (a < 0));
    case MapOp::relu: return a < 0 ? T(0) : a;
    case MapOp::clip: return scalar::clamp_to(a, scalar::bound_from<T>(in.p0), scalar::bound_from<T>(in.p1));
    case MapOp::logical_not: return a == 0;
    case MapOp::bit_not: return static_cast<T>(~ua);
    case MapOp::add: return static_cast<T>(ua + ub);
    case MapOp::sub: return static_cast<T>(ua - ub);
    case MapOp::mul: return static_cast<T>(ua * ub);
    case MapOp::div: return scalar::quotient(a, b);
    case MapOp::pow: return scalar::integer_pow(a, b);
    case MapOp::min: return a < b ? a : b;
    case MapOp::max: return a > b ? a : b;
    case MapOp::fmod: return scalar::remainder(a, b);
    case MapOp::mod: {
      T r = scalar::remainder(a, b);
      return r != 0 && (r < 0) != (b < 0) ? static_cast<T>(r + b) : r;
    }
    case MapOp::prelu: return a < 0 ? static_cast<T>(ua * ub) : a;
    case MapOp::equal: return a == b;
    case MapOp::less: return a < b;
    case MapOp::less_equal: return a <= b;
    case MapOp::greater: return a > b;
    case MapOp::greater_equal: return a >= b;
    case MapOp::logical_and: return a != 0 && b != 0;
    case MapOp::logical_or: return a != 0 || b != 0;
    case MapOp::logical_xor: return (a != 0) != (b != 0);
    case MapOp::bit_and: return static_cast<T>(ua & ub);
    case MapOp::bit_or: return static_cast<T>(ua | ub);
    case MapOp::bit_xor: return static_cast<T>(ua ^ ub);
    case MapOp::shift_left: return shifts_out ? T(0) : static_cast<T>(ua << ub);
    case MapOp::shift_right: return shifts_out ? T(0) : static_cast<T>(a >> b);
    case MapOp::where: return a != 0 ? b : c;
    case MapOp::clip3: return scalar::clamp_to(a, b, c);
    case MapOp::fma_mul_add: return static_cast<T>(ua * ub + uc);
    default: return a;  // copy; functions of real numbers are refused by infer
  }
}

}  // namespace pando
