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

}  // namespace pando::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
