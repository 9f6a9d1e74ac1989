#include "kernels/conv/integer_depthwise.hpp"

#include <algorithm>

namespace pando::kernels {
namespace {

constexpr int64_t rows_at_once = 4;  // of outputs: their inputs stay in L2

struct Range {
  int64_t lo, hi;
  int64_t count() const { return std::max<int64_t>(hi - lo, 0); }
};
// Rows of the input under output rows [y0, y1), and likewise columns.
Range rows_under(const DepthwiseShape& s, int64_t y0, int64_t y1) {
  const int64_t first = y0 * s.stride_y - s.pad_y;
  const int64_t last = (y1 - 1) * s.stride_y - s.pad_y + (s.kh - 1) * s.dilation_y + 1;
  return {std::clamp<int64_t>(first, 0, s.h), std::clamp<int64_t>(last, 0, s.h)};
}
Range columns_under(const DepthwiseShape& s, int64_t x0, int64_t x1) {
  const int64_t first = x0 * s.stride_x - s.pad_x;
  const int64_t last = (x1 - 1) * s.stride_x - s.pad_x + (s.kw - 1) * s.dilation_x + 1;
  return {std::clamp<int64_t>(first, 0, s.w), std::clamp<int64_t>(last, 0, s.w)};
}

struct Scratch {
  size_t y, sums, end;
  Scratch(const DepthwiseShape& s, const DepthwiseBox& box) {
    const auto align = [](int64_t bytes) { return (static_cast<size_t>(bytes) + 63) / 64 * 64; };
    const int64_t rows = (rows_at_once - 1) * s.stride_y + (s.kh - 1) * s.dilation_y + 1, channels = box.c1 - box.c0,
                  columns = box.x1 - box.x0;
    y = align(std::min(rows, s.h) * columns_under(s, box.x0, box.x1).count() * channels * 4);
    sums = y + align(rows_at_once * columns * channels * 4);
    end = sums + align(columns * integer_block * 4) * 2;
  }
};

void widen_rows(const IntegerDepthwise& op, const std::byte* image, Range rows, Range columns, int64_t c0,
                int64_t channels, float* to) {
  const DepthwiseShape& s = op.shape;
  const bool contiguous = s.x_x == channels;
  for (int64_t y = rows.lo; y < rows.hi; y++) {
    const std::byte* row = image + y * s.x_y + columns.lo * s.x_x + c0;
    const int64_t pixels = contiguous ? 1 : columns.count(), n = contiguous ? columns.count() * channels : channels;
    for (int64_t x = 0; x < pixels; x++, to += n) widen_bytes(row + x * s.x_x, op.plan.is_signed, op.plan.zero, n, to);
  }
}

}  // namespace

size_t IntegerDepthwise::scratch_bytes(const DepthwiseBox& box) const { return Scratch(shape, box).end; }

void depthwise_integer(const IntegerDepthwise& op, const IntegerArgs& args, const float* weights,
                       const DepthwiseBox& box, std::byte* scratch) {
  const Scratch at(op.shape, box);
  const int64_t channels = box.c1 - box.c0, columns = box.x1 - box.x0;
  auto* input = reinterpret_cast<float*>(scratch);
  auto* output = reinterpret_cast<float*>(scratch + at.y);
  auto* sums = reinterpret_cast<int32_t*>(scratch + at.sums);
  auto* floats = reinterpret_cast<float*>(sums + (columns * integer_block + 15) / 16 * 16);
  DepthwiseShape s = op.shape;  // of what lies in scratch
  s.x_n = s.y_n = 0;
  s.x_x = s.y_x = channels;
  const Range under = columns_under(op.shape, box.x0, box.x1);
  s.x_y = under.count() * channels;
  s.y_y = columns * channels;
  for (int64_t n = box.n0; n < box.n1; n++)
    for (int64_t y0 = box.y0; y0 < box.y1; y0 += rows_at_once) {
      const int64_t y1 = std::min(y0 + rows_at_once, box.y1);
      const Range rows = rows_under(s, y0, y1);
      const std::byte* image = args.x + n * op.shape.x_n;
      widen_rows(op, image, rows, under, box.c0, channels, input);
      // By the coordinates of the whole image.
      depthwise_tile(s, {0, 1, y0, y1, box.x0, box.x1, box.c0, box.c1},
                     input - rows.lo * s.x_y - under.lo * s.x_x - box.c0, weights,
                     output - y0 * s.y_y - box.x0 * s.y_x - box.c0, EpilogueArgs());
      for (int64_t y = y0; y < y1; y++)
        for (int64_t c = box.c0; c < box.c1; c += integer_block) {
          const int64_t width = std::min<int64_t>(integer_block, box.c1 - c);
          const float* from = output + (y - y0) * s.y_y + c - box.c0;
          sums_of_floats(from, channels, columns, width, args.start + c, sums);
          store_sums(op.plan, args, sums, {n, y, box.x0, c}, columns, width, floats);
        }
    }
}

}  // namespace pando::kernels
