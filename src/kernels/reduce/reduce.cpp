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

// Blocks keep the rounding errors of long sums small.
constexpr int64_t block_elements = 4096, block_rows = 128;

template <class Op>
float contiguous(const float* x, const ReducedDims& outer, int64_t n, float identity, Op op) {
  Lanes16 total = Lanes16::all(identity);
  for_each_offset(outer, [&](int64_t at) {
    for (int64_t begin = 0; begin < n; begin += block_elements) {
      Lanes16 part = Lanes16::all(identity);
      for_blocks16(x + at + begin, std::min(block_elements, n - begin), identity,
                   [&](const Lanes16& v, int64_t) { part = map16(part, v, op); });
      total = map16(total, part, op);
    }
  });
  return fold16(total, op);
}

template <class Op>
void columns(const float* x, const ReducedDims& outer, int64_t cols, float* out, float identity, Op op) {
  for_channels(cols, [&](auto d, int64_t c) {
    auto total = hn::Set(d, identity), part = total;
    int64_t rows = 0;
    for_each_offset(outer, [&](int64_t at) {
      part = op(part, hn::LoadU(d, x + at + c));
      if (++rows % block_rows != 0) return;
      total = op(total, part);
      part = hn::Set(d, identity);
    });
    hn::StoreU(op(total, part), d, out + c);
  });
}

// Calls f(identity, operation).
template <class F>
HWY_INLINE auto with_op(Reduction kind, F f) {
  switch (kind) {
    case Reduction::max: return f(-INFINITY, MaxOp());
    case Reduction::min: return f(INFINITY, MinOp());
    case Reduction::prod: return f(1.0f, MulOp());
    default: return f(0.0f, AddOp());
  }
}

}  // namespace

float reduce_contiguous(Reduction kind, const float* x, const ReducedDims& outer, int64_t n) {
  const float r = with_op(kind, [&](float identity, auto op) { return contiguous(x, outer, n, identity, op); });
  return kind == Reduction::mean ? r / static_cast<float>(n * outer.count()) : r;
}

void reduce_columns(Reduction kind, const float* x, const ReducedDims& outer, int64_t cols, float* out) {
  with_op(kind, [&](float identity, auto op) { columns(x, outer, cols, out, identity, op); });
  const float count = static_cast<float>(outer.count());
  if (kind != Reduction::mean) return;
  for_channels(cols,
               [&](auto d, int64_t c) { hn::StoreU(hn::Div(hn::LoadU(d, out + c), hn::Set(d, count)), d, out + c); });
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
