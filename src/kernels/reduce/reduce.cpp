#include "kernels/reduce/reduce.hpp"

#include <cmath>

#include "kernels/simd.hpp"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/reduce/reduce.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/conv/lanes-inl.hpp"
#include "kernels/lanes16-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace pando::kernels {
namespace HWY_NAMESPACE {
namespace {

// Calls f(offset) for every index of the reduced dimensions, in order.
template <class F>
HWY_INLINE void for_each_offset(const ReducedDims& dims, F f) {
  int64_t index[max_rank] = {}, at = 0;
  while (true) {
    f(at);
    int d = dims.rank - 1;
    for (; d >= 0; d--) {
      at += dims.stride[d];
      if (++index[d] < dims.extent[d]) break;
      at -= dims.stride[d] * dims.extent[d];
      index[d] = 0;
    }
    if (d < 0) return;
  }
}

// Maximum and minimum: exact in float.
template <class Op>
float contiguous(const float* x, const ReducedDims& outer, int64_t n, float identity, Op op) {
  Lanes16 total = Lanes16::all(identity);
  for_each_offset(outer, [&](int64_t at) {
    for_blocks16(x + at, n, identity, [&](const Lanes16& v, int64_t) { total = map16(total, v, op); });
  });
  return fold16(total, op);
}

template <class Op>
void columns(const float* x, const ReducedDims& outer, int64_t cols, float* out, float identity, Op op) {
  for_channels(cols, [&](auto d, int64_t c) {
    auto total = hn::Set(d, identity);
    for_each_offset(outer, [&](int64_t at) { total = op(total, hn::LoadU(d, x + at + c)); });
    hn::StoreU(total, d, out + c);
  });
}

// Sums and products: in double, rounded once, after the division of a mean.
template <class Op, class F>
double contiguous_wide(const float* x, const ReducedDims& outer, int64_t n, float identity, Op op, F combine) {
  Doubles16 total = Doubles16::all(static_cast<double>(identity));
  for_each_offset(outer, [&](int64_t at) {
    for_blocks16(x + at, n, identity, [&](const Lanes16& v, int64_t) { total.combine(v, op); });
  });
  return total.fold(combine);
}

template <class Op>
void columns_wide(const float* x, const ReducedDims& outer, int64_t cols, float* out, double identity, double divisor,
                  Op op) {
  for_channels(cols, [&](auto d, int64_t c) {
    using D = decltype(d);
    auto total = Doubles<D>::all(identity);
    for_each_offset(outer, [&](int64_t at) { total.combine(Doubles<D>::of(hn::LoadU(d, x + at + c)), op); });
    if (divisor != 1) total.combine(Doubles<D>::all(divisor), [](auto a, auto b) { return hn::Div(a, b); });
    store_rounded(d, total, out + c);
  });
}

// A sum starts with -0, which changes no number: so a sum of one element is that element, also where it is -0.
constexpr float no_sum = -0.0f;

}  // namespace

float reduce_contiguous(Reduction kind, const float* x, const ReducedDims& outer, int64_t n) {
  switch (kind) {
    case Reduction::max: return contiguous(x, outer, n, -INFINITY, MaxOp());
    case Reduction::min: return contiguous(x, outer, n, INFINITY, MinOp());
    case Reduction::prod:
      return static_cast<float>(contiguous_wide(x, outer, n, 1, MulOp(), [](double a, double b) { return a * b; }));
    default: break;
  }
  const double sum = contiguous_wide(x, outer, n, no_sum, AddOp(), [](double a, double b) { return a + b; });
  return static_cast<float>(kind == Reduction::mean ? sum / static_cast<double>(n * outer.count()) : sum);
}

void reduce_columns(Reduction kind, const float* x, const ReducedDims& outer, int64_t cols, float* out) {
  switch (kind) {
    case Reduction::max: return columns(x, outer, cols, out, -INFINITY, MaxOp());
    case Reduction::min: return columns(x, outer, cols, out, INFINITY, MinOp());
    case Reduction::prod: return columns_wide(x, outer, cols, out, 1, 1, MulOp());
    default: break;
  }
  const double divisor = kind == Reduction::mean ? static_cast<double>(outer.count()) : 1;
  columns_wide(x, outer, cols, out, static_cast<double>(no_sum), divisor, AddOp());
}

}  // namespace HWY_NAMESPACE
}  // namespace pando::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pando::kernels {

HWY_EXPORT(reduce_contiguous);
HWY_EXPORT(reduce_columns);

float reduce_contiguous(Reduction kind, const float* x, const ReducedDims& outer, int64_t n) {
  return HWY_DYNAMIC_DISPATCH(reduce_contiguous)(kind, x, outer, n);
}
void reduce_columns(Reduction kind, const float* x, const ReducedDims& outer, int64_t cols, float* out) {
  HWY_DYNAMIC_DISPATCH(reduce_columns)(kind, x, outer, cols, out);
}

}  // namespace pando::kernels
#endif  // HWY_ONCE
