// Boxes, iteration domains and access rules: the one description of what an operator reads and writes.
// Everything that cuts, links, places or re-runs operators is interval arithmetic on these types.
#pragma once
#include <array>
#include <cstdint>
#include <string>

#include "base/shape.hpp"

namespace pando {

// Half-open range of indices; empty when hi <= lo.
struct Interval {
  int64_t lo = 0, hi = 0;
  bool empty() const { return hi <= lo; }
  int64_t size() const { return hi > lo ? hi - lo : 0; }
  bool operator==(const Interval&) const = default;
};

struct Box {
  std::array<Interval, max_rank> d{};
  int8_t rank = 0;
  Interval& operator[](int i) { return d[i]; }
  const Interval& operator[](int i) const { return d[i]; }
  bool empty() const;     // some dimension is empty (a rank-0 box is one element)
  int64_t count() const;  // elements
  bool operator==(const Box&) const = default;
};
Box whole(std::span<const int64_t> shape);
Box intersect(const Box& a, const Box& b);
Box hull(const Box& a, const Box& b);   // the smallest box that covers both; an empty box adds nothing
std::string to_string(const Box& box);  // "[0:1,4:8,0:56]"

// How a dimension of the iteration domain may be split (FlexFlow's SOAP; reduction is AccPar's type II).
enum class Tag : uint8_t { sample, attribute, parameter, reduction, sequential, whole };

struct Dim {
  const char* name = "";
  int64_t extent = 1;
  Tag tag = Tag::attribute;
};

struct Domain {
  std::array<Dim, max_rank> d{};
  int8_t rank = 0;
  void add(const char* name, int64_t extent, Tag tag) { d[rank++] = {name, extent, tag}; }
  Dim& operator[](int i) { return d[i]; }
  const Dim& operator[](int i) const { return d[i]; }
};
Box whole(const Domain& domain);

// One operand dimension as a function of one domain dimension's interval [b.lo, b.hi):
//   [ floor((b.lo*num + lo) / den),  floor(((b.hi-1)*num + hi) / den) + 1 )   clamped to the operand's extent.
// num < 0 swaps the corners (reversed slices). dim = -1: the fixed interval [lo, hi).
struct AxisRule {
  int8_t dim = -1;
  bool from_zero = false;  // the lower end is 0 whatever the box: causal attention
  int64_t num = 1, den = 1;
  int64_t lo = 0, hi = 0;
  bool operator==(const AxisRule&) const = default;
};
inline AxisRule axis_same(int dim) { return {static_cast<int8_t>(dim)}; }
inline AxisRule axis_fixed(int64_t lo, int64_t hi) { return {-1, false, 1, 1, lo, hi}; }
inline AxisRule axis_window(int dim, int64_t stride, int64_t lo, int64_t hi) {
  return {static_cast<int8_t>(dim), false, stride, 1, lo, hi};
}

// What one operand contributes to a box of the domain. A box in, a covering box out; what is written is exact.
struct Access {
  enum class Kind : uint8_t {
    axes,     // dimension by dimension, by AxisRule
    all,      // the whole operand
    none,     // nothing
    regroup,  // a reshape: row-major order is kept, `from` is the shape the box speaks of
  };
  Kind kind = Kind::all;
  int8_t rank = 0;
  std::array<AxisRule, max_rank> axis{};
  Extents from;  // regroup only

  void add(AxisRule r) { axis[rank++] = r; }
  static Access everything() { return {}; }
  static Access nothing() { return {Kind::none, 0, {}, {}}; }
  static Access by_axes() { return {Kind::axes, 0, {}, {}}; }
  static Access regrouped(std::span<const int64_t> from) { return {Kind::regroup, 0, {}, Extents(from)}; }
};
Access identity_access(int rank);  // operand dimension i = domain dimension i
// Operand of shape `from` broadcast (NumPy rules) to the domain `to`.
Access broadcast_access(std::span<const int64_t> from, std::span<const int64_t> to);

// A reshape's groups of dimensions whose products agree on both sides, in order: f(i, i1, j, j1) says that dimensions
// [i, i1) of `from` become [j, j1) of `to`.
template <class F>
void for_each_group(const Extents& from, std::span<const int64_t> to, F&& f) {
  const int n = from.size(), m = static_cast<int>(to.size());
  for (int i = 0, j = 0, i1, j1; i < n || j < m; i = i1, j = j1) {
    int64_t a = i < n ? from[i] : 1, b = j < m ? to[static_cast<size_t>(j)] : 1;
    i1 = i < n ? i + 1 : i;
    j1 = j < m ? j + 1 : j;
    while (a != b) {
      if (a < b && i1 < n) a *= from[i1++];
      else if (a > b && j1 < m) b *= to[static_cast<size_t>(j1++)];
      else break;  // only with empty tensors
    }
    f(i, i1, j, j1);
  }
}

// The box of an operand of shape `shape` that `rule` gives for the domain box `box`.
Box apply(const Access& rule, const Box& box, std::span<const int64_t> shape);

}  // namespace pando
