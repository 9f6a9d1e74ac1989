// Transposes of two-dimensional blocks.
#pragma once
#include <cstdint>

namespace pando::kernels {

// An unsigned integer through which any element of its size may be read and written.
template <class U>
struct Element {
  using type [[gnu::may_alias]] = U;
};

// to[i * to_stride + j] = from[j * from_stride + i] for i < rows, j < cols.
template <class T>
void transpose_2d(const T* from, int64_t from_stride, T* to, int64_t to_stride, int64_t rows, int64_t cols);

}  // namespace pando::kernels
