// The end of a matrix tile, compiled once per vector target: bias, residual, activation, and the copy out of scratch.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/gemm/finish.cpp"
#include "kernels/simd.hpp"
// foreach_target.h must come before highway.h
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/conv/epilogue-inl.hpp"
#include "kernels/conv/lanes-inl.hpp"
#include "kernels/gemm/pass.hpp"

HWY_BEFORE_NAMESPACE();
namespace pando::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

void Finish(const EpilogueArgs& epilogue, const FinishBlock& block) {
  const FinishBlock b = block;
  EpilogueArgs e;
  e.activation = epilogue.code ? Activation::none : epilogue.activation;
  e.residual_last = epilogue.residual_last;
  e.lo = epilogue.lo;
  e.hi = epilogue.hi;
  e.slope = epilogue.slope;
  if (b.src == b.dst && !b.bias && !b.residual && e.activation == Activation::none) return;
  for (int64_t r = 0; r < b.rows; r++) {
    const float* src = b.src + r * b.src_stride;
    float* dst = b.dst + r * b.dst_stride;
    const float* residual = b.residual ? b.residual + r * b.residual_stride : nullptr;
    for_channels(b.cols, [&](auto d, int64_t c) HWY_ATTR {
      auto v = hn::LoadU(d, src + c);
      if (b.bias) v = hn::Add(v, hn::LoadU(d, b.bias + c));
      hn::StoreU(finish(d, e, residual ? residual + c : nullptr, v), d, dst + c);
    });
  }
}

}  // namespace pando::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pando::kernels {

HWY_EXPORT(Finish);

void finish_block(const EpilogueArgs& epilogue, const FinishBlock& block) {
  HWY_DYNAMIC_DISPATCH(Finish)(epilogue, block);
}

}  // namespace pando::kernels
#endif
