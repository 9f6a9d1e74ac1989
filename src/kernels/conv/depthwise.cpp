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

// What an output row of a tile works on; blocks of R rows work on this one and the R - 1 below it.
struct Row {
  const DepthwiseShape& s;
  const EpilogueArgs& e;
  const float* x;  // of the image
  const float* w;
  float* y;               // output (row, column 0)
  const float* residual;  // likewise, or null
  int64_t residual_y, residual_x;
  int64_t first;     // input row of tap row 0, maybe on padding
  int64_t ky0, ky1;  // rows of taps inside the image; of all R rows there are (R - 1) * stride + kh

  const float* input(int64_t ky, int64_t column) const {
    return x + (first + ky * s.dilation_y) * s.x_y + column * s.x_x;
  }
};

// N vectors of channels of one output pixel, taps kx0 .. kx1 - 1 of each row: N chains of fma run at a time.
template <int N, class D>
HWY_INLINE void pixel_vectors(D d, const Row& row, int64_t column, int64_t kx0, int64_t kx1, int64_t ci, int64_t c) {
  using V = hn::Vec<D>;
  const DepthwiseShape& s = row.s;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d)), step = s.dilation_x * s.x_x;
  const int64_t left = column * s.stride_x - s.pad_x + kx0 * s.dilation_x;
  V sum[N];
#pragma GCC unroll 4
  for (int v = 0; v < N; v++) sum[v] = row.e.bias ? hn::LoadU(d, row.e.bias + c + v * lanes) : hn::Zero(d);
  for (int64_t ky = row.ky0; ky < row.ky1; ky++) {
    const float* in = row.input(ky, left) + ci;
    const float* w = row.w + (ky * s.kw + kx0) * s.co + c;
    for (int64_t kx = kx0; kx < kx1; kx++, in += step, w += s.co)
#pragma GCC unroll 4
      for (int v = 0; v < N; v++)
        sum[v] = hn::MulAdd(hn::LoadU(d, in + v * lanes), hn::LoadU(d, w + v * lanes), sum[v]);
  }
  const float* r = row.residual ? row.residual + column * row.residual_x + c : nullptr;
#pragma GCC unroll 4
  for (int v = 0; v < N; v++)
    hn::StoreU(finish(d, row.e, r ? r + v * lanes : nullptr, sum[v]), d, row.y + column * s.y_x + c + v * lanes);
}

// One output pixel, taps kx0 .. kx1 - 1 of each row, channels c0 .. c1 - 1 in vectors that need not be whole.
void one_pixel(const Row& row, int64_t column, int64_t kx0, int64_t kx1, int64_t c0, int64_t c1) {
  const DepthwiseShape& s = row.s;
  if (s.co == s.ci) {
    const hn::ScalableTag<float> d;
    const int64_t four = 4 * static_cast<int64_t>(hn::Lanes(d));
    for (; c0 + four <= c1; c0 += four) pixel_vectors<4>(d, row, column, kx0, kx1, c0, c0);
    for_channels(c1 - c0,
                 [&](auto tag, int64_t c) HWY_ATTR { pixel_vectors<1>(tag, row, column, kx0, kx1, c0 + c, c0 + c); });
  } else {
    const int64_t multiplier = s.co / s.ci;
    for (int64_t c = c0; c < c1; c++)
      pixel_vectors<1>(hn::CappedTag<float, 1>(), row, column, kx0, kx1, c / multiplier, c);
  }
}

