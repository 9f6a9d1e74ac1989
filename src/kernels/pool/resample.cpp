#include "kernels/pool/resample.hpp"

#include <array>
#include <cstring>

#include "kernels/simd.hpp"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/pool/resample.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/conv/lanes-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace pando::kernels {
namespace HWY_NAMESPACE {
namespace {

using Index = std::array<int64_t, max_rank>;

// Adds the taps of dimensions d.. of the output at `index` to y[0..n), n columns of the last dimension.
// `first` says whether anything was added before: the first tap overwrites.
void accumulate(const Resample& r, const Index& index, int d, int dims, const float* x, float weight, int64_t n,
                float* y, bool& first) {
  namespace hn = hwy::HWY_NAMESPACE;
  if (d == dims) {
    const bool overwrites = first;
    first = false;
    if (overwrites && weight == 1) {
      std::memcpy(y, x, static_cast<size_t>(n) * sizeof(float));
      return;
    }
    for_channels(n, [&](auto tag, int64_t c) {
      const auto w = hn::Set(tag, weight), v = hn::LoadU(tag, x + c);
      hn::StoreU(overwrites ? hn::Mul(v, w) : hn::MulAdd(v, w, hn::LoadU(tag, y + c)), tag, y + c);
    });
    return;
  }
  const ResampleDim& dim = r.dim[d];
  const int64_t o = index[d];
  const float* weights = dim.weight + o * dim.taps;
  for (int64_t k = 0; k < dim.taps; k++) {
    // A weight of 0 multiplies nothing: what it would meet may be infinite. The last tap is kept so that one is.
    if (weights[k] == 0 && (k + 1 < dim.taps || !first)) continue;
    accumulate(r, index, d + 1, dims, x + (dim.first[o] + k) * dim.in_stride, weight * weights[k], n, y, first);
  }
}

bool is_outside(const Resample& r, const Index& index, int dims) {
  for (int d = 0; d < dims; d++)
    if (r.dim[d].outside != nullptr && r.dim[d].outside[index[d]]) return true;
  return false;
}

}  // namespace

void resample(const Resample& r) {
  const int dims = r.dense_last ? r.rank - 1 : r.rank;
  const ResampleDim& last = r.dim[r.rank - 1];
  const int64_t n = r.dense_last ? last.hi - last.lo : 1, from = r.dense_last ? last.lo : 0;
  Index index{};
  for (int d = 0; d < dims; d++) {
    index[d] = r.dim[d].lo;
    if (r.dim[d].lo >= r.dim[d].hi) return;
  }
  while (true) {
    float* y = r.out + from;
    for (int d = 0; d < dims; d++) y += index[d] * r.dim[d].out_stride;
    bool first = true;
    if (is_outside(r, index, dims)) std::fill_n(y, n, r.extrapolation);
    else accumulate(r, index, 0, dims, r.in + from, 1, n, y, first);
    int d = dims - 1;
    for (; d >= 0 && ++index[d] == r.dim[d].hi; d--) index[d] = r.dim[d].lo;
    if (d < 0) return;
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace pando::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pando::kernels {

HWY_EXPORT(resample);

void resample(const Resample& r) { HWY_DYNAMIC_DISPATCH(resample)(r); }

}  // namespace pando::kernels
#endif  // HWY_ONCE
