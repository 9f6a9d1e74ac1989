#include "kernels/elementwise/byte_table.hpp"

#include "kernels/simd.hpp"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/elementwise/byte_table.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace pando::kernels {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// Sixteen shuffles of 16 results each. The index into part p is the byte minus 16 p, which leaves 0..15 where that part
// is meant; with saturation and the bit that a shuffle takes for "zero" set, all others give 0.
void look_up_bytes(const uint8_t* table, const uint8_t* in, int64_t n, uint8_t* out) {
  const hn::ScalableTag<uint8_t> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto above = hn::Set(d, 0x70), step = hn::Set(d, 16);
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    auto index = hn::LoadU(d, in + i), found = hn::Zero(d);
    for (int part = 0; part < 16; part++) {
      const auto entries = hn::LoadDup128(d, table + 16 * part);
      // 0..15 become 0x70..0x7f, of which a shuffle sees the low four bits; everything else has the top bit.
      found = hn::Or(found, hn::TableLookupBytesOr0(entries, hn::SaturatedAdd(index, above)));
      index = hn::Sub(index, step);
    }
    hn::StoreU(found, d, out + i);
  }
  for (; i < n; i++) out[i] = table[in[i]];
}

}  // namespace HWY_NAMESPACE
}  // namespace pando::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pando::kernels {

HWY_EXPORT(look_up_bytes);

void look_up_bytes(const uint8_t* table, const uint8_t* in, int64_t n, uint8_t* out) {
  HWY_DYNAMIC_DISPATCH(look_up_bytes)(table, in, n, out);
}

}  // namespace pando::kernels
#endif  // HWY_ONCE
