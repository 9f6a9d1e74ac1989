#include "kernels/reduce/softmax.hpp"

#include <cmath>

#include "kernels/simd.hpp"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/reduce/softmax.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/conv/lanes-inl.hpp"
#include "kernels/lanes16-inl.hpp"
#include "kernels/vector_math-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace pando::kernels {
namespace HWY_NAMESPACE {

namespace {

// Long sums are summed by blocks of this many elements (rows: of a column), and the blocks in double.
constexpr int64_t block_elements = 4096, block_rows = 128;

}  // namespace

void softmax_row(bool log, const float* x, float* y, int64_t n) {
  // A NaN may be lost here: it comes back through the sum.
  Lanes16 tops = Lanes16::all(-INFINITY);
  const auto larger = [](auto a, auto b) { return hn::Max(a, b); };
  for_blocks16(x, n, -INFINITY, [&](const Lanes16& v, int64_t) { tops = map16(tops, v, larger); });
  const D16 d;
  const V16 top = hn::Set(d, fold16(tops, larger));
  Lanes16 sums;
  const auto exponential = [&](const Lanes16& v, int64_t) {
    const Lanes16 e = map16(v, [&](V16 a) { return exp_nonpositive(d, hn::Sub(a, top)); });
    sums = map16(sums, e, AddOp());
    return e;
  };
  double total = 0;
  for (int64_t begin = 0; begin < n; begin += block_elements) {
    const int64_t count = std::min(block_elements, n - begin);
    sums = Lanes16::all(0);
    if (log) for_blocks16(x + begin, count, -INFINITY, exponential);
    else transform16(x + begin, y + begin, count, -INFINITY, exponential);
    total += static_cast<double>(fold16(sums, AddOp()));
  }
  const float sum = static_cast<float>(total);
  if (log) {
    const V16 shift = hn::Set(d, std::log(sum));
    transform16(x, y, n, 0, [&](const Lanes16& v, int64_t) {
      return map16(v, [&](V16 a) { return hn::Sub(hn::Sub(a, top), shift); });
    });
  } else {
    const V16 factor = hn::Set(d, 1 / sum);
    transform16(y, y, n, 0,
                [&](const Lanes16& v, int64_t) { return map16(v, [&](V16 a) { return hn::Mul(a, factor); }); });
  }
}

void softmax_columns(bool log, const float* x, int64_t x_step, float* y, int64_t y_step, int64_t n, int64_t cols) {
  for_channels(cols, [&](auto d, int64_t c) {
    using Wide = Doubles<decltype(d)>;
    auto top = hn::Set(d, -INFINITY), sum = hn::Zero(d);
    for (int64_t i = 0; i < n; i++) top = hn::Max(top, hn::LoadU(d, x + i * x_step + c));
    auto total = Wide::all(0);
    for (int64_t i = 0; i < n; i++) {
      const auto e = exp_nonpositive(d, hn::Sub(hn::LoadU(d, x + i * x_step + c), top));
      sum = hn::Add(sum, e);
      if (!log) hn::StoreU(e, d, y + i * y_step + c);
      if ((i + 1) % block_rows != 0) continue;
      total.combine(Wide::of(sum), AddOp());
      sum = hn::Zero(d);
    }
    if (n >= block_rows) {
      total.combine(Wide::of(sum), AddOp());
      HWY_ALIGN float rounded[HWY_MAX_BYTES / 4];
      store_rounded(d, total, rounded);
      sum = hn::LoadU(d, rounded);
    }
    const auto shift = vlog(d, sum), factor = hn::Div(hn::Set(d, 1.0f), sum);
    for (int64_t i = 0; i < n; i++) {
      const auto v = hn::LoadU(d, (log ? x + i * x_step : y + i * y_step) + c);
      hn::StoreU(log ? hn::Sub(hn::Sub(v, top), shift) : hn::Mul(v, factor), d, y + i * y_step + c);
    }
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace pando::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pando::kernels {

HWY_EXPORT(softmax_row);
HWY_EXPORT(softmax_columns);

void softmax_row(bool log, const float* x, float* y, int64_t n) { HWY_DYNAMIC_DISPATCH(softmax_row)(log, x, y, n); }
void softmax_columns(bool log, const float* x, int64_t x_step, float* y, int64_t y_step, int64_t n, int64_t cols) {
  HWY_DYNAMIC_DISPATCH(softmax_columns)(log, x, x_step, y, y_step, n, cols);
}

}  // namespace pando::kernels
#endif  // HWY_ONCE
