#include "kernels/conv/depthwise.hpp"

#include <algorithm>
#include <cstring>

#include "kernels/simd.hpp"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/conv/depthwise.cpp"
#include <hwy/foreach_target.h>
//
#include <hwy/highway.h>

#include "kernels/conv/epilogue-inl.hpp"
#include "kernels/conv/lanes-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace pando::kernels::HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

constexpr int max_block_taps = 128;  // kernels with more taps go pixel by pixel

// What a tile's row works on.
struct Row {
  const DepthwiseShape& s;
  const EpilogueArgs& e;
  const float* x;  // of the image
  const float* w;
  float* y;               // output (row, column 0)
  const float* residual;  // likewise, or null
  int64_t residual_x;
  int64_t first;     // input row of tap row 0, maybe on padding
  int64_t ky0, ky1;  // rows of taps inside the image
  int64_t c0, c1;    // output channels

  const float* input(int64_t ky, int64_t column) const {
    return x + (first + ky * s.dilation_y) * s.x_y + column * s.x_x;
  }
  template <class D>
  HWY_INLINE hn::Vec<D> start(D d, int64_t c) const {
    return e.bias ? hn::LoadU(d, e.bias + c) : hn::Zero(d);
  }
  template <class D>
  HWY_INLINE void store(D d, int64_t column, int64_t c, hn::Vec<D> v) const {
    const float* r = residual ? residual + column * residual_x + c : nullptr;
    hn::StoreU(finish(d, e, r, v), d, y + column * s.y_x + c);
  }
};

// One output pixel, taps kx0 .. kx1 - 1 of each row, channels c0 .. c1 - 1 in vectors that need not be whole.
void one_pixel(const Row& row, int64_t column, int64_t kx0, int64_t kx1, int64_t c0, int64_t c1) {
  const DepthwiseShape& s = row.s;
  const int64_t left = column * s.stride_x - s.pad_x + kx0 * s.dilation_x, step = s.dilation_x * s.x_x;
  const auto channels = [&](auto d, int64_t ci, int64_t c) HWY_ATTR {
    auto sum = row.start(d, c);
    for (int64_t ky = row.ky0; ky < row.ky1; ky++) {
      const float* in = row.input(ky, left) + ci;
      const float* w = row.w + (ky * s.kw + kx0) * s.co + c;
      for (int64_t kx = kx0; kx < kx1; kx++, in += step, w += s.co)
        sum = hn::MulAdd(hn::LoadU(d, in), hn::LoadU(d, w), sum);
    }
    row.store(d, column, c, sum);
  };
  if (s.co == s.ci) {
    for_channels(c1 - c0, [&](auto d, int64_t c) HWY_ATTR { channels(d, c0 + c, c0 + c); });
  } else {
    const int64_t multiplier = s.co / s.ci;
    for (int64_t c = c0; c < c1; c++) channels(hn::CappedTag<float, 1>(), c / multiplier, c);
  }
}

// A block of P pixels whose columns of taps are all inside the image, for whole vectors of channels. With KW > 0 the
// kernel's width and its stride S are known (dilation 1): each input is loaded once for all pixels that share it.
template <int KW, int S, int P>
void pixel_block(const Row& row, int64_t column, int64_t c0, int64_t c1) {
  constexpr int columns = (P - 1) * S + KW;
  const DepthwiseShape& s = row.s;
  const hn::ScalableTag<float> d;
  using V = hn::Vec<decltype(d)>;
  const float* input[KW > 0 ? KW * columns : max_block_taps * P];
  const int64_t left = column * s.stride_x - s.pad_x;
  int n = 0;
  for (int64_t ky = row.ky0; ky < row.ky1; ky++) {
    if constexpr (KW > 0) {
      for (int j = 0; j < columns; j++) input[n++] = row.input(ky, left + j);
    } else {
      for (int64_t kx = 0; kx < s.kw; kx++)
        for (int p = 0; p < P; p++) input[n++] = row.input(ky, left + p * s.stride_x + kx * s.dilation_x);
    }
  }
  const EpilogueArgs& e = row.e;
  const float *bias = e.bias, *weights = row.w + row.ky0 * s.kw * s.co;
  float* y = row.y + column * s.y_x;
  const float* residual = row.residual ? row.residual + column * row.residual_x : nullptr;
  const int64_t y_step = s.y_x, residual_step = row.residual_x;
  const int64_t co = s.co, ky_count = row.ky1 - row.ky0, taps = ky_count * s.kw;
  for (int64_t c = c0; c < c1; c += static_cast<int64_t>(hn::Lanes(d))) {
    V sum[P];
#pragma GCC unroll 8
    for (int p = 0; p < P; p++) sum[p] = bias ? hn::LoadU(d, bias + c) : hn::Zero(d);
    const float* w = weights + c;
    const float* const* in = input;
    if constexpr (KW > 0) {
      for (int64_t ky = 0; ky < ky_count; ky++, in += columns, w += KW * co) {
        V weight[KW];
#pragma GCC unroll 8
        for (int kx = 0; kx < KW; kx++) weight[kx] = hn::LoadU(d, w + kx * co);
#pragma GCC unroll 32
        for (int j = 0; j < columns; j++) {
          const V pixel = hn::LoadU(d, in[j] + c);
#pragma GCC unroll 8
          for (int p = 0; p < P; p++)
            if (j >= p * S && j - p * S < KW) sum[p] = hn::MulAdd(pixel, weight[j - p * S], sum[p]);
        }
      }
    } else {
      for (int64_t t = 0; t < taps; t++, in += P, w += co) {
        const V weight = hn::LoadU(d, w);
#pragma GCC unroll 8
        for (int p = 0; p < P; p++) sum[p] = hn::MulAdd(hn::LoadU(d, in[p] + c), weight, sum[p]);
      }
    }
#pragma GCC unroll 2
    for (int p = 0; p < P; p += 4)
      finish_4(d, e, residual ? residual + p * residual_step + c : nullptr, residual_step, sum[p], sum[p + 1],
               sum[p + 2], sum[p + 3], y + p * y_step + c, y_step);
  }
}

