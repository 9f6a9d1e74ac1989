// What the reference evaluations and shape rules of the core operators share. Nothing here allocates, except where a
// Shape is returned.
#pragma once
#include <cmath>
#include <cstring>
#include <type_traits>

#include "graph/ops/ops.hpp"

namespace pando {

// ---- shape rules ----

// Throws invalid_model when a dimension is negative or the elements could not be addressed.
Shape checked(Shape shape);
// NumPy broadcast of two shapes; throws invalid_model naming both.
Shape broadcast_shapes(std::span<const int64_t> a, std::span<const int64_t> b);
// Throws unless `from` broadcasts to exactly `to`; `what` names the operand.
void check_broadcasts_to(std::span<const int64_t> from, std::span<const int64_t> to, const char* what);
// Throws unless the node has least..most operands and the first `least` are present.
void check_inputs(const NodeView& node, int least, int most);
void check_rank(const NodeView& node, int input, int least, int most = max_rank);
// Throws unless operand `input`, where present, has the type of operand 0.
void check_same_dtype(const NodeView& node, int input);
void check_shape(const NodeView& node, int input, std::span<const int64_t> expected);
void check_axis(int64_t axis, int64_t rank);
// Elements that a box covers in its dimensions first..last-1.
double box_count(const Box& box, int first, int last);

// The domain of an operator that has one dimension per dimension of `shape`: the first is the sample.
Domain domain_of(std::span<const int64_t> shape);

// ---- conversions between element types ----

// The type that a stored type computes in: float for the 16-bit floats, itself otherwise.
template <class T>
using Compute = std::conditional_t<std::is_same_v<T, Half> || std::is_same_v<T, BFloat16>, float, T>;

inline float widen(Half h) { return to_float(h); }
inline float widen(BFloat16 b) { return to_float(b); }
template <class T>
requires std::is_arithmetic_v<T> T widen(T v) { return v; }

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

// A number as float or double such that rounding it to a 16-bit float is rounding the number itself. Of the integers
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
  if constexpr (std::is_same_v<To, Half>) return to_half(narrowable(v));
  else if constexpr (std::is_same_v<To, BFloat16>) return to_bfloat16(narrowable(v));
  else if constexpr (std::is_same_v<To, bool>) return v != decltype(v){};
  else if constexpr (std::is_floating_point_v<decltype(v)> && std::is_integral_v<To>) return truncate<To>(v);
  else return static_cast<To>(v);
}

// A sum in double whose rounding errors are summed beside it (Neumaier 1974).
class ExactSum {
 public:
  explicit ExactSum(double first = 0) : sum_(first) {}
  void add(double x) {
    double sum = sum_ + x;
    lost_ += std::abs(sum_) >= std::abs(x) ? (sum_ - sum) + x : (x - sum) + sum_;
    sum_ = sum;
  }
  double value() const { return lost_ == 0 || lost_ != lost_ ? sum_ : sum_ + lost_; }  // infinities lose NaN

 private:
  double sum_, lost_ = 0;
};

// ---- strided access ----

// Element `offset` of memory that may be unaligned (constants in a mapped file are).
template <class T>
T load(const std::byte* data, int64_t offset) {
  if constexpr (std::is_same_v<T, bool>) {
    return data[offset] != std::byte{0};
  } else {
    T v;
    std::memcpy(&v, data + offset * static_cast<int64_t>(sizeof(T)), sizeof(T));
    return v;
  }
}
template <class T>
void store(std::byte* data, int64_t offset, T v) {
  std::memcpy(data + offset * static_cast<int64_t>(sizeof(T)), &v, sizeof(T));
}

// The same, converted from and to whatever the view holds. Slower: for indices and parameters.
template <class T>
T load_as(const View& view, int64_t offset) {
  return dispatch(view.dtype, [&](auto tag) { return convert<T>(load<decltype(tag)>(view.data, offset)); });
}
template <class T>
void store_as(const View& view, int64_t offset, T value) {
  dispatch(view.dtype, [&](auto tag) { store(view.data, offset, convert<decltype(tag)>(value)); });
}

inline void store_as(const View& view, int64_t offset, const Number& value) {
  std::visit([&](auto v) { store_as(view, offset, v); }, value);
}

// Offset of an index, in elements. `strides` may have fewer dimensions than the index: the leading ones are used.
inline int64_t offset(const Extents& strides, const Extents& index) {
  int64_t o = 0;
  for (int i = 0; i < strides.rank; i++) o += index[i] * strides[i];
  return o;
}
inline int64_t offset(const View& view, const Extents& index) { return offset(view.strides, index); }

// Strides with which an index of a result of rank `rank` walks a view that broadcasts to it: 0 where it has extent 1.
Extents broadcast_strides(const View& view, int rank);

// Calls f(index) for every index of `shape` in row-major order, once for a scalar, never for an empty shape.
template <class F>
void for_each_index(const Extents& shape, F&& f) {
  for (int i = 0; i < shape.rank; i++)
    if (shape[i] <= 0) return;
  Extents index;
  index.rank = shape.rank;
  while (true) {
    f(static_cast<const Extents&>(index));
    int i = shape.rank - 1;
    for (; i >= 0 && ++index[i] == shape[i]; i--) index[i] = 0;
    if (i < 0) return;
  }
}
template <class F>
void for_each_index(std::span<const int64_t> shape, F&& f) {
  for_each_index(Extents(shape), f);
}

// The same for rows: f(index) with the last index 0, to loop over shape's last dimension itself. A scalar has one row.
template <class F>
void for_each_row(const Extents& shape, F&& f) {
  Extents outer = shape;
  if (outer.rank > 0) {
    if (outer[outer.rank - 1] <= 0) return;
    outer[outer.rank - 1] = 1;
  }
  for_each_index(outer, f);
}

// Copies element by element; `from` broadcasts to the shape of `to`, of the same type.
void copy_view(const View& from, const View& to);

}  // namespace pando
