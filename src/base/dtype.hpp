// Element types of tensors: 16-bit floats and dispatch on a type. The enum itself is public: pando/types.hpp.
#pragma once
#include <type_traits>

#include "pando/types.hpp"

namespace pando {

constexpr bool is_float(DType t) { return t <= DType::bf16; }
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
// The same by the type that is wanted, one of those that are only stored.
template <class T>
T to_narrow(float f);
template <class T>
T to_narrow(double d);

// Calls f with a value of the C++ type of `t` (Half and BFloat16 for the 16-bit floats, bool for boolean).
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
    default: return f(bool{});  // boolean
  }
}

}  // namespace pando
