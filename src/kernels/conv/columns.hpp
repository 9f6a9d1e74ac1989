// How the columns of a convolution's product are found: blocks of output pixels, and the input under them. For images
// of any element type.
#pragma once
#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "kernels/conv/direct.hpp"

namespace pando::kernels {

inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Extent of the equal parts of at most `limit` that `extent` is cut into.
inline int64_t even_part(int64_t extent, int64_t limit) {
  return ceil_div(extent, ceil_div(extent, std::max<int64_t>(limit, 1)));
}

// Input rows, or columns, under `count` output ones.
inline int64_t under(int64_t count, int64_t kernel, int64_t stride, int64_t dilation) {
  return (count - 1) * stride + (kernel - 1) * dilation + 1;
}

struct Pixels {  // a block of one image's output
  int64_t n, y0, y1, x0, x1;
  int64_t rows() const { return y1 - y0; }
  int64_t cols() const { return x1 - x0; }
};

template <class F>
void for_blocks(int64_t block_rows, int64_t block_cols, const ConvBox& box, const F& f) {
  for (int64_t n = box.n0; n < box.n1; n++)
    for (int64_t y = box.y0; y < box.y1; y += block_rows)
      for (int64_t x = box.x0; x < box.x1; x += block_cols)
        f(Pixels{n, y, std::min<int64_t>(y + block_rows, box.y1), x, std::min<int64_t>(x + block_cols, box.x1)});
}

// Of `count` positions from `first` on, `stride` apart, those that lie in [0, extent).
struct Inside {
  int64_t lo, hi;
};
inline Inside inside(int64_t first, int64_t stride, int64_t extent, int64_t count) {
  const int64_t lo = std::clamp<int64_t>(ceil_div(std::max<int64_t>(-first, 0), stride), 0, count);
  return {lo, std::clamp<int64_t>(extent <= first ? 0 : ceil_div(extent - first, stride), lo, count)};
}

// The input under a block, [rows][columns][pitch], for one group's channels; pitch >= ci. convert(from, n,
// to) makes n elements of contiguous ones; padding, and what lies between ci and pitch, holds `pad`.
template <class From, class To, class Convert>
void copy_image(const ConvShape& s, const From* image, const Pixels& b, To pad, int64_t pitch, To* to,
                Convert convert) {
  const int64_t y0 = b.y0 * s.sy - s.pad_y, x0 = b.x0 * s.sx - s.pad_x;
  const int64_t cols = under(b.cols(), s.kw, s.sx, s.dx);
  const Inside in = inside(x0, 1, s.in_w, cols);
  for (int64_t y = y0; y < y0 + under(b.rows(), s.kh, s.sy, s.dy); y++, to += cols * pitch) {
    if (y < 0 || y >= s.in_h) {
      std::fill_n(to, cols * pitch, pad);
      continue;
    }
    const From* from = image + y * s.x_y + (x0 + in.lo) * s.x_x;
    std::fill_n(to, in.lo * pitch, pad);
    To* inner = to + in.lo * pitch;
    const int64_t count = in.hi - in.lo;
    if (s.x_c == 1 && s.x_x == s.ci && pitch == s.ci) {
      convert(from, count * s.ci, inner);
    } else if (s.x_c == 1) {
      for (int64_t i = 0; i < count; i++) {
        convert(from + i * s.x_x, s.ci, inner + i * pitch);
        std::fill(inner + i * pitch + s.ci, inner + (i + 1) * pitch, pad);
      }
    } else {  // channels lie apart: in blocks that fill whole cache lines of both sides
      if (pitch > s.ci) std::fill_n(inner, count * pitch, pad);
      for (int64_t c0 = 0; c0 < s.ci; c0 += 16)
        for (int64_t i = 0; i < count; i++)
          for (int64_t c = c0; c < std::min(c0 + 16, s.ci); c++)
            convert(from + i * s.x_x + c * s.x_c, 1, inner + i * pitch + c);
    }
    std::fill_n(to + in.hi * pitch, (cols - in.hi) * pitch, pad);
  }
}

// Where each tap of each pixel of the block begins in the copy. `merged`: a tap is a whole row of the kernel.
template <class T>
void point_into_copy(const ConvShape& s, const Pixels& b, bool merged, int64_t pitch, const T* copy, const void** to) {
  const int64_t row = under(b.cols(), s.kw, s.sx, s.dx) * pitch;
  for (int64_t kh = 0; kh < s.kh; kh++)
    for (int64_t kw = 0; kw < (merged ? 1 : s.kw); kw++)
      for (int64_t y = 0; y < b.rows(); y++)
        for (int64_t x = 0; x < b.cols(); x++)
          *to++ = copy + (y * s.sy + kh * s.dy) * row + (x * s.sx + kw * s.dx) * pitch;
}

}  // namespace pando::kernels
