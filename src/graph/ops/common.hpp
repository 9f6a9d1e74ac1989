// What the reference evaluations and shape rules of the core operators share. Nothing here allocates, except where a
// Shape is returned.
#pragma once
#include <cmath>
#include <cstring>

#include "base/convert.hpp"
#include "graph/backward.hpp"

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

// ---- arithmetic ----

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