// A block of R x P pixels whose columns of taps are all inside the image, for whole vectors of channels. The kernel's
// width K and its stride S are known (dilation 1), for R > 1 in both directions: an input is loaded once for all pixels
// of a row that share it.
template <int K, int S, int R, int P>
void pixel_block(const Row& row, int64_t column, int64_t c0, int64_t c1) {
  constexpr int columns = (P - 1) * S + K, rows = (R - 1) * S + K;
  const DepthwiseShape& s = row.s;
  const EpilogueArgs& e = row.e;
  const hn::ScalableTag<float> d;
  using V = hn::Vec<decltype(d)>;
  const int64_t co = s.co, step = s.x_x, pitch = s.dilation_y * s.x_y, ky0 = row.ky0, ky1 = row.ky1;
  const int64_t y_step = s.y_x, y_pitch = s.y_y, residual_step = row.residual_x, residual_pitch = row.residual_y;
  const int64_t top = (column * S - s.pad_x) * step + row.first * s.x_y;
  const float *x = row.x, *weights = row.w, *bias = e.bias;
  float* const y = row.y + column * y_step;
  const float* residual = row.residual ? row.residual + column * residual_step : nullptr;
  for (int64_t c = c0; c < c1; c += static_cast<int64_t>(hn::Lanes(d))) {
    V sum[R * P];
#pragma GCC unroll 8
    for (int p = 0; p < R * P; p++) sum[p] = bias ? hn::LoadU(d, bias + c) : hn::Zero(d);
    // Row r of the block's inputs is tap row r of the first row of outputs and r - S of the second.
    const auto add_row = [&](int64_t r) HWY_ATTR {
      const float* in = x + (top + r * pitch + c);
      const float* w = weights + r * K * co + c;
      // Else the compiler keeps all addresses of all rows, for the loop over channels, in more memory than registers.
      asm("" : "+r"(in), "+r"(w));
#pragma GCC unroll 2
      for (int q = 0; q < R; q++) {
        if (R > 1 && (r < q * S || r >= q * S + K)) continue;
        V weight[K];
#pragma GCC unroll 8
        for (int kx = 0; kx < K; kx++) weight[kx] = hn::LoadU(d, w + (kx - q * S * K) * co);
#pragma GCC unroll 32
        for (int j = 0; j < columns; j++) {
          const V pixel = hn::LoadU(d, in + j * step);
#pragma GCC unroll 8
          for (int p = 0; p < P; p++)
            if (j >= p * S && j - p * S < K) sum[q * P + p] = hn::MulAdd(pixel, weight[j - p * S], sum[q * P + p]);
        }
      }
    };
    if constexpr (R == 1) {
      for (int64_t r = ky0; r < ky1; r++) add_row(r);
    } else {
#pragma GCC unroll 16
      for (int r = 0; r < rows; r++)
        if (r >= ky0 && r < ky1) add_row(r);
    }
#pragma GCC unroll 2
    for (int q = 0; q < R; q++)
#pragma GCC unroll 2
      for (int p = 0; p < P; p += 4) {
        const V* v = sum + q * P + p;
        finish_4(d, e, residual ? residual + q * residual_pitch + p * residual_step + c : nullptr, residual_step, v[0],
                 v[1], v[2], v[3], y + q * y_pitch + p * y_step + c, y_step);
      }
  }
}

// The same for P pixels of one row and any kernel of at most max_block_taps.
template <int P>
void pixel_block_any(const Row& row, int64_t column, int64_t c0, int64_t c1) {
  const DepthwiseShape& s = row.s;
  const hn::ScalableTag<float> d;
  using V = hn::Vec<decltype(d)>;
  const float* input[max_block_taps * P];
  const int64_t left = column * s.stride_x - s.pad_x;
  int n = 0;
  for (int64_t ky = row.ky0; ky < row.ky1; ky++)
    for (int64_t kx = 0; kx < s.kw; kx++)
      for (int p = 0; p < P; p++) input[n++] = row.input(ky, left + p * s.stride_x + kx * s.dilation_x);
  const float *bias = row.e.bias, *weights = row.w + row.ky0 * s.kw * s.co;
  float* y = row.y + column * s.y_x;
  const float* residual = row.residual ? row.residual + column * row.residual_x : nullptr;
  const int64_t y_step = s.y_x, residual_step = row.residual_x;
  const int64_t co = s.co, taps = (row.ky1 - row.ky0) * s.kw;
  for (int64_t c = c0; c < c1; c += static_cast<int64_t>(hn::Lanes(d))) {
    V sum[P];
#pragma GCC unroll 8
    for (int p = 0; p < P; p++) sum[p] = bias ? hn::LoadU(d, bias + c) : hn::Zero(d);
    const float* w = weights + c;
    const float* const* in = input;
    for (int64_t t = 0; t < taps; t++, in += P, w += co) {
      const V weight = hn::LoadU(d, w);
#pragma GCC unroll 8
      for (int p = 0; p < P; p++) sum[p] = hn::MulAdd(hn::LoadU(d, in[p] + c), weight, sum[p]);
    }
#pragma GCC unroll 2
    for (int p = 0; p < P; p += 4)
      finish_4(d, row.e, residual ? residual + p * residual_step + c : nullptr, residual_step, sum[p], sum[p + 1],
               sum[p + 2], sum[p + 3], y + p * y_step + c, y_step);
  }
}

// The block functions of a convolution: 2 x 4, 1 x 8 and 1 x 4 pixels; null where blocks do not fit, or where 2 x 4 are
// slower (5x5). 8 are as many chains of fma as keep two units of 4 cycles' latency busy; those of two rows take fewer
// lines of the input, and less of a row is left over.
using PixelBlock = void (*)(const Row&, int64_t, int64_t, int64_t);
struct Blocks {
  PixelBlock two_by_4, by_8, by_4;
};

template <int K, int S>
Blocks blocks_of(const DepthwiseShape& s) {
  Blocks blocks{nullptr, pixel_block<K, S, 1, 8>, pixel_block<K, S, 1, 4>};
  if constexpr (K != 5) {
    if (s.kh == K && s.stride_y == S && s.dilation_y == 1) blocks.two_by_4 = pixel_block<K, S, 2, 4>;
  }
  return blocks;
}

Blocks choose_blocks(const DepthwiseShape& s) {
  if (s.dilation_x == 1) {
    if (s.kw == 3 && s.stride_x == 1) return blocks_of<3, 1>(s);
    if (s.kw == 3 && s.stride_x == 2) return blocks_of<3, 2>(s);
    if (s.kw == 5 && s.stride_x == 1) return blocks_of<5, 1>(s);
    if (s.kw == 5 && s.stride_x == 2) return blocks_of<5, 2>(s);
    if (s.kw == 7 && s.stride_x == 1) return blocks_of<7, 1>(s);
  }
  if (s.kh * s.kw <= max_block_taps) return {nullptr, pixel_block_any<8>, pixel_block_any<4>};
  return {nullptr, nullptr, nullptr};
}

