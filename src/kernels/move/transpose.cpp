#include "kernels/move/transpose.hpp"

#include <algorithm>
#include <cstring>

namespace pando::kernels {
namespace {

template <class T>
void transpose_plain(const T* from, int64_t from_stride, T* to, int64_t to_stride, int64_t rows, int64_t cols) {
  for (int64_t i = 0; i < rows; i++)
    for (int64_t j = 0; j < cols; j++) to[i * to_stride + j] = from[j * from_stride + i];
}

// Few columns, as from planes to pixels: a pixel at a time, with the number of planes known to the compiler.
template <int cols, class T>
void interleave(const T* from, int64_t from_stride, T* to, int64_t to_stride, int64_t rows) {
  for (int64_t i = 0; i < rows; i++)
    for (int j = 0; j < cols; j++) to[i * to_stride + j] = from[j * from_stride + i];
}

// 4x4 in registers. 128-bit vectors of the compiler do, since memory is what limits; so no dispatch by CPU is needed.
using Four [[gnu::vector_size(16)]] = uint32_t;

Four load(const uint32_t* p) {
  Four v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
void store(uint32_t* p, Four v) { std::memcpy(p, &v, sizeof v); }

void transpose_4x4(const uint32_t* from, int64_t from_stride, uint32_t* to, int64_t to_stride) {
  Four r0 = load(from), r1 = load(from + from_stride), r2 = load(from + 2 * from_stride),
       r3 = load(from + 3 * from_stride);
  Four low01 = __builtin_shufflevector(r0, r1, 0, 4, 1, 5), low23 = __builtin_shufflevector(r2, r3, 0, 4, 1, 5);
  Four high01 = __builtin_shufflevector(r0, r1, 2, 6, 3, 7), high23 = __builtin_shufflevector(r2, r3, 2, 6, 3, 7);
  store(to, __builtin_shufflevector(low01, low23, 0, 1, 4, 5));
  store(to + to_stride, __builtin_shufflevector(low01, low23, 2, 3, 6, 7));
  store(to + 2 * to_stride, __builtin_shufflevector(high01, high23, 0, 1, 4, 5));
  store(to + 3 * to_stride, __builtin_shufflevector(high01, high23, 2, 3, 6, 7));
}

// Three planes into dense pixels, four at a time.
void interleave_3(const uint32_t* from, int64_t from_stride, uint32_t* to, int64_t rows) {
  int64_t i = 0;
  for (; i + 4 <= rows; i += 4, to += 12) {
    Four a = load(from + i), b = load(from + from_stride + i), c = load(from + 2 * from_stride + i);
    Four ab = __builtin_shufflevector(a, b, 0, 4, 1, 5), bc = __builtin_shufflevector(b, c, 1, 5, 2, 6),
         ca = __builtin_shufflevector(c, a, 2, 7, 3, 3), b3 = __builtin_shufflevector(b, b, 3, 3, 3, 3);
    store(to, __builtin_shufflevector(ab, c, 0, 1, 4, 2));
    store(to + 4, __builtin_shufflevector(bc, a, 0, 1, 6, 2));
    store(to + 8, __builtin_shufflevector(ca, b3, 0, 1, 4, 2));
  }
  interleave<3>(from + i, from_stride, to, 3, rows - i);
}

template <class T>
void transpose_block(const T* from, int64_t from_stride, T* to, int64_t to_stride, int64_t rows, int64_t cols) {
  int64_t full_rows = 0, full_cols = 0;
  if constexpr (sizeof(T) == 4) {
    full_rows = rows / 4 * 4;
    full_cols = cols / 4 * 4;
    for (int64_t i = 0; i < full_rows; i += 4)
      for (int64_t j = 0; j < full_cols; j += 4)
        transpose_4x4(reinterpret_cast<const uint32_t*>(from + j * from_stride + i), from_stride,
                      reinterpret_cast<uint32_t*>(to + i * to_stride + j), to_stride);
  }
  transpose_plain(from + full_cols * from_stride, from_stride, to + full_cols, to_stride, full_rows, cols - full_cols);
  transpose_plain(from + full_rows, from_stride, to + full_rows * to_stride, to_stride, rows - full_rows, cols);
}

}  // namespace

template <class T>
void transpose_2d(const T* from, int64_t from_stride, T* to, int64_t to_stride, int64_t rows, int64_t cols) {
  if (cols == 2) return interleave<2>(from, from_stride, to, to_stride, rows);
  if constexpr (sizeof(T) == 4) {
    if (cols == 3 && to_stride == 3)
      return interleave_3(reinterpret_cast<const uint32_t*>(from), from_stride, reinterpret_cast<uint32_t*>(to), rows);
  }
  if (cols == 3) return interleave<3>(from, from_stride, to, to_stride, rows);
  if (cols == 4) return interleave<4>(from, from_stride, to, to_stride, rows);
  constexpr int64_t block = std::max<int64_t>(64 / sizeof(T), 16);  // whole cache lines on both sides
  for (int64_t i = 0; i < rows; i += block)
    for (int64_t j = 0; j < cols; j += block)
      transpose_block(from + j * from_stride + i, from_stride, to + i * to_stride + j, to_stride,
                      std::min(block, rows - i), std::min(block, cols - j));
}

#define PANDO_TRANSPOSE(U) \
  template void transpose_2d(const Element<U>::type*, int64_t, Element<U>::type*, int64_t, int64_t, int64_t);
PANDO_TRANSPOSE(uint8_t)
PANDO_TRANSPOSE(uint16_t)
PANDO_TRANSPOSE(uint32_t)
PANDO_TRANSPOSE(uint64_t)
#undef PANDO_TRANSPOSE

}  // namespace pando::kernels
