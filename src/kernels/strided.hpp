// Walking several strided operands over one box: dimensions that are contiguous in all of them are merged.
#pragma once
#include <array>
#include <cstdint>

#include "base/shape.hpp"

namespace pando::kernels {

// Up to `n` operands over the same extents; strides in elements, 0 where an operand is broadcast. Trivially copyable.
template <int n>
struct Walk {
  int rank = 0;
  int operands = 0;
  int64_t extent[max_rank];
  int64_t stride[n][max_rank];

  // Adds an innermost dimension; `strides` has one entry per operand.
  void add(int64_t size, const int64_t* strides) {
    extent[rank] = size;
    for (int i = 0; i < operands; i++) stride[i][rank] = strides[i];
    rank++;
  }

  int64_t count() const {
    int64_t c = 1;
    for (int d = 0; d < rank; d++) c *= extent[d];
    return c;
  }

  // Drops extents of 1 and merges neighbours that every operand walks as one.
  void collapse() {
    int kept = 0;
    for (int d = 0; d < rank; d++) {
      if (extent[d] == 1) continue;
      bool merges = kept > 0;
      for (int i = 0; i < operands; i++) merges = merges && stride[i][kept - 1] == stride[i][d] * extent[d];
      if (merges) kept--;
      extent[kept] = merges ? extent[kept] * extent[d] : extent[d];
      for (int i = 0; i < operands; i++) stride[i][kept] = stride[i][d];
      kept++;
    }
    rank = kept;
  }

  // Calls f(offsets) for every index of dimensions 0..dims-1, in order; offsets[i] is operand i's, in elements.
  template <class F>
  void for_each(int dims, F&& f) const {
    std::array<int64_t, max_rank> index{};
    std::array<int64_t, n> at{};
    for (int d = 0; d < dims; d++)
      if (extent[d] <= 0) return;
    while (true) {
      f(static_cast<const std::array<int64_t, n>&>(at));
      int d = dims - 1;
      for (; d >= 0; d--) {
        for (int i = 0; i < operands; i++) at[i] += stride[i][d];
        if (++index[d] < extent[d]) break;
        for (int i = 0; i < operands; i++) at[i] -= stride[i][d] * extent[d];
        index[d] = 0;
      }
      if (d < 0) return;
    }
  }
};

}  // namespace pando::kernels
