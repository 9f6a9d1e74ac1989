// Permutations of dimensions, as in TransposeAttrs: output dimension i is input dimension perm[i].
#pragma once
#include <cstdint>
#include <vector>

#include "base/shape.hpp"

namespace pando {

using Perm = std::vector<int64_t>;

inline Perm identity_perm(size_t rank) {
  Perm p(rank);
  for (size_t i = 0; i < rank; i++) p[i] = static_cast<int64_t>(i);
  return p;
}
inline bool is_identity(const Perm& p) { return p == identity_perm(p.size()); }
// `second` after `first`, as one.
inline Perm compose(const Perm& first, const Perm& second) {
  Perm p(second.size());
  for (size_t i = 0; i < p.size(); i++) p[i] = first[second[i]];
  return p;
}
inline Perm inverse(const Perm& p) {
  Perm q(p.size());
  for (size_t i = 0; i < p.size(); i++) q[p[i]] = static_cast<int64_t>(i);
  return q;
}
template <class T>
std::vector<T> after(const Perm& p, const std::vector<T>& list) {
  std::vector<T> r(list.size());
  for (size_t i = 0; i < p.size(); i++) r[i] = list[p[i]];
  return r;
}
// Whether such a transpose keeps the order of all extents but 1: then it is a reshape.
inline bool moves_only_ones(const Shape& in, const Perm& p) {
  int64_t last = -1;
  for (int64_t i : p) {
    if (in[i] == 1) continue;
    if (i < last) return false;
    last = i;
  }
  return true;
}

}  // namespace pando
