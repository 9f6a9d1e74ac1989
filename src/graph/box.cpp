#include "graph/box.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace pando {
namespace {

int64_t floor_div(int64_t a, int64_t b) {
  int64_t q = a / b;
  return a % b != 0 && (a < 0) != (b < 0) ? q - 1 : q;
}

Interval apply_axis(const AxisRule& r, const Box& box, int64_t extent) {
  Interval out{r.lo, r.hi};
  if (r.dim >= 0) {
    Interval b = box[r.dim];
    if (b.empty()) return {0, 0};
    int64_t first = r.num < 0 ? b.hi - 1 : b.lo, last = r.num < 0 ? b.lo : b.hi - 1;
    out.lo = r.from_zero ? 0 : floor_div(first * r.num + r.lo, r.den);
    out.hi = floor_div(last * r.num + r.hi, r.den) + 1;
  }
  return {std::max<int64_t>(out.lo, 0), std::min(out.hi, extent)};
}

// A reshape keeps row-major order: within each group of dimensions whose products agree on both sides, the box spans
// one linear range, and that range is covered by a box on the other side.
Box apply_regroup(const Extents& from, const Box& box, std::span<const int64_t> shape) {
  Box out;
  out.rank = static_cast<int8_t>(shape.size());
  if (box.empty()) return out;
  for_each_group(from, shape, [&](int i, int i1, int j, int j1) {
    int64_t lo = 0, hi = 0;  // first and last linear index of the group
    for (int k = i; k < i1; k++) {
      lo = lo * from[k] + box[k].lo;
      hi = hi * from[k] + box[k].hi - 1;
    }
    int64_t below = 1;
    for (int k = j; k < j1; k++) below *= shape[k];
    bool same = true;  // the leading coordinates of both ends agree so far
    for (int k = j; k < j1; k++) {
      below /= std::max<int64_t>(shape[k], 1);
      if (!same) {
        out[k] = {0, shape[k]};
        continue;
      }
      out[k] = {lo / below, hi / below + 1};
      same = out[k].size() == 1;
      lo %= below;
      hi %= below;
    }
  });
  return out;
}

}  // namespace

bool Box::empty() const {
  for (int i = 0; i < rank; i++)
    if (d[i].empty()) return true;
  return false;
}

int64_t Box::count() const {
  int64_t n = 1;
  for (int i = 0; i < rank; i++) n *= d[i].size();
  return n;
}

Box whole(std::span<const int64_t> shape) {
  Box b;
  b.rank = static_cast<int8_t>(shape.size());
  for (int i = 0; i < b.rank; i++) b[i] = {0, shape[i]};
  return b;
}

Box whole(const Domain& domain) {
  Box b;
  b.rank = domain.rank;
  for (int i = 0; i < b.rank; i++) b[i] = {0, domain[i].extent};
  return b;
}

Box intersect(const Box& a, const Box& b) {
  Box r = a;
  for (int i = 0; i < r.rank; i++) r[i] = {std::max(a[i].lo, b[i].lo), std::min(a[i].hi, b[i].hi)};
  return r;
}

Box hull(const Box& a, const Box& b) {
  if (a.empty()) return b;
  if (b.empty()) return a;
  Box r = a;
  for (int i = 0; i < r.rank; i++) r[i] = {std::min(a[i].lo, b[i].lo), std::max(a[i].hi, b[i].hi)};
  return r;
}

std::string to_string(const Box& box) {
  std::string s = "[";
  for (int i = 0; i < box.rank; i++) s += fmt::format("{}{}:{}", i ? "," : "", box[i].lo, box[i].hi);
  return s + "]";
}

Access identity_access(int rank) {
  Access a = Access::by_axes();
  for (int i = 0; i < rank; i++) a.add(axis_same(i));
  return a;
}

Access broadcast_access(std::span<const int64_t> from, std::span<const int64_t> to) {
  Access a = Access::by_axes();
  int shift = static_cast<int>(to.size()) - static_cast<int>(from.size());
  for (int i = 0; i < static_cast<int>(from.size()); i++)
    a.add(from[i] == 1 && to[i + shift] != 1 ? axis_fixed(0, 1) : axis_same(i + shift));
  return a;
}

Box apply(const Access& rule, const Box& box, std::span<const int64_t> shape) {
  if (rule.kind == Access::Kind::all) return whole(shape);
  if (rule.kind == Access::Kind::regroup) return apply_regroup(rule.from, box, shape);
  Box out;
  out.rank = static_cast<int8_t>(shape.size());
  if (rule.kind == Access::Kind::none) return out.rank ? out : (out.rank = 1, out);
  for (int i = 0; i < out.rank; i++) out[i] = apply_axis(rule.axis[i], box, shape[i]);
  return out;
}

}  // namespace pando
