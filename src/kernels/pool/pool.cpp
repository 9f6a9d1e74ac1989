#include "kernels/pool/pool.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/simd.hpp"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/pool/pool.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/conv/lanes-inl.hpp"
#include "kernels/lanes16-inl.hpp"
#include "kernels/vector_math-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace pando::kernels {
namespace HWY_NAMESPACE {
namespace {

template <class F>
HWY_INLINE void for_each_tap(const PoolTaps& taps, F f) {
  for (int64_t a = 0; a < taps.extent[0]; a++)
    for (int64_t b = 0; b < taps.extent[1]; b++) {
      const int64_t at = a * taps.stride[0] + b * taps.stride[1];
      for (int64_t c = 0; c < taps.extent[2]; c++) f(at + c * taps.stride[2]);
    }
}

// Folds all taps of a channel; four vectors at a time, so that a cache line of a tap is used whole.
template <class Fold, class Finish>
HWY_INLINE void fold_channels(const float* x, const PoolTaps& taps, float first, int64_t channels, float* y, Fold fold,
                              Finish finish) {
  const hn::ScalableTag<float> d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t c = 0;
  for (; c + 4 * lanes <= channels; c += 4 * lanes) {
    auto v0 = hn::Set(d, first), v1 = v0, v2 = v0, v3 = v0;
    for_each_tap(taps, [&](int64_t at) {
      const float* p = x + at + c;
      v0 = fold(d, v0, hn::LoadU(d, p));
      v1 = fold(d, v1, hn::LoadU(d, p + lanes));
      v2 = fold(d, v2, hn::LoadU(d, p + 2 * lanes));
      v3 = fold(d, v3, hn::LoadU(d, p + 3 * lanes));
    });
    hn::StoreU(finish(d, v0), d, y + c);
    hn::StoreU(finish(d, v1), d, y + c + lanes);
    hn::StoreU(finish(d, v2), d, y + c + 2 * lanes);
    hn::StoreU(finish(d, v3), d, y + c + 3 * lanes);
  }
  for_channels(channels - c, [&](auto tag, int64_t i) {
    auto v = hn::Set(tag, first);
    for_each_tap(taps, [&](int64_t at) { v = fold(tag, v, hn::LoadU(tag, x + at + c + i)); });
    hn::StoreU(finish(tag, v), tag, y + c + i);
  });
}

// An average of many elements, summed in double: a rounding error per element would show.
constexpr int64_t many_taps = 128;
void wide_average(const float* x, const PoolTaps& taps, float divisor, int64_t channels, float* y) {
  for_channels(channels, [&](auto d, int64_t c) {
    using Wide = Doubles<decltype(d)>;
    auto sum = Wide::all(0);
    for_each_tap(taps, [&](int64_t at) { sum.combine(Wide::of(hn::LoadU(d, x + at + c)), AddOp()); });
    sum.combine(Wide::all(static_cast<double>(divisor)), [](auto a, auto b) { return hn::Div(a, b); });
    store_rounded(d, sum, y + c);
  });
}

// |x|^p and its inverse by libm: p other than 1 and 2 is rare.
void lp_pixel(const float* x, const PoolTaps& taps, int64_t p, int64_t channels, float* y) {
  const double power = static_cast<double>(p);
  for (int64_t c = 0; c < channels; c++) {
    double sum = 0;
    for_each_tap(taps, [&](int64_t at) { sum += std::pow(std::fabs(static_cast<double>(x[at + c])), power); });
    y[c] = static_cast<float>(std::pow(sum, 1 / power));
  }
}

}  // namespace

void pool_pixel(PoolOp op, const float* x, const PoolTaps& taps, float divisor, int64_t p, int64_t channels, float* y) {
  const auto same = [](auto, auto v) { return v; };
  if (op == PoolOp::max) {
    fold_channels(
        x, taps, -INFINITY, channels, y, [](auto, auto a, auto b) { return MaxOp()(a, b); }, same);
  } else if (op == PoolOp::average && taps.extent[0] * taps.extent[1] * taps.extent[2] > many_taps) {
    wide_average(x, taps, divisor, channels, y);
  } else if (op == PoolOp::average) {
    fold_channels(
        x, taps, 0, channels, y, [](auto, auto a, auto b) { return hn::Add(a, b); },
        [=](auto d, auto v) { return hn::Div(v, hn::Set(d, divisor)); });
  } else if (p == 1) {
    fold_channels(
        x, taps, 0, channels, y, [](auto, auto a, auto b) { return hn::Add(a, hn::Abs(b)); }, same);
  } else if (p == 2) {
    fold_channels(
        x, taps, 0, channels, y, [](auto, auto a, auto b) { return hn::MulAdd(b, b, a); },
        [](auto, auto v) { return hn::Sqrt(v); });
  } else {
    lp_pixel(x, taps, p, channels, y);
  }
}

template <class T>
void max_of_bytes(const T* x, const PoolTaps& taps, int64_t channels, T* y) {
  const hn::ScalableTag<T> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const T least = std::numeric_limits<T>::lowest();
  if (channels < lanes) {
    for (int64_t c = 0; c < channels; c++) {
      T top = least;
      for_each_tap(taps, [&](int64_t at) { top = std::max(top, x[at + c]); });
      y[c] = top;
    }
    return;
  }
  for (int64_t c = 0; c < channels; c += lanes) {
    const int64_t from = std::min(c, channels - lanes);  // the last vector covers some channels again
    auto top = hn::Set(d, least);
    for_each_tap(taps, [&](int64_t at) HWY_ATTR { top = hn::Max(top, hn::LoadU(d, x + at + from)); });
    hn::StoreU(top, d, y + from);
  }
}

void max_pool_pixel(bool is_signed, const std::byte* x, const PoolTaps& taps, int64_t channels, std::byte* y) {
  if (is_signed) max_of_bytes(reinterpret_cast<const int8_t*>(x), taps, channels, reinterpret_cast<int8_t*>(y));
  else max_of_bytes(reinterpret_cast<const uint8_t*>(x), taps, channels, reinterpret_cast<uint8_t*>(y));
}

}  // namespace HWY_NAMESPACE
}  // namespace pando::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pando::kernels {

HWY_EXPORT(pool_pixel);
HWY_EXPORT(max_pool_pixel);

void max_pool_pixel(bool is_signed, const std::byte* x, const PoolTaps& taps, int64_t channels, std::byte* y) {
  HWY_DYNAMIC_DISPATCH(max_pool_pixel)(is_signed, x, taps, channels, y);
}

void pool_pixel(PoolOp op, const float* x, const PoolTaps& taps, float divisor, int64_t p, int64_t channels, float* y) {
  HWY_DYNAMIC_DISPATCH(pool_pixel)(op, x, taps, divisor, p, channels, y);
}

}  // namespace pando::kernels
#endif  // HWY_ONCE
