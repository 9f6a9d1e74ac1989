#include "kernels/norm/norm.hpp"

#include <algorithm>
#include <cmath>

#include "kernels/simd.hpp"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/norm/norm.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/lanes16-inl.hpp"
#include "kernels/vector_math-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace pando::kernels {
namespace HWY_NAMESPACE {

void norm_row(const NormRow& norm, const float* x, const float* scale, const float* bias, float* y) {
  const D16 d;
  const int64_t n = norm.n;
  const double count = static_cast<double>(n);
  const auto sum_of = [](const Doubles16& parts) { return parts.fold([](double a, double b) { return a + b; }); };
  double mean = 0;
  if (!norm.rms) {
    Doubles16 sums = Doubles16::all(0);
    for_blocks16(x, n, 0, [&](const Lanes16& v, int64_t) { sums.combine(v, AddOp()); });
    mean = sum_of(sums) / count;
  }
  // Differences are taken from the mean's nearest float, exactly where they are small; `rest` makes up for its
  // rounding, which is large against the spread of a row far from zero.
  const float near_mean = static_cast<float>(mean);
  const double rest = mean - static_cast<double>(near_mean);
  const V16 shift = hn::Set(d, near_mean);
  Doubles16 squares = Doubles16::all(0);
  for_blocks16(x, n, near_mean, [&](const Lanes16& v, int64_t) {
    squares.add_square(map16(v, [&](V16 a) { return hn::Sub(a, shift); }));
  });
  const double variance = std::max(sum_of(squares) / count - rest * rest, 0.0);  // NaN stays
  const double inverse = 1 / std::sqrt(variance + static_cast<double>(norm.epsilon));
  const V16 factor = hn::Set(d, static_cast<float>(inverse));
  const V16 correction = hn::Set(d, rest == 0 ? -0.0f : static_cast<float>(-rest * inverse));  // -0 changes nothing
  const auto load = [&](const float* p, int64_t i, float pad) {
    return p == nullptr  ? Lanes16::all(pad)
           : i + 16 <= n ? Lanes16::load(p + i)
                         : Lanes16::load_some(p + i, n - i, pad);
  };
  transform16(x, y, n, 0, [&](const Lanes16& v, int64_t i) {
    const Lanes16 s = load(scale, i, 1), b = load(bias, i, 0);
    Lanes16 r;
    each16([&](auto k) {
      const V16 normal = hn::MulAdd(hn::Sub(v.v[k], shift), factor, correction);
      r.v[k] = hn::MulAdd(normal, s.v[k], b.v[k]);
    });
    return r;
  });
}

namespace {

// base^-beta for positive bases; 3/4 and 1/2, the usual ones, by square roots.
HWY_INLINE V16 negative_power(V16 base, float beta) {
  const D16 d;
  const V16 one = hn::Set(d, 1.0f);
  if (beta == 0.5f) return hn::Div(one, hn::Sqrt(base));
  if (beta == 0.75f) {
    const V16 root = hn::Sqrt(base);
    return hn::Div(one, hn::Mul(root, hn::Sqrt(root)));
  }
  if (beta == 1.0f) return hn::Div(one, base);
  return vexp(d, hn::Mul(vlog(d, base), hn::Set(d, -beta)));
}

}  // namespace

void lrn_row(const LrnRow& lrn, const float* x, float* y, float* squares) {
  const D16 d;
  const int64_t before = (lrn.size - 1) / 2, n = lrn.n;
  // Squares with zeros on both sides, so that every window is whole.
  std::fill_n(squares, before, 0.0f);
  std::fill_n(squares + before + n, lrn.size - before + 16, 0.0f);
  transform16(x, squares + before, n, 0,
              [](const Lanes16& v, int64_t) { return map16(v, [](V16 a) { return hn::Mul(a, a); }); });
  const V16 bias = hn::Set(d, lrn.bias), alpha = hn::Set(d, lrn.alpha / static_cast<float>(lrn.size));
  transform16(x, y, n, 0, [&](const Lanes16& v, int64_t i) {
    Lanes16 sum = Lanes16::load(squares + i);
    for (int64_t k = 1; k < lrn.size; k++) sum = map16(sum, Lanes16::load(squares + i + k), AddOp());
    return map16(v, sum,
                 [&](V16 a, V16 s) { return hn::Mul(a, negative_power(hn::MulAdd(alpha, s, bias), lrn.beta)); });
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace pando::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pando::kernels {

HWY_EXPORT(norm_row);
HWY_EXPORT(lrn_row);

void norm_row(const NormRow& norm, const float* x, const float* scale, const float* bias, float* y) {
  HWY_DYNAMIC_DISPATCH(norm_row)(norm, x, scale, bias, y);
}
void lrn_row(const LrnRow& lrn, const float* x, float* y, float* squares) {
  HWY_DYNAMIC_DISPATCH(lrn_row)(lrn, x, y, squares);
}

}  // namespace pando::kernels
#endif  // HWY_ONCE
