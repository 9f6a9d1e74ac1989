#include "cli/elements.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace pando::cli {
namespace {

// A 16-bit floating point type: sign, exponent, `digits` bits of the fraction.
struct Narrow {
  int digits, smallest;  // exponent of normal numbers
};
constexpr Narrow half{10, -14}, bfloat{7, -126};

uint16_t to_bits(Narrow type, double value) {
  const int one = 1 << type.digits, infinity = (1 - 2 * (type.smallest - 1)) * one;
  int bits = infinity;
  if (std::isnan(value)) {
    bits += one / 2;
  } else if (std::isfinite(value)) {
    const int exponent = value == 0 ? type.smallest : std::max(std::ilogb(value), type.smallest);
    const double fraction = std::nearbyint(std::ldexp(std::abs(value), type.digits - exponent));
    // The leading 1 of normal numbers counts as one more in the exponent, and so does a carry.
    if (exponent <= -type.smallest + 1)
      bits = std::min(infinity, (exponent - type.smallest) * one + static_cast<int>(fraction));
  }
  return static_cast<uint16_t>(std::signbit(value) ? bits | 0x8000 : bits);
}

double from_bits(Narrow type, uint16_t bits) {
  const int one = 1 << type.digits, infinity = (1 - 2 * (type.smallest - 1)) * one;
  const int magnitude = bits & 0x7fff, exponent = std::max(magnitude / one, 1) - 1 + type.smallest;
  double value = std::ldexp(magnitude < one ? magnitude : magnitude % one + one, exponent - type.digits);
  if (magnitude >= infinity) value = magnitude == infinity ? HUGE_VAL : std::nan("");
  return bits & 0x8000 ? -value : value;
}

template <class T>
T rounded(const Number& number) {
  return std::visit([](auto v) { return static_cast<T>(v); }, number);
}

[[noreturn]] void refuse(DType type) {
  throw Error(ErrorCode::not_supported, fmt::format("the command has no files for tensors of {}", name_of(type)));
}

}  // namespace

std::vector<double> numbers(const Array& array) {
  std::vector<double> out(array.count());
  const auto convert = [&]<class T>(std::span<T> from, auto f) {
    std::transform(from.begin(), from.end(), out.begin(), f);
  };
  const auto copy = [&]<class T>(std::span<T> from) { convert(from, [](T v) { return static_cast<double>(v); }); };
  switch (array.dtype()) {
    case DType::f32: copy(array.as<float>()); break;
    case DType::f64: copy(array.as<double>()); break;
    case DType::f16: convert(array.as<uint16_t>(), [](uint16_t v) { return from_bits(half, v); }); break;
    case DType::bf16: convert(array.as<uint16_t>(), [](uint16_t v) { return from_bits(bfloat, v); }); break;
    case DType::i8: copy(array.as<int8_t>()); break;
    case DType::boolean:
    case DType::u8: copy(array.as<uint8_t>()); break;
    case DType::i16: copy(array.as<int16_t>()); break;
    case DType::u16: copy(array.as<uint16_t>()); break;
    case DType::i32: copy(array.as<int32_t>()); break;
    case DType::u32: copy(array.as<uint32_t>()); break;
    case DType::i64: copy(array.as<int64_t>()); break;
    case DType::u64: copy(array.as<uint64_t>()); break;
    default: refuse(array.dtype());
  }
  return out;
}

void set(const Array& a, size_t i, const Number& v) {
  switch (a.dtype()) {
    case DType::f32: a.as<float>()[i] = rounded<float>(v); break;
    case DType::f64: a.as<double>()[i] = rounded<double>(v); break;
    case DType::f16: a.as<uint16_t>()[i] = to_bits(half, rounded<double>(v)); break;
    case DType::bf16: a.as<uint16_t>()[i] = to_bits(bfloat, rounded<double>(v)); break;
    case DType::i8: a.as<int8_t>()[i] = nearest<int8_t>(v); break;
    case DType::u8: a.as<uint8_t>()[i] = nearest<uint8_t>(v); break;
    case DType::i16: a.as<int16_t>()[i] = nearest<int16_t>(v); break;
    case DType::u16: a.as<uint16_t>()[i] = nearest<uint16_t>(v); break;
    case DType::i32: a.as<int32_t>()[i] = nearest<int32_t>(v); break;
    case DType::u32: a.as<uint32_t>()[i] = nearest<uint32_t>(v); break;
    case DType::i64: a.as<int64_t>()[i] = nearest<int64_t>(v); break;
    case DType::u64: a.as<uint64_t>()[i] = nearest<uint64_t>(v); break;
    case DType::boolean: a.as<uint8_t>()[i] = rounded<double>(v) != 0; break;
    default: refuse(a.dtype());
  }
}

Array as_type(const Array& array, DType dtype) {
  if (array.dtype() == dtype) return array;
  Array out(dtype, array.shape());
  const std::vector<double> values = numbers(array);
  for (size_t i = 0; i < values.size(); i++) set(out, i, values[i]);
  return out;
}

}  // namespace pando::cli