// The block functions of a convolution, for 8 and 4 pixels; null when blocks do not fit. 8 are as many chains of fma as
// keep two units of 4 cycles' latency busy.
using PixelBlock = void (*)(const Row&, int64_t, int64_t, int64_t);
struct Blocks {
  PixelBlock by_8, by_4;
};
template <int KW, int S>
constexpr Blocks blocks_of = {pixel_block<KW, S, 8>, pixel_block<KW, S, 4>};

Blocks choose_blocks(const DepthwiseShape& s) {
  if (s.dilation_x == 1 && s.kh <= s.kw) {
    if (s.kw == 3 && s.stride_x == 1) return blocks_of<3, 1>;
    if (s.kw == 3 && s.stride_x == 2) return blocks_of<3, 2>;
    if (s.kw == 5 && s.stride_x == 1) return blocks_of<5, 1>;
    if (s.kw == 5 && s.stride_x == 2) return blocks_of<5, 2>;
    if (s.kw == 7 && s.stride_x == 1) return blocks_of<7, 1>;
  }
  if (s.kh * s.kw <= max_block_taps) return blocks_of<0, 0>;
  return {nullptr, nullptr};
}

// Taps t for which 0 <= first + t * dilation < extent.
struct Taps {
  int64_t begin, end;
};
Taps taps_inside(int64_t first, int64_t dilation, int64_t kernel, int64_t extent) {
  const int64_t begin = first < 0 ? (-first + dilation - 1) / dilation : 0;
  const int64_t end = first < extent ? (extent - 1 - first) / dilation + 1 : 0;
  return {std::min(begin, kernel), std::max(std::min(begin, kernel), std::min(end, kernel))};
}

void compute_row(const Row& row, const Blocks& blocks, int64_t x0, int64_t x1) {
  const DepthwiseShape& s = row.s;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(hn::ScalableTag<float>()));
  const int64_t whole = s.co == s.ci ? row.c0 + (row.c1 - row.c0) / lanes * lanes : row.c0;
  auto taps = [&](int64_t column) { return taps_inside(column * s.stride_x - s.pad_x, s.dilation_x, s.kw, s.w); };
  auto inside = [&](int64_t column) {
    const Taps t = taps(column);
    return t.begin == 0 && t.end == s.kw;
  };
  for (int64_t column = x0; column < x1;) {
    int64_t pixels = 8;
    while (pixels > 1 && !(column + pixels <= x1 && inside(column) && inside(column + pixels - 1))) pixels /= 2;
    const PixelBlock block = pixels == 8 ? blocks.by_8 : pixels == 4 ? blocks.by_4 : nullptr;
    if (block != nullptr) {
      block(row, column, row.c0, whole);
      for (int64_t p = 0; p < pixels && whole < row.c1; p++) one_pixel(row, column + p, 0, s.kw, whole, row.c1);
      column += pixels;
    } else {
      const Taps t = taps(column);
      one_pixel(row, column, t.begin, t.end, row.c0, row.c1);
      column++;
    }
  }
}

void tile(const DepthwiseShape& s, const DepthwiseBox& box, const float* x, const float* weights, float* y,
          const EpilogueArgs& epilogue) {
  const Blocks blocks = choose_blocks(s);
  const EpilogueOperand* residual = epilogue.residual();
  for (int64_t n = box.n0; n < box.n1; n++)
    for (int64_t i = box.y0; i < box.y1; i++) {
      const int64_t first = i * s.stride_y - s.pad_y;
      const Taps rows = taps_inside(first, s.dilation_y, s.kh, s.h);
      float* out = y + n * s.y_n + i * s.y_y;
      const float* r = residual ? residual->data + n * residual->stride[0] + i * residual->stride[1] : nullptr;
      const Row row{s,     epilogue,   x + n * s.x_n, weights, out,   r, residual ? residual->stride[2] : 0,
                    first, rows.begin, rows.end,      box.c0,  box.c1};
      compute_row(row, blocks, box.x0, box.x1);
      if (epilogue.code == nullptr) continue;
      const int64_t at[] = {n, i, box.x0, box.c0};
      run_epilogue_code(epilogue, 4, 2, at, box.x1 - box.x0, box.c1 - box.c0, out + box.x0 * s.y_x + box.c0, s.y_x);
    }
}

}  // namespace
}  // namespace pando::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pando::kernels {

HWY_EXPORT(tile);

void depthwise_tile(const DepthwiseShape& shape, const DepthwiseBox& box, const float* x, const float* weights,
                    float* y, const EpilogueArgs& epilogue) {
  HWY_DYNAMIC_DISPATCH(tile)(shape, box, x, weights, y, epilogue);
}

void pack_depthwise_weights(const std::byte* w, const std::byte* scale, int64_t co, int64_t taps, float* packed) {
  auto load = [](const std::byte* base, int64_t i) {
    float v;
    std::memcpy(&v, base + i * static_cast<int64_t>(sizeof v), sizeof v);
    return v;
  };
  for (int64_t t = 0; t < taps; t++)
    for (int64_t c = 0; c < co; c++) packed[t * co + c] = load(w, c * taps + t) * (scale ? load(scale, c) : 1.0f);
}

}  // namespace pando::kernels
#endif
