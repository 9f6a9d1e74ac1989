// Reductions of float32: over contiguous elements, and over rows of a matrix.
#pragma once
#include <cstdint>

#include "base/shape.hpp"

namespace pando::kernels {

enum class Reduction : uint8_t { sum, mean, max, min, prod };

// The reduced dimensions other than the one that a kernel walks itself, outermost first; strides in elements.
struct ReducedDims {
  int rank = 0;
  int64_t extent[max_rank];
  int64_t stride[max_rank];
  int64_t count() const {
    int64_t c = 1;
    for (int d = 0; d < rank; d++) c *= extent[d];
    return c;
  }
};

// One value from `n` contiguous elements at every index of `outer`: 16 partial results (element i to partial i mod 16)
// combined in a fixed tree. Sums, means and products are computed in double and rounded once.
float reduce_contiguous(Reduction kind, const float* x, const ReducedDims& outer, int64_t n);

// out[c] from x[c + offset] at every index of `outer`, for c < cols: every column in the order of the indices, in
// double likewise.
void reduce_columns(Reduction kind, const float* x, const ReducedDims& outer, int64_t cols, float* out);

}  // namespace pando::kernels