struct Range {
  int64_t begin, end;
};

// Taps t for which 0 <= first + t * dilation < extent.
Range taps_inside(int64_t first, int64_t dilation, int64_t kernel, int64_t extent) {
  const int64_t begin = first < 0 ? (-first + dilation - 1) / dilation : 0;
  const int64_t end = first < extent ? (extent - 1 - first) / dilation + 1 : 0;
  return {std::min(begin, kernel), std::max(std::min(begin, kernel), std::min(end, kernel))};
}

// Pixels x0 .. x1 - 1 of one row, each on its own.
void compute_pixels(const Row& row, int64_t x0, int64_t x1, int64_t c0, int64_t c1) {
  const DepthwiseShape& s = row.s;
  for (int64_t column = x0; column < x1 && c0 < c1; column++) {
    const Range t = taps_inside(column * s.stride_x - s.pad_x, s.dilation_x, s.kw, s.w);
    one_pixel(row, column, t.begin, t.end, c0, c1);
  }
}

// Covers pixels x0 .. x1 - 1, all with their taps inside the image, with blocks of 8 and 4 pixels for whole vectors of
// channels. The last may compute pixels again that another has computed, unless these might be its residual. Returns
// the first pixel that is left.
int64_t cover(const Row& row, PixelBlock by_8, PixelBlock by_4, int64_t x0, int64_t x1, int64_t c0, int64_t c1) {
  int64_t x = x0;
  if (c0 == c1 || by_4 == nullptr) return x;
  for (; by_8 != nullptr && x + 8 <= x1; x += 8) by_8(row, x, c0, c1);
  for (; x + 4 <= x1; x += 4) by_4(row, x, c0, c1);
  if (x == x1 || x1 - x0 < 4 || row.residual != nullptr) return x;
  by_4(row, x1 - 4, c0, c1);
  return x1;
}

// Columns of outputs whose taps are all inside the image.
Range inner_columns(const DepthwiseShape& s, int64_t x0, int64_t x1) {
  const int64_t last = s.w - 1 - (s.kw - 1) * s.dilation_x + s.pad_x;  // of the left-most tap
  const int64_t lo = std::clamp((s.pad_x + s.stride_x - 1) / s.stride_x, x0, x1);
  return {lo, std::clamp(last < 0 ? 0 : last / s.stride_x + 1, lo, x1)};
}

void tile(const DepthwiseShape& s, const DepthwiseBox& box, const float* x, const float* weights, float* y,
          const EpilogueArgs& epilogue) {
  const Blocks blocks = choose_blocks(s);
  const EpilogueOperand* residual = epilogue.residual();
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(hn::ScalableTag<float>()));
  const int64_t whole = s.co == s.ci ? box.c0 + (box.c1 - box.c0) / lanes * lanes : box.c0;
  const Range inner = inner_columns(s, box.x0, box.x1);
  const auto row_at = [&](int64_t n, int64_t i, int64_t kernel) {
    const int64_t first = i * s.stride_y - s.pad_y;
    const Range taps = taps_inside(first, s.dilation_y, kernel, s.h);
    const float* r = residual ? residual->data + n * residual->stride[0] + i * residual->stride[1] : nullptr;
    return Row{s,
               epilogue,
               x + n * s.x_n,
               weights,
               y + n * s.y_n + i * s.y_y,
               r,
               residual ? residual->stride[1] : 0,
               residual ? residual->stride[2] : 0,
               first,
               taps.begin,
               taps.end};
  };
  for (int64_t n = box.n0; n < box.n1; n++)
    for (int64_t i = box.y0; i < box.y1;) {
      const int64_t rows = blocks.two_by_4 != nullptr && i + 2 <= box.y1 ? 2 : 1;
      int64_t left = rows == 2 ? cover(row_at(n, i, s.stride_y + s.kh), nullptr, blocks.two_by_4, inner.begin,
                                       inner.end, box.c0, whole)
                               : inner.begin;
      for (const int64_t end = i + rows; i < end; i++) {
        const Row row = row_at(n, i, s.kh);
        if (rows == 1) left = cover(row, blocks.by_8, blocks.by_4, inner.begin, inner.end, box.c0, whole);
        compute_pixels(row, box.x0, inner.begin, box.c0, box.c1);
        compute_pixels(row, inner.begin, left, whole, box.c1);
        compute_pixels(row, left, box.x1, box.c0, box.c1);
        if (epilogue.code == nullptr) continue;
        const int64_t at[] = {n, i, box.x0, box.c0};
        run_epilogue_code(epilogue, 4, 2, at, box.x1 - box.x0, box.c1 - box.c0, row.y + box.x0 * s.y_x + box.c0, s.y_x);
      }
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
