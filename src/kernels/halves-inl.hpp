// Vectors of float32 from and to floats of 16 bits, exactly as to_float, to_half and to_bfloat16 (base/dtype.hpp).
// Included once per target.
#if defined(PANDO_HALVES_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef PANDO_HALVES_INL
#undef PANDO_HALVES_INL
#else
#define PANDO_HALVES_INL
#endif

#include <hwy/highway.h>

#include "base/dtype.hpp"

HWY_BEFORE_NAMESPACE();
namespace pando::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <class D>
using Words = hn::Repartition<uint32_t, D>;
template <class D>
HWY_INLINE hn::Vec<Words<D>> load_words(D, const void* from) {
  return hn::PromoteTo(Words<D>(), hn::LoadU(hn::Rebind<uint16_t, D>(), static_cast<const uint16_t*>(from)));
}
template <class D>
HWY_INLINE void store_words(D, hn::Vec<Words<D>> words, void* to) {
  const hn::Repartition<int32_t, D> di;
  hn::StoreU(hn::DemoteTo(hn::Rebind<uint16_t, D>(), hn::BitCast(di, words)), hn::Rebind<uint16_t, D>(),
             static_cast<uint16_t*>(to));
}

template <class D>
HWY_INLINE hn::Vec<D> load_widened(D d, const BFloat16* from) {
  return hn::BitCast(d, hn::ShiftLeft<16>(load_words(d, from)));
}

template <class D>
HWY_INLINE hn::Vec<D> load_widened(D d, const Half* from) {
#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3
  const hn::Rebind<hwy::float16_t, D> dh;
  return hn::PromoteTo(d, hn::LoadU(dh, reinterpret_cast<const hwy::float16_t*>(from)));
#else
  const Words<D> dw;
  const auto bits = load_words(d, from);
  const auto magnitude = hn::ShiftLeft<13>(hn::And(bits, hn::Set(dw, 0x7fff)));
  const auto sign = hn::ShiftLeft<16>(hn::And(bits, hn::Set(dw, 0x8000)));
  const auto scaled = hn::BitCast(dw, hn::Mul(hn::BitCast(d, magnitude), hn::Set(d, 0x1p112f)));
  const auto special = hn::Or(magnitude, hn::Set(dw, 0x7f800000));
  const auto finite = hn::Lt(hn::BitCast(d, magnitude), hn::BitCast(d, hn::Set(dw, 0x7c00 << 13)));
  return hn::BitCast(d, hn::Or(sign, hn::IfThenElse(hn::RebindMask(dw, finite), scaled, special)));
#endif
}

template <class D>
HWY_INLINE void store_narrowed(D d, hn::Vec<D> v, BFloat16* to) {
  const Words<D> dw;
  const auto bits = hn::BitCast(dw, v), high = hn::ShiftRight<16>(bits);
  const auto odd = hn::And(high, hn::Set(dw, 1));
  const auto rounded = hn::ShiftRight<16>(hn::Add(bits, hn::Add(odd, hn::Set(dw, 0x7fff))));
  const auto nan = hn::RebindMask(dw, hn::IsNaN(v));
  store_words(d, hn::IfThenElse(nan, hn::Or(high, hn::Set(dw, 0x40)), rounded), to);
}

template <class D>
HWY_INLINE void store_narrowed(D d, hn::Vec<D> v, Half* to) {
#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3
  const hn::Rebind<hwy::float16_t, D> dh;
  const auto nan = hn::CopySign(hn::BitCast(d, hn::Set(Words<D>(), 0x7fc00000)), v);
  hn::StoreU(hn::DemoteTo(dh, hn::IfThenElse(hn::IsNaN(v), nan, v)), dh, reinterpret_cast<hwy::float16_t*>(to));
#else
  HWY_ALIGN float lanes[hn::MaxLanes(D())];
  hn::Store(v, d, lanes);
  for (size_t i = 0; i < hn::Lanes(d); i++) to[i] = to_half(lanes[i]);
#endif
}

}  // namespace HWY_NAMESPACE
}  // namespace pando::kernels
HWY_AFTER_NAMESPACE();

#endif
