// A plain convolution in double, channels-last, and random data: what the convolution kernels' tests compare with.
#pragma once
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

namespace pando::test {

struct ConvCase {
  int64_t n = 1, h = 8, w = 8, ci = 8, co = 8, kh = 3, kw = 3, stride_y = 1, stride_x = 1, dilation_y = 1,
          dilation_x = 1, pad_y = 1, pad_x = 1, pad_y_end = 1, pad_x_end = 1;
  bool depthwise = false;  // group = ci, co a multiple of ci
  int64_t oh() const { return (h + pad_y + pad_y_end - dilation_y * (kh - 1) - 1) / stride_y + 1; }
  int64_t ow() const { return (w + pad_x + pad_x_end - dilation_x * (kw - 1) - 1) / stride_x + 1; }
  int64_t weights() const { return co * (depthwise ? 1 : ci) * kh * kw; }
};

inline std::vector<float> random_floats(size_t count, uint32_t seed) {
  std::mt19937 rng(seed);
  std::uniform_real_distribution<float> u(-1, 1);
  std::vector<float> v(count);
  for (float& f : v) f = u(rng);
  return v;
}

// Dense x [n, h, w, ci] and y [n, oh, ow, co]; w in ONNX order; scale per output channel may be empty.
inline std::vector<double> reference_conv(const ConvCase& p, const std::vector<float>& x, const std::vector<float>& w,
                                          const std::vector<float>& scale) {
  const int64_t oh = p.oh(), ow = p.ow(), per_filter = p.depthwise ? 1 : p.ci, multiplier = p.co / p.ci;
  std::vector<double> y(static_cast<size_t>(p.n * oh * ow * p.co));
  size_t out = 0;
  for (int64_t n = 0; n < p.n; n++)
    for (int64_t i = 0; i < oh; i++)
      for (int64_t j = 0; j < ow; j++)
        for (int64_t k = 0; k < p.co; k++, out++) {
          double sum = 0;
          for (int64_t a = 0; a < p.kh; a++)
            for (int64_t b = 0; b < p.kw; b++) {
              const int64_t row = i * p.stride_y + a * p.dilation_y - p.pad_y;
              const int64_t col = j * p.stride_x + b * p.dilation_x - p.pad_x;
              if (row < 0 || row >= p.h || col < 0 || col >= p.w) continue;
              for (int64_t c = 0; c < per_filter; c++) {
                const int64_t from = p.depthwise ? k / multiplier : c;
                sum += double{x[((n * p.h + row) * p.w + col) * p.ci + from]} *
                       double{w[((k * per_filter + c) * p.kh + a) * p.kw + b]};
              }
            }
          y[out] = sum * (scale.empty() ? 1.0 : double{scale[k]});
        }
  return y;
}

inline double max_abs(const std::vector<double>& v) {
  double m = 0;
  for (double d : v) m = std::max(m, std::abs(d));
  return m;
}

// All values within `relative` of the largest.
inline void expect_near(double relative, const std::vector<float>& got, const std::vector<double>& want) {
  ASSERT_EQ(got.size(), want.size());
  const double bound = relative * std::max(1.0, max_abs(want));
  for (size_t i = 0; i < got.size(); i++) ASSERT_NEAR(got[i], want[i], bound) << "at " << i;
}

inline const std::byte* bytes(const std::vector<float>& v) { return reinterpret_cast<const std::byte*>(v.data()); }

}  // namespace pando::test
