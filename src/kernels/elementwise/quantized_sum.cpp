#include "kernels/elementwise/quantized_sum.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/simd.hpp"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/elementwise/quantized_sum.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace pando::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;
constexpr int64_t lanes = static_cast<int64_t>(hn::MaxLanes(D()));

template <class T>
HWY_INLINE V dequantized(const std::byte* from, const QuantizedSum::Operand& how) {
  const D d;
  const auto bytes = hn::LoadU(hn::Rebind<T, D>(), reinterpret_cast<const T*>(from));
  const V v = hn::ConvertTo(d, hn::PromoteTo(hn::RebindToSigned<D>(), bytes));
  return hn::Mul(hn::Add(v, hn::Set(d, how.offset)), hn::Set(d, how.scale));
}

// round(v / divisor). A product with the reciprocal is within three units in the last place of the quotient, so both
// round to the same whole number unless it lies that near to the middle of two: then the quotient is taken.
HWY_INLINE V rounded_quotient(V v, V divisor, V reciprocal) {
  const D d;
  const V product = hn::Mul(v, reciprocal), whole = hn::Round(product);
  const V from_whole = hn::Abs(hn::Sub(product, whole)), size = hn::Abs(product);
  const auto safe = hn::Lt(hn::MulAdd(size, hn::Set(d, 0x1p-21f), from_whole), hn::Set(d, 0.5f));
  if (HWY_LIKELY(hn::AllTrue(d, safe))) return whole;
  return hn::Round(hn::Div(v, divisor));
}

template <class A, class B>
void sum_as(const QuantizedSum& how, const std::byte* a, const std::byte* b, int64_t n, std::byte* y) {
  const D d;
  const hn::RebindToSigned<D> di;
  const hn::Rebind<uint8_t, D> bytes;
  const V divisor = hn::Set(d, how.divisor), reciprocal = hn::Set(d, 1 / how.divisor);
  const V floor = hn::Set(d, how.floor), ceiling = hn::Set(d, how.ceiling), zero = hn::Set(d, how.zero);
  const V lo = hn::Set(d, how.lo), hi = hn::Set(d, how.hi);
  const auto low_byte = hn::Set(di, 0xff);
  const auto vector = [&](const std::byte* from_a, const std::byte* from_b, uint8_t* to) HWY_ATTR {
    const V sum = hn::Add(dequantized<B>(from_b, how.b), dequantized<A>(from_a, how.a));
    const V active = hn::Min(hn::Max(sum, floor), ceiling);
    const V shifted = hn::Add(rounded_quotient(active, divisor, reciprocal), zero);
    const auto whole = hn::ConvertTo(di, hn::Min(hn::Max(shifted, lo), hi));
    hn::StoreU(hn::DemoteTo(bytes, hn::And(whole, low_byte)), bytes, to);
  };
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) vector(a + i, b + i, reinterpret_cast<uint8_t*>(y) + i);
  if (i >= n) return;
  std::byte last_a[lanes] = {}, last_b[lanes] = {};
  uint8_t last[lanes];
  std::memcpy(last_a, a + i, static_cast<size_t>(n - i));
  std::memcpy(last_b, b + i, static_cast<size_t>(n - i));
  vector(last_a, last_b, last);
  std::memcpy(y + i, last, static_cast<size_t>(n - i));
}

void Sum(const QuantizedSum& how, const std::byte* a, const std::byte* b, int64_t n, std::byte* y) {
  if (how.a.is_signed)
    how.b.is_signed ? sum_as<int8_t, int8_t>(how, a, b, n, y) : sum_as<int8_t, uint8_t>(how, a, b, n, y);
  else how.b.is_signed ? sum_as<uint8_t, int8_t>(how, a, b, n, y) : sum_as<uint8_t, uint8_t>(how, a, b, n, y);
}

}  // namespace pando::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pando::kernels {

HWY_EXPORT(Sum);

void quantized_sum(const QuantizedSum& how, const std::byte* a, const std::byte* b, int64_t n, std::byte* y) {
  HWY_DYNAMIC_DISPATCH(Sum)(how, a, b, n, y);
}

}  // namespace pando::kernels
#endif
