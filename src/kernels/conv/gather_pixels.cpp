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

void Gather(float* HWY_RESTRICT dst, const float* HWY_RESTRICT src, int64_t src_stride, int64_t src_c, int64_t count,
            int64_t floats) {
  if (src_c == 1 && src_stride == floats) {
    floats *= count;
    count = 1;
  }
  if (src_c == 1) {
    for (int64_t i = 0; i < count; i++)
      for_channels(floats, [&](auto d, int64_t c) HWY_ATTR {
        hn::StoreU(hn::LoadU(d, src + i * src_stride + c), d, dst + i * floats + c);
      });
    return;
  }
  for (int64_t c = 0; c < floats; c++)
    for (int64_t i = 0; i < count; i++) dst[i * floats + c] = src[i * src_stride + c * src_c];
}

}  // namespace pando::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pando::kernels {

HWY_EXPORT(Gather);

void gather_pixels(float* dst, const float* src, int64_t src_stride, int64_t src_c, int64_t count, int64_t floats) {
  HWY_DYNAMIC_DISPATCH(Gather)(dst, src, src_stride, src_c, count, floats);
}

}  // namespace pando::kernels
#endif
