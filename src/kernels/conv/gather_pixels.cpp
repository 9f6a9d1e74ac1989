// Copies of strided pixels into contiguous scratch, compiled once per vector target.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/conv/gather_pixels.cpp"
#include "kernels/simd.hpp"
// foreach_target.h must come before highway.h
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/conv/direct.hpp"
#include "kernels/conv/lanes-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace pando::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

void Gather(float* HWY_RESTRICT dst, const float* HWY_RESTRICT src, const PixelGather& g, int64_t count) {
  if (g.src_c == 1) {
    // Pixels outside: the source is read in order.
    for (int64_t i = 0; i < count; i++)
      for (int64_t part = 0; part < g.parts; part++) {
        const float* from = src + i * g.src_stride + part * g.floats;
        float* to = dst + part * g.part_stride + i * g.floats;
        for_channels(g.floats, [&](auto d, int64_t c) HWY_ATTR { hn::StoreU(hn::LoadU(d, from + c), d, to + c); });
      }
    return;
  }
  for (int64_t part = 0; part < g.parts; part++)
    for (int64_t c = 0; c < g.floats; c++)
      for (int64_t i = 0; i < count; i++)
        dst[part * g.part_stride + i * g.floats + c] = src[i * g.src_stride + (part * g.floats + c) * g.src_c];
}

}  // namespace pando::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pando::kernels {

HWY_EXPORT(Gather);

void gather_pixels(float* dst, const float* src, const PixelGather& g, int64_t count) {
  HWY_DYNAMIC_DISPATCH(Gather)(dst, src, g, count);
}

}  // namespace pando::kernels
#endif
