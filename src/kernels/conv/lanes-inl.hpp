// Loops over channels in vectors, whatever their number, for kernels compiled per Highway target.
#if defined(PANDO_KERNELS_CONV_LANES_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef PANDO_KERNELS_CONV_LANES_INL
#undef PANDO_KERNELS_CONV_LANES_INL
#else
#define PANDO_KERNELS_CONV_LANES_INL
#endif
#include <hwy/highway.h>

#include <cstdint>

HWY_BEFORE_NAMESPACE();
namespace pando::kernels::HWY_NAMESPACE {

// Calls f(tag, c) for consecutive ranges of channels that cover [0, count): whole vectors, then 8, 4 and 1 lanes. No
// lane outside is touched, so nothing is read or written past the last channel of the last pixel.
template <class F>
HWY_INLINE void for_channels(int64_t count, const F& f) {
  namespace hn = hwy::HWY_NAMESPACE;
  const hn::ScalableTag<float> full;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(full));
  int64_t c = 0;
  for (; c + lanes <= count; c += lanes) f(full, c);
  if constexpr (HWY_MAX_BYTES > 32) {
    for (; c + 8 <= count; c += 8) f(hn::CappedTag<float, 8>(), c);
  }
  if constexpr (HWY_MAX_BYTES > 16) {
    for (; c + 4 <= count; c += 4) f(hn::CappedTag<float, 4>(), c);
  }
  for (; c < count; c++) f(hn::CappedTag<float, 1>(), c);
}

}  // namespace pando::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
