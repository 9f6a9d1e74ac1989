#include "kernels/conv/direct.hpp"

#include <algorithm>

#include "kernels/conv/columns.hpp"

namespace pando::kernels {
namespace {

// Values of the input under a block of output pixels.
int64_t copied_values(const DirectPlan& p, int64_t rows, int64_t cols) {
  const ConvShape& s = p.shape;
  return under(rows, s.kh, s.sy, s.dy) * under(cols, s.kw, s.sx, s.dx) * p.pitch;
}

// Output pixels whose input stays in cache.
void choose_block(DirectPlan& p, int64_t rows, int64_t cols, double l2) {
  const double budget = l2 * 0.5;
  constexpr int64_t pixels = 192, enough = 96;  // fewer read the weights too often
  const ConvShape& s = p.shape;
  cols = std::max<int64_t>(cols, 1);
  rows = std::max<int64_t>(rows, 1);
  int64_t c = cols > 64 ? even_part(cols, s.kh == 1 ? pixels : 64) : cols;
  int64_t r = even_part(rows, std::max<int64_t>(pixels / c, 1));
  // Of a strided 1x1 convolution only every sx-th pixel is read.
  const auto bytes = [&] {
    return static_cast<double>(value_bytes(p.type) * std::min(copied_values(p, r, c), r * c * p.k * p.taps));
  };
  while (bytes() > budget && r > 1 && r * c > enough) r = even_part(rows, r - 1);
  while (bytes() > budget && r * c > enough) c = even_part(cols, c - 1);
  p.block_rows = r;
  p.block_cols = c;
}

// Scratch: column pointers, sums of one block of channels, then the copied image or a column of zeros.
struct Scratch {
  size_t columns, sums, input, end;
  explicit Scratch(const DirectPlan& p) {
    const auto align = [](size_t bytes) { return (bytes + 63) / 64 * 64; };
    const int64_t pixels = p.block_rows * p.block_cols;
    columns = 0;
    sums = align(static_cast<size_t>(p.taps * pixels) * sizeof(void*));
    input = sums + align(pass_scratch_bytes(pixels));
    const int64_t values = p.copied ? copied_values(p, p.block_rows, p.block_cols) : p.k;
    end = input + align(static_cast<size_t>(values * value_bytes(p.type)));
  }
};

}  // namespace

size_t DirectPlan::scratch_bytes() const { return Scratch(*this).end; }

DirectPlan plan_direct(const ConvShape& s, int64_t rows, int64_t cols, int64_t out_w, ResidualStrides residual,
                       double l2, ProductType type) {
  DirectPlan p;
  p.shape = s;
  p.type = type;
  p.pitch = padded_k(type, s.ci);
  p.merged = s.groups == 1 && s.kw > 1 && s.dx == 1 && s.ci < 24;
  p.copied = p.merged || s.x_c != 1 || type != ProductType::f32;
  p.taps = p.merged ? s.kh : s.kh * s.kw;
  p.k = p.merged ? s.kw * p.pitch : p.pitch;
  MatrixPass pass;
  pass.type = type;
  pass.taps = p.taps;
  pass.k = p.k;
  choose_chunks(pass, l2);
  p.chunk_taps = pass.chunk_taps;
  p.chunk_k = pass.chunk_k;
  p.flat_cols = out_w;
  p.flat = s.y_y == out_w * s.y_x && (!residual.present || residual.y == out_w * residual.x);
  choose_block(p, rows, cols, l2);
  return p;
}

namespace {

// Likewise in the image, or outside it.
void point_into_image(const DirectPlan& p, const Pixels& b, const float* image, const float* zeros, const void** to) {
  const ConvShape& s = p.shape;
  for (int64_t kh = 0; kh < s.kh; kh++)
    for (int64_t kw = 0; kw < s.kw; kw++) {
      const int64_t x0 = b.x0 * s.sx + kw * s.dx - s.pad_x;
      const Inside in = inside(x0, s.sx, s.in_w, b.cols());
      for (int64_t y = b.y0; y < b.y1; y++, to += b.cols()) {
        const int64_t iy = y * s.sy + kh * s.dy - s.pad_y;
        std::fill_n(to, b.cols(), zeros);
        if (iy < 0 || iy >= s.in_h) continue;
        const float* row = image + iy * s.x_y + x0 * s.x_x;
        for (int64_t x = in.lo; x < in.hi; x++) to[x] = row + x * s.sx * s.x_x;
      }
    }
}

void copy_columns(const DirectPlan& p, const float* image, const Pixels& b, std::byte* copy, const void** columns) {
  if (p.type == ProductType::f32) {
    auto* to = reinterpret_cast<float*>(copy);
    copy_image(p.shape, image, b, 0.0f, p.pitch, to,
               [](const float* from, int64_t n, float* floats) { std::copy_n(from, n, floats); });
    return point_into_copy(p.shape, b, p.merged, p.pitch, to, columns);
  }
  auto* to = reinterpret_cast<uint16_t*>(copy);
  copy_image(p.shape, image, b, uint16_t{0}, p.pitch, to, to_bf16);
  point_into_copy(p.shape, b, p.merged, p.pitch, to, columns);
}

// One group's output channels [c0, c1) of a block.
void run_group(const DirectPlan& p, const DirectArgs& args, const Pixels& b, int64_t group, int64_t c0, int64_t c1,
               std::byte* scratch) {
  const ConvShape& s = p.shape;
  const Scratch at(p);
  auto** columns = reinterpret_cast<const void**>(scratch + at.columns);
  const float* image = args.x + b.n * s.x_n + group * s.ci * s.x_c;
  if (p.copied) copy_columns(p, image, b, scratch + at.input, columns);
  else point_into_image(p, b, image, reinterpret_cast<float*>(scratch + at.input), columns);
  MatrixPass pass;
  pass.type = p.type;
  pass.weights = static_cast<const std::byte*>(args.weights) + group * args.group_stride * value_bytes(p.type);
  pass.block_stride = p.taps * p.k * gemm_block;
  pass.channels = s.co;
  pass.columns = columns;
  pass.taps = p.taps;
  pass.k = p.k;
  pass.chunk_taps = p.chunk_taps;
  pass.chunk_k = p.chunk_k;
  if (args.epilogue.bias) pass.bias = args.epilogue.bias + group * s.co;
  pass.out_stride = s.y_x;
  const EpilogueOperand* residual = args.epilogue.residual();
  if (residual) pass.residual_stride = residual->stride[2];

  constexpr int max_runs = 256;
  PassRun runs[max_runs];
  size_t count = 0;
  const int64_t run_rows = p.flat && b.cols() == p.flat_cols ? b.rows() : 1;
  for (int64_t y = b.y0; y < b.y1; y += run_rows)
    runs[count++] = {args.y + b.n * s.y_n + y * s.y_y + b.x0 * s.y_x + group * s.co,
                     residual ? residual->data + b.n * residual->stride[0] + y * residual->stride[1] +
                                    b.x0 * residual->stride[2] + group * s.co
                              : nullptr,
                     run_rows * b.cols()};
  matrix_pass(pass, {runs, count}, c0, c1, args.epilogue, reinterpret_cast<float*>(scratch + at.sums));
}

}  // namespace

void conv_direct(const DirectPlan& p, const DirectArgs& args, const ConvBox& box, std::byte* scratch) {
  const ConvShape& s = p.shape;
  if (!p.copied) std::fill_n(reinterpret_cast<float*>(scratch + Scratch(p).input), p.k, 0.0f);
  for_blocks(p.block_rows, p.block_cols, box, [&](const Pixels& b) {
    if (s.groups == 1) run_group(p, args, b, 0, box.c0, box.c1, scratch);
    else
      for (int64_t group = 0; group < s.groups; group++) run_group(p, args, b, group, 0, s.co, scratch);
    if (args.epilogue.code)
      for (int64_t y = b.y0; y < b.y1; y++) {
        const int64_t at[4] = {b.n, y, b.x0, box.c0};
        run_epilogue_code(args.epilogue, 4, 2, at, b.cols(), box.c1 - box.c0,
                          args.y + b.n * s.y_n + y * s.y_y + b.x0 * s.y_x + box.c0, s.y_x);
      }
  });
}

}  // namespace pando::kernels
