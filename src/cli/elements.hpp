// Elements of arrays of any type, as numbers.
#pragma once
#include <limits>
#include <utility>
#include <variant>
#include <vector>

#include "pando/pando.hpp"

namespace pando::cli {

// As it is written in JSON.
using Number = std::variant<double, int64_t, uint64_t>;

// Exact, but for integers beyond 2^53.
std::vector<double> numbers(const Array& array);
// Exactly, or the nearest that there is: an integer type's limits hold for what lies beyond them.
template <class T>
T nearest(const Number& number) {
  using Limits = std::numeric_limits<T>;
  return std::visit(
      [](auto v) {
        if constexpr (std::is_integral_v<decltype(v)>) {
          if (std::cmp_greater(v, Limits::max())) return Limits::max();
          return std::cmp_less(v, Limits::lowest()) ? Limits::lowest() : static_cast<T>(v);
        } else {
          if (v >= static_cast<double>(Limits::max())) return Limits::max();
          return v > static_cast<double>(Limits::lowest()) ? static_cast<T>(v) : Limits::lowest();
        }
      },
      number);
}
// Element i: floating point is rounded half to even; what an integer type cannot hold becomes its nearest.
void set(const Array& array, size_t i, const Number& value);
// The same values in another type; the array itself where it has that type.
Array as_type(const Array& array, DType dtype);

}  // namespace pando::cli
