#include "kernels/conv/direct.hpp"

#include <algorithm>

namespace pando::kernels {
namespace {

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Extent of the equal parts of at most `limit` that `extent` is cut into.
int64_t even_part(int64_t extent, int64_t limit) {
  return ceil_div(extent, ceil_div(extent, std::max<int64_t>(limit, 1)));
}

// k of one call: the largest divisor up to 64; where that is poor (primes), up to 512; else all of it.
int k_block(int64_t k) {
  auto divisor_below = [k](int64_t limit) {
    int64_t d = std::min(k, limit);
    while (k % d != 0) d--;
    return static_cast<int>(d);
  };
  int d = divisor_below(64);
  if (d < 24 && k > 64) d = divisor_below(512);
  return d < 8 && k > 512 ? static_cast<int>(k) : d;
}

// Where, in a gathered block, the tap's input for output (0, 0) lies.
struct Tap {
  int plane, shift;
};
Tap row_tap(const ConvShape& s, int kh) { return {kh * s.dy % s.sy, kh * s.dy / s.sy}; }
Tap column_tap(const DirectPlan& p, int kw) {
  const ConvShape& s = p.shape;
  if (!p.shared_columns) return {kw, 0};
  return {kw * s.dx % s.sx, kw * s.dx / s.sx};
}

void set_block(DirectPlan& p, int64_t rows, int64_t cols) {
  const ConvShape& s = p.shape;
  p.block_rows = static_cast<int>(rows);
  p.block_cols = static_cast<int>(cols);
  p.shared_columns = !p.merged && s.kw > 1 && cols >= 12 && (cols % 3 != 1 || cols >= 28);
  p.row_planes = s.kh == 1 ? 1 : s.sy;
  p.column_planes = p.merged ? 1 : p.shared_columns ? s.sx : s.kw;
  p.plane_rows = p.block_rows + row_tap(s, s.kh - 1).shift;
  const int64_t shared = p.merged ? ceil_div(std::max(s.kw - s.sx, 0), s.sx) : column_tap(p, s.kw - 1).shift;
  p.plane_cols = p.block_cols + (p.merged || p.shared_columns ? static_cast<int>(shared) : 0);
  p.gathered_floats = p.in_place ? 0
                                 : static_cast<int64_t>(p.parts) * p.row_planes * p.column_planes * p.plane_rows *
                                       p.plane_cols * p.inner;
}

// Offset of a gathered row.
int64_t gathered_row(const DirectPlan& p, int64_t part, int row_plane, int column_plane, int64_t row) {
  const int64_t plane = (part * p.row_planes + row_plane) * p.column_planes + column_plane;
  return (plane * p.plane_rows + row) * p.plane_cols * p.inner;
}

// Output pixels whose input, and whose partial sums for one block of channels, stay in cache.
void choose_block(DirectPlan& p, int64_t rows, int64_t cols, double l2) {
  const double budget = l2 * 0.5;
  constexpr int64_t pixels = 192, enough = 96;  // fewer read the weights too often
  const bool lines = p.shape.kh == 1;           // no row is shared between output rows
  cols = std::max<int64_t>(cols, 1);
  rows = std::max<int64_t>(rows, 1);
  int64_t c = cols > 64 ? even_part(cols, lines ? pixels : 64) : cols;
  int64_t r = even_part(rows, std::max<int64_t>(pixels / c, 1));
  auto bytes = [&] {
    set_block(p, r, c);
    const double in_place = static_cast<double>(r * c) * p.shape.ci;
    return 4.0 * (p.in_place ? in_place : static_cast<double>(p.gathered_floats));
  };
  while (bytes() > budget && r > 1 && r * c > enough) r = even_part(rows, r - 1);
  while (bytes() > budget && r * c > enough) c = even_part(cols, c - 1);
  set_block(p, r, c);
}

}  // namespace

DirectPlan plan_direct(const ConvShape& s, int64_t rows, int64_t cols, int64_t out_w, ResidualStrides residual,
                       double l1, double l2) {
  DirectPlan p;
  p.shape = s;
  const bool one = s.kh == 1 && s.kw == 1 && s.sy == 1 && s.sx == 1 && s.pad_y == 0 && s.pad_x == 0 && s.x_c == 1;
  // Pixels a power of two apart share few cache sets: better gathered, which costs one copy.
  p.in_place = one && s.x_x >= k_block(s.ci) && s.x_x % 512 != 0;
  p.merged = s.groups == 1 && s.kw > 1 && s.dx == 1 && s.x_c == 1 && s.x_x == s.ci && s.ci < 24;
  const int64_t pixel = p.merged ? static_cast<int64_t>(s.kw) * s.ci : s.ci;
  p.kb = k_block(pixel);
  const int parts = static_cast<int>(pixel / p.kb);
  p.entries = s.kh * (p.merged ? 1 : s.kw) * parts;
  p.inner = p.merged ? s.sx * s.ci : p.kb;
  p.parts = p.merged ? 1 : parts;
  const double per_entry = 4.0 * gemm_block * p.kb;
  const int64_t fit = std::max<int64_t>(1, static_cast<int64_t>(l1 * 0.75 / per_entry));
  p.chunk = static_cast<int>(even_part(p.entries, fit));
  p.flat_cols = static_cast<int>(out_w);
  p.flat = s.y_y == out_w * s.y_x && (!p.in_place || s.x_y == s.in_w * s.x_x) &&
           (!residual.present || residual.y == out_w * residual.x);
  choose_block(p, rows, cols, l2);
  return p;
}

void fill_offsets(const DirectPlan& p, int64_t lda, GemmOffset* a, GemmOffset* b) {
  const ConvShape& s = p.shape;
  const int parts = (p.merged ? s.kw * s.ci : s.ci) / p.kb;
  int q = 0;
  for (int kh = 0; kh < s.kh; kh++)
    for (int kw = 0; kw < (p.merged ? 1 : s.kw); kw++)
      for (int part = 0; part < parts; part++, q++) {
        a[q] = sizeof(float) * static_cast<GemmOffset>(q) * static_cast<GemmOffset>(p.kb * lda);
        const Tap row = row_tap(s, kh), column = p.merged ? Tap{0, 0} : column_tap(p, kw);
        const int64_t within = p.merged ? part * p.kb : static_cast<int64_t>(column.shift) * p.inner;
        const int64_t at = p.in_place
                               ? part * p.kb
                               : gathered_row(p, p.merged ? 0 : part, row.plane, column.plane, row.shift) + within;
        b[q] = sizeof(float) * static_cast<GemmOffset>(at);
      }
}

namespace {

struct Pixels {  // a block of one image's output
  int64_t n, y0, y1, x0, x1;
  int64_t rows() const { return y1 - y0; }
  int64_t cols() const { return x1 - x0; }
};

template <class F>
void for_blocks(const DirectPlan& p, const ConvBox& box, const F& f) {
  for (int64_t n = box.n0; n < box.n1; n++)
    for (int64_t y = box.y0; y < box.y1; y += p.block_rows)
      for (int64_t x = box.x0; x < box.x1; x += p.block_cols)
        f(Pixels{n, y, std::min<int64_t>(y + p.block_rows, box.y1), x, std::min<int64_t>(x + p.block_cols, box.x1)});
}

bool one_run(const DirectPlan& p, const Pixels& b) {
  return p.flat && b.cols() == p.flat_cols && (p.in_place || b.cols() == p.plane_cols);
}

// Output columns, of `cols` from column x0 on, whose window of `width` input columns from its first one lies in the
// image.
struct Inside {
  int64_t lo, hi;
};
Inside inside(int64_t first, int64_t width, int64_t stride, int64_t extent, int64_t cols) {
  const int64_t lo = std::clamp<int64_t>(ceil_div(std::max<int64_t>(-first, 0), stride), 0, cols);
  const int64_t last = extent - width - first;  // of the first window: its distance to the last place it fits
  return {lo, last < 0 ? lo : std::clamp<int64_t>(last / stride + 1, lo, cols)};
}

// The windows of neighbouring outputs overlap: a copy of the row between zeros.
void gather_merged_row(const DirectPlan& p, const float* image_row, int64_t x0, int64_t cols, float* to) {
  const ConvShape& s = p.shape;
  const int64_t first = x0 * s.sx - s.pad_x, width = (cols - 1) * s.sx + s.kw;
  const int64_t lo = std::clamp<int64_t>(-first, 0, width), hi = std::clamp<int64_t>(s.in_w - first, lo, width);
  std::fill_n(to, lo * s.ci, 0.0f);
  std::copy_n(image_row + (first + lo) * s.ci, (hi - lo) * s.ci, to + lo * s.ci);
  std::fill_n(to + hi * s.ci, (width - hi) * s.ci, 0.0f);
}

// One row of the input for output columns x0 .. x0 + cols - 1; `to` is its place in part 0, column plane 0.
void gather_row(const DirectPlan& p, const float* image_row, int64_t x0, int64_t cols, float* to) {
  const ConvShape& s = p.shape;
  if (p.merged) return gather_merged_row(p, image_row, x0, cols, to);
  const int64_t part_stride = gathered_row(p, 1, 0, 0, 0), plane_stride = gathered_row(p, 0, 0, 1, 0);
  cols += p.plane_cols - p.block_cols;
  for (int plane = 0; plane < p.column_planes; plane++, to += plane_stride) {
    const int64_t first = x0 * s.sx + (p.shared_columns ? plane : plane * s.dx) - s.pad_x;
    const auto [lo, hi] = inside(first, 1, s.sx, s.in_w, cols);
    for (int part = 0; part < p.parts; part++) {
      std::fill_n(to + part * part_stride, lo * p.inner, 0.0f);
      std::fill_n(to + part * part_stride + hi * p.inner, (cols - hi) * p.inner, 0.0f);
    }
    if (hi > lo)
      gather_pixels(to + lo * p.inner, image_row + (first + lo * s.sx) * s.x_x,
                    {s.sx * s.x_x, s.x_c, part_stride, p.parts, p.inner}, hi - lo);
  }
}

void zero_row(const DirectPlan& p, float* to) {
  for (int part = 0; part < p.parts; part++)
    for (int plane = 0; plane < p.column_planes; plane++)
      std::fill_n(to + gathered_row(p, part, 0, plane, 0), static_cast<int64_t>(p.plane_cols) * p.inner, 0.0f);
}

// The input of a block, for one group's channels (x points to the image's first pixel, first channel of the group).
void gather(const DirectPlan& p, const float* x, const Pixels& b, float* to) {
  const ConvShape& s = p.shape;
  for (int plane = 0; plane < p.row_planes; plane++)
    for (int row = 0; row < p.plane_rows; row++) {
      bool read = false;
      for (int kh = 0; kh < s.kh; kh++) {
        const Tap tap = row_tap(s, kh);
        read |= tap.plane == plane && row >= tap.shift && row < tap.shift + b.rows();
      }
      if (!read) continue;
      float* dst = to + gathered_row(p, 0, plane, 0, row);
      const int64_t iy = b.y0 * s.sy - s.pad_y + static_cast<int64_t>(row) * s.sy + plane;
      if (iy >= 0 && iy < s.in_h) gather_row(p, x + iy * s.x_y, b.x0, b.cols(), dst);
      else zero_row(p, dst);
    }
}

constexpr int max_runs = 256;

}  // namespace

void conv_direct(const DirectPlan& p, const DirectArgs& args, const ConvBox& box, std::byte* scratch) {
  const ConvShape& s = p.shape;
  float* gathered = reinterpret_cast<float*>(scratch);
  float* padded = gathered + (p.gathered_floats + 15) / 16 * 16;
  const EpilogueOperand* residual = args.epilogue.residual();
  for_blocks(p, box, [&](const Pixels& b) {
    const bool joined = one_run(p, b);
    const int64_t run_rows = joined ? b.rows() : 1;
    for (int64_t group = 0; group < s.groups; group++) {
      const float* image = args.x + b.n * s.x_n + group * s.ci * s.x_c;
      if (!p.in_place) gather(p, image, b, gathered);
      MatrixPass pass = args.pass;
      pass.weights += group * args.group_stride;
      if (pass.bias) pass.bias += group * s.co;
      PassRun runs[max_runs];
      int count = 0;
      for (int64_t y = b.y0; y < b.y1; y += run_rows) {
        PassRun& run = runs[count++];
        run.b = p.in_place ? image + y * s.x_y + b.x0 * s.x_x : gathered + (y - b.y0) * p.plane_cols * p.inner;
        run.c = args.y + b.n * s.y_n + y * s.y_y + b.x0 * s.y_x + group * s.co;
        run.residual = residual ? residual->data + b.n * residual->stride[0] + y * residual->stride[1] +
                                      b.x0 * residual->stride[2] + group * s.co
                                : nullptr;
        run.n = run_rows * b.cols();
      }
      pass.out_stride = s.y_x;
      if (residual) pass.residual_stride = residual->stride[2];
      matrix_pass(pass, {runs, static_cast<size_t>(count)}, s.groups > 1 ? 0 : box.c0, s.groups > 1 ? s.co : box.c1,
                  args.epilogue, padded);
    }
    if (args.epilogue.code)
      for (int64_t y = b.y0; y < b.y1; y++) {
        const int64_t at[4] = {b.n, y, b.x0, box.c0};
        run_epilogue_code(args.epilogue, 4, 2, at, b.cols(), box.c1 - box.c0,
                          args.y + b.n * s.y_n + y * s.y_y + b.x0 * s.y_x + box.c0, s.y_x);
      }
  });
}

}  // namespace pando::kernels
