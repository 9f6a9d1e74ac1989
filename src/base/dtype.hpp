// Element types of tensors: floats of 16 and 8 bits, and dispatch on a type. The enum itself is public:
// pando/types.hpp.
#pragma once
#include <type_traits>

#include "pando/types.hpp"

namespace pando {

constexpr bool is_float(DType t) { return t <= DType::bf16 || t > DType::boolean; }
// Whether float32 holds every value of the type; of 32-bit integers, the nearest.
constexpr bool widens_to_f32(DType t) {
  return t != DType::f64 && t != DType::u32 && t != DType::i64 && t != DType::u64;
}

// 16-bit floats are storage types: convert to float to compute. Round to nearest even.
struct Half {
  uint16_t bits;
};
struct BFloat16 {
  uint16_t bits;
};
float to_float(Half h);
float to_float(BFloat16 b);
Half to_half(float f);
BFloat16 to_bfloat16(float f);
// From wider numbers in one rounding: through the nearest float there would be two.
Half to_half(double d);
BFloat16 to_bfloat16(double d);

// Floats of 8 bits, as ONNX defines them. What is too large becomes the largest number ("saturate"), NaN stays NaN.
template <int exponent_bits, int exponent_bias, bool no_negative_zero>
struct Float8 {
  static constexpr int fraction_bits = 7 - exponent_bits, bias = exponent_bias;
  static constexpr bool uz = no_negative_zero, has_infinity = !uz && exponent_bits == 5;
  static constexpr uint8_t nan = uz ? 0x80 : 0x7f;
  static constexpr uint8_t largest = uz ? 0x7f : has_infinity ? 0x7b : 0x7e;
  uint8_t bits;
};
using Float8E4M3 = Float8<4, 7, false>;
using Float8E4M3UZ = Float8<4, 8, true>;
using Float8E5M2 = Float8<5, 15, false>;
using Float8E5M2UZ = Float8<5, 16, true>;
float to_float(Float8E4M3 x);
float to_float(Float8E4M3UZ x);
float to_float(Float8E5M2 x);
float to_float(Float8E5M2UZ x);

// To a type that is only stored, by its name. Instances: all of them.
template <class T>
T to_narrow(float f);
template <class T>
T to_narrow(double d);

// Calls f with a value of the C++ type of `t` (the structs above for floats of 16 and 8 bits, bool for boolean).
template <class F>
decltype(auto) dispatch(DType t, F&& f) {
  switch (t) {
    case DType::f32: return f(float{});
    case DType::f64: return f(double{});
    case DType::f16: return f(Half{});
    case DType::bf16: return f(BFloat16{});
    case DType::i8: return f(int8_t{});
    case DType::u8: return f(uint8_t{});
    case DType::i16: return f(int16_t{});
    case DType::u16: return f(uint16_t{});
    case DType::i32: return f(int32_t{});
    case DType::u32: return f(uint32_t{});
    case DType::i64: return f(int64_t{});
    case DType::u64: return f(uint64_t{});
    case DType::f8e4m3fn: return f(Float8E4M3{});
    case DType::f8e4m3fnuz: return f(Float8E4M3UZ{});
    case DType::f8e5m2: return f(Float8E5M2{});
    case DType::f8e5m2fnuz: return f(Float8E5M2UZ{});
    default: return f(bool{});  // boolean
  }
}

}  // namespace pando
