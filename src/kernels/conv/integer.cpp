#include "kernels/conv/integer.hpp"

#include <cstring>

#include "kernels/conv/columns.hpp"

namespace pando::kernels {
namespace {

int64_t copied_values(const IntegerPlan& p, int64_t rows, int64_t cols) {
  const ConvShape& s = p.shape;
  // A merged tap, and the last group of a tap, reach beyond the last pixel.
  return under(rows, s.kh, s.sy, s.dy) * under(cols, s.kw, s.sx, s.dx) * p.pitch + padded_k(p.form, p.k);
}

// Scratch: column pointers, sums and float32 of one block of channels, the copied image.
struct Scratch {
  size_t sums, floats, input, end;
  explicit Scratch(const IntegerPlan& p) {
    const auto align = [](size_t bytes) { return (bytes + 63) / 64 * 64; };
    const auto pixels = static_cast<size_t>(p.block_rows * p.block_cols);
    sums = align(static_cast<size_t>(p.taps) * pixels * sizeof(void*));
    floats = sums + align(pixels * integer_block * sizeof(int32_t));
    input = floats + align(pixels * integer_block * sizeof(float));
    end =
        input + align(static_cast<size_t>(copied_values(p, p.block_rows, p.block_cols) * integer_value_bytes(p.form)));
  }
};

// The image under a block, and where its columns begin. In `pairs` the zero point is subtracted; in `dots` bytes with
// sign get another zero point, 128 higher, and with it none.
template <class X, class To>
void copy_columns(const IntegerPlan& p, const Pixels& b, const std::byte* image, std::byte* input,
                  const void** columns) {
  auto* copy = reinterpret_cast<To*>(input);
  const auto* from = reinterpret_cast<const X*>(image);
  if constexpr (sizeof(To) == 1) {
    const auto flip = static_cast<uint8_t>(p.is_signed ? 0x80 : 0);
    const auto pad = static_cast<uint8_t>(static_cast<uint8_t>(p.zero) ^ flip);
    copy_image(p.shape, from, b, pad, p.pitch, copy, [flip](const X* x, int64_t n, uint8_t* to) {
      if (flip == 0) std::memcpy(to, x, static_cast<size_t>(n));
      else if (n == 1) *to = static_cast<uint8_t>(static_cast<uint8_t>(*x) ^ flip);
      else flip_signs(reinterpret_cast<const std::byte*>(x), n, to);
    });
  } else {
    copy_image(p.shape, from, b, To{0}, p.pitch, copy, [&p](const X* x, int64_t n, To* to) {
      if (n == 1) *to = static_cast<To>(*x - p.zero);
      else widen_bytes(reinterpret_cast<const std::byte*>(x), p.is_signed, p.zero, n, to);
    });
  }
  point_into_copy(p.shape, b, p.merged, p.pitch, static_cast<const To*>(copy), columns);
}

void find_columns(const IntegerPlan& p, const Pixels& b, const std::byte* image, std::byte* input,
                  const void** columns) {
  if (p.form == IntegerForm::dots)
    return p.is_signed ? copy_columns<int8_t, uint8_t>(p, b, image, input, columns)
                       : copy_columns<uint8_t, uint8_t>(p, b, image, input, columns);
  p.is_signed ? copy_columns<int8_t, int16_t>(p, b, image, input, columns)
              : copy_columns<uint8_t, int16_t>(p, b, image, input, columns);
}

Requantize requantize_of(const IntegerPlan& p, const IntegerArgs& args, int64_t channel) {
  return {p.one_scale ? &p.scale : args.epilogue.operand[0].data + channel, p.one_scale ? 0 : 1, p.out_zero, p.lo,
          p.hi};
}

void run_group(const IntegerPlan& p, const IntegerArgs& args, const Pixels& b, int64_t group, int64_t c0, int64_t c1,
               std::byte* scratch) {
  const ConvShape& s = p.shape;
  const Scratch at(p);
  auto** columns = reinterpret_cast<const void**>(scratch);
  auto* sums = reinterpret_cast<int32_t*>(scratch + at.sums);
  auto* floats = reinterpret_cast<float*>(scratch + at.floats);
  find_columns(p, b, args.x + b.n * s.x_n + group * s.ci * s.x_c, scratch + at.input, columns);
  IntegerBlock block{};
  block.columns = columns;
  block.column_stride = block.n = b.rows() * b.cols();
  block.taps = p.taps;
  block.k = padded_k(p.form, p.k);
  block.sums = sums;
  const int64_t block_bytes = p.taps * block.k * integer_block * integer_value_bytes(p.form);
  // Bytes straight from registers where outputs lie evenly spaced.
  const bool at_once = p.requantize && p.form == IntegerForm::dots && (b.rows() == 1 || s.y_y == b.cols() * s.y_x);
  for (int64_t c = c0; c < c1; c += integer_block) {
    block.weights = args.weights + group * args.group_bytes + c / integer_block * block_bytes;
    block.channels = std::min<int64_t>(integer_block, c1 - c);
    block.start = args.start + group * args.group_start + c;
    int32_t start[integer_block] = {};
    if (args.bias) {
      for (int64_t i = 0; i < block.channels; i++)
        start[i] = static_cast<int32_t>(static_cast<uint32_t>(block.start[i]) +
                                        static_cast<uint32_t>(args.bias[group * s.co + c + i]));
      block.start = start;
    }
    const IntegerPlace place{b.n, b.y0, b.x0, group * s.co + c};
    const Requantize how = at_once ? requantize_of(p, args, place.c) : Requantize{};
    if (at_once) {
      block.requantize = &how;
      block.y = args.y + place.n * s.y_n + place.y * s.y_y + place.x * s.y_x + place.c;
      block.y_stride = s.y_x;
    }
    integer_block_sums(p.form, block);
    for (int64_t y = 0; !at_once && y < b.rows(); y++)
      store_sums(p, args, sums + y * b.cols() * integer_block, {b.n, b.y0 + y, b.x0, group * s.co + c}, b.cols(),
                 block.channels, floats);
  }
}

}  // namespace

void store_sums(const IntegerPlan& p, const IntegerArgs& args, const int32_t* sums, const IntegerPlace& at,
                int64_t pixels, int64_t channels, float* floats) {
  const ConvShape& s = p.shape;
  const auto bytes = static_cast<int64_t>(size_of(p.out));
  std::byte* y = args.y + (at.n * s.y_n + at.y * s.y_y + at.x * s.y_x + at.c) * bytes;
  if (p.requantize) return requantize_rows(requantize_of(p, args, at.c), sums, pixels, channels, y, s.y_x);
  if (p.out == DType::i32) {
    auto* to = reinterpret_cast<int32_t*>(y);
    for (int64_t i = 0; i < pixels; i++) std::copy_n(sums + i * integer_block, channels, to + i * s.y_x);
    return;
  }
  const bool in_place = p.out == DType::f32;
  float* f = in_place ? reinterpret_cast<float*>(y) : floats;
  const int64_t stride = in_place ? s.y_x : integer_block, first[4] = {at.n, at.y, at.x, at.c};
  float_rows(sums, pixels, channels, f, stride);
  run_epilogue_code(args.epilogue, 4, 2, first, pixels, channels, {f, stride, y, s.y_x, p.out});
}

size_t IntegerPlan::scratch_bytes() const { return Scratch(*this).end; }

IntegerPlan plan_integer(const ConvShape& s, bool is_signed, int32_t zero, int64_t rows, int64_t cols, double l2) {
  IntegerPlan p;
  p.shape = s;
  p.form = integer_form();
  p.is_signed = is_signed;
  p.zero = zero;
  p.merged = s.kw > 1 && s.dx == 1 && s.ci < 24;
  p.taps = p.merged ? s.kh : s.kh * s.kw;
  p.k = p.merged ? s.kw * s.ci : s.ci;
  p.pitch = p.merged ? s.ci : padded_k(p.form, s.ci);
  // A block's input stays in L1 or near it while the channels pass.
  constexpr int64_t pixels = 128;
  cols = std::max<int64_t>(cols, 1);
  p.block_cols = even_part(cols, pixels);
  p.block_rows = even_part(std::max<int64_t>(rows, 1), std::max<int64_t>(pixels / p.block_cols, 1));
  const auto bytes = [&] {
    return static_cast<double>(copied_values(p, p.block_rows, p.block_cols) * integer_value_bytes(p.form));
  };
  while (bytes() > l2 / 4 && p.block_rows > 1) p.block_rows = even_part(rows, p.block_rows - 1);
  while (bytes() > l2 / 4 && p.block_cols > 16) p.block_cols = even_part(cols, p.block_cols - 1);
  return p;
}

void integer_start(const IntegerPlan& p, const int8_t* w, int64_t co, int64_t values, const int32_t* bias,
                   int32_t* start) {
  const int32_t zero = p.form == IntegerForm::dots ? p.zero + (p.is_signed ? 128 : 0) : 0;
  for (int64_t o = 0; o < (co + integer_block - 1) / integer_block * integer_block; o++) {
    uint32_t sum = 0;  // wraps around
    if (o < co) {
      for (int64_t i = 0; i < values; i++) sum += static_cast<uint32_t>(static_cast<int32_t>(w[o * values + i]));
      sum = (bias ? static_cast<uint32_t>(bias[o]) : 0) - static_cast<uint32_t>(zero) * sum;
    }
    start[o] = static_cast<int32_t>(sum);
  }
}

void conv_integer(const IntegerPlan& p, const IntegerArgs& args, const ConvBox& box, std::byte* scratch) {
  for_blocks(p.block_rows, p.block_cols, box, [&](const Pixels& b) {
    if (p.shape.groups == 1) run_group(p, args, b, 0, box.c0, box.c1, scratch);
    else
      for (int64_t group = 0; group < p.shape.groups; group++) run_group(p, args, b, group, 0, p.shape.co, scratch);
  });
}

}  // namespace pando::kernels
