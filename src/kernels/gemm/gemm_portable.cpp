// The portable batch-reduce kernel, compiled once per vector target.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/gemm/gemm_portable.cpp"
#include "kernels/simd.hpp"
// foreach_target.h must come before highway.h
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/gemm/gemm.hpp"

HWY_BEFORE_NAMESPACE();
namespace pando::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

const float* shift(const float* p, GemmOffset bytes) {
  return reinterpret_cast<const float*>(reinterpret_cast<const std::byte*>(p) + bytes);
}

// Rows [i, i + lanes * R) of columns [j, j + N): R x N accumulators.
template <int R, int N, class D>
HWY_INLINE void tile(D d, const GemmShape& s, const float* a, const float* b, float* c, GemmOffset count,
                     const GemmOffset* a_offsets, const GemmOffset* b_offsets) {
  const size_t lanes = hn::Lanes(d);
  hn::Vec<D> sum[R][N];
#pragma GCC unroll 16
  for (int r = 0; r < R; r++)
#pragma GCC unroll 16
    for (int j = 0; j < N; j++)
      sum[r][j] = s.accumulate ? hn::LoadU(d, c + static_cast<int64_t>(j) * s.ldc + r * lanes) : hn::Zero(d);
  for (GemmOffset q = 0; q < count; q++) {
    const float* aq = shift(a, a_offsets[q]);
    const float* bq = shift(b, b_offsets[q]);
    for (int p = 0; p < s.k; p++) {
      hn::Vec<D> col[R];
#pragma GCC unroll 16
      for (int r = 0; r < R; r++) col[r] = hn::LoadU(d, aq + static_cast<int64_t>(p) * s.lda + r * lanes);
#pragma GCC unroll 16
      for (int j = 0; j < N; j++) {
        const auto x = hn::Set(d, bq[static_cast<int64_t>(j) * s.ldb + p]);
#pragma GCC unroll 16
        for (int r = 0; r < R; r++) sum[r][j] = hn::MulAdd(col[r], x, sum[r][j]);
      }
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; r++)
#pragma GCC unroll 16
    for (int j = 0; j < N; j++) hn::StoreU(sum[r][j], d, c + static_cast<int64_t>(j) * s.ldc + r * lanes);
}

template <int R, class D>
HWY_INLINE void columns(D d, const GemmShape& s, const float* a, const float* b, float* c, GemmOffset count,
                        const GemmOffset* a_offsets, const GemmOffset* b_offsets) {
  int j = 0;
  for (; j + 3 <= s.n; j += 3)
    tile<R, 3>(d, s, a, b + static_cast<int64_t>(j) * s.ldb, c + static_cast<int64_t>(j) * s.ldc, count, a_offsets,
               b_offsets);
  for (; j < s.n; j++)
    tile<R, 1>(d, s, a, b + static_cast<int64_t>(j) * s.ldb, c + static_cast<int64_t>(j) * s.ldc, count, a_offsets,
               b_offsets);
}

void Gemm(const GemmShape& s, const float* a, const float* b, float* c, GemmOffset count, const GemmOffset* a_offsets,
          const GemmOffset* b_offsets) {
  const hn::ScalableTag<float> full;
  const int lanes = static_cast<int>(hn::Lanes(full));
  int i = 0;
  for (; i + 2 * lanes <= s.m; i += 2 * lanes) columns<2>(full, s, a + i, b, c + i, count, a_offsets, b_offsets);
  for (; i + lanes <= s.m; i += lanes) columns<1>(full, s, a + i, b, c + i, count, a_offsets, b_offsets);
  for (; i < s.m; i++) columns<1>(hn::CappedTag<float, 1>(), s, a + i, b, c + i, count, a_offsets, b_offsets);
}

}  // namespace pando::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pando::kernels {

HWY_EXPORT(Gemm);

void gemm_portable(const GemmShape& shape, const float* a, const float* b, float* c, GemmOffset count,
                   const GemmOffset* a_offsets, const GemmOffset* b_offsets) {
  HWY_DYNAMIC_DISPATCH(Gemm)(shape, a, b, c, count, a_offsets, b_offsets);
}

}  // namespace pando::kernels
#endif
