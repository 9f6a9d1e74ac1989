// The fast path of an epilogue on one vector, for kernels compiled per Highway target. No include guard of the usual
// kind: the file is read once per target.
#if defined(PANDO_KERNELS_CONV_EPILOGUE_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef PANDO_KERNELS_CONV_EPILOGUE_INL
#undef PANDO_KERNELS_CONV_EPILOGUE_INL
#else
#define PANDO_KERNELS_CONV_EPILOGUE_INL
#endif
#include <hwy/highway.h>

#include "kernels/conv/epilogue.hpp"

HWY_BEFORE_NAMESPACE();
namespace pando::kernels::HWY_NAMESPACE {

// Max and Min give their second operand when one is NaN: so v comes second and NaN passes.
template <class D, class V = hwy::HWY_NAMESPACE::Vec<D>>
HWY_INLINE V activate(D d, const EpilogueArgs& e, V v) {
  namespace hn = hwy::HWY_NAMESPACE;
  switch (e.activation) {
    case Activation::none: return v;
    case Activation::relu: return hn::Max(hn::Zero(d), v);
    case Activation::clip: return hn::Min(hn::Set(d, e.hi), hn::Max(hn::Set(d, e.lo), v));
    default: return hn::Max(hn::Mul(v, hn::Set(d, e.slope)), v);
  }
}

// `residual` points to this vector's elements, or is null. The bias has been added already.
template <class D, class V = hwy::HWY_NAMESPACE::Vec<D>>
HWY_INLINE V finish(D d, const EpilogueArgs& e, const float* residual, V v) {
  namespace hn = hwy::HWY_NAMESPACE;
  if (residual == nullptr) return activate(d, e, v);
  const V r = hn::LoadU(d, residual);
  return e.residual_last ? hn::Add(activate(d, e, v), r) : activate(d, e, hn::Add(v, r));
}

// Finishes and stores four pixels `step` apart, with one decision for all.
template <class D, class V = hwy::HWY_NAMESPACE::Vec<D>>
HWY_INLINE void finish_4(D d, const EpilogueArgs& e, const float* residual, int64_t residual_step, V v0, V v1, V v2,
                         V v3, float* y, int64_t step) {
  namespace hn = hwy::HWY_NAMESPACE;
  V r0 = hn::Zero(d), r1 = r0, r2 = r0, r3 = r0;
  if (HWY_UNLIKELY(residual != nullptr)) {
    r0 = hn::LoadU(d, residual);
    r1 = hn::LoadU(d, residual + residual_step);
    r2 = hn::LoadU(d, residual + 2 * residual_step);
    r3 = hn::LoadU(d, residual + 3 * residual_step);
    if (!e.residual_last) {
      v0 = hn::Add(v0, r0);
      v1 = hn::Add(v1, r1);
      v2 = hn::Add(v2, r2);
      v3 = hn::Add(v3, r3);
    }
  }
  const auto each = [&](auto f) HWY_ATTR {
    v0 = f(v0);
    v1 = f(v1);
    v2 = f(v2);
    v3 = f(v3);
  };
  if (e.activation == Activation::relu) {
    each([&](V v) HWY_ATTR { return hn::Max(hn::Zero(d), v); });
  } else if (e.activation == Activation::clip) {
    const V lo = hn::Set(d, e.lo), hi = hn::Set(d, e.hi);
    each([&](V v) HWY_ATTR { return hn::Min(hi, hn::Max(lo, v)); });
  } else if (e.activation == Activation::leaky_relu) {
    const V slope = hn::Set(d, e.slope);
    each([&](V v) HWY_ATTR { return hn::Max(hn::Mul(v, slope), v); });
  }
  if (HWY_UNLIKELY(residual != nullptr && e.residual_last)) {
    v0 = hn::Add(v0, r0);
    v1 = hn::Add(v1, r1);
    v2 = hn::Add(v2, r2);
    v3 = hn::Add(v3, r3);
  }
  hn::StoreU(v0, d, y);
  hn::StoreU(v1, d, y + step);
  hn::StoreU(v2, d, y + 2 * step);
  hn::StoreU(v3, d, y + 3 * step);
}

}  // namespace pando::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
