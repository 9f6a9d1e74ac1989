#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/gemm/gemv.cpp"
#include "kernels/simd.hpp"
// foreach_target.h must come before highway.h
#include <hwy/cache_control.h>
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>

#include "kernels/gemm/gemv.hpp"
#include "kernels/halves-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace pando::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using Full = hn::ScalableTag<float>;

HWY_INLINE hn::Vec<Full> load_weights(const float* w) { return hn::LoadU(Full(), w); }
HWY_INLINE hn::Vec<Full> load_weights(const Half* w) { return load_widened(Full(), w); }
HWY_INLINE hn::Vec<Full> load_weights(const BFloat16* w) { return load_widened(Full(), w); }

// sums[block][row][32] += weights [lo, hi) of k, for B blocks that lie `block_stride` values apart.
template <int Rows, int B, class Weight>
HWY_INLINE void dot(const Gemv& g, const Weight* weights, int64_t block_stride, int64_t lo, int64_t hi, float* sums) {
  const Full d;
  constexpr int lanes = static_cast<int>(hn::MaxLanes(d));
  // As many channels at a time as leave their sums in registers.
  constexpr int vectors = HWY_MIN(gemm_block / lanes, HWY_MAX(8 / (Rows * B), 2));
  // Far enough to cover the latency of memory; past the end nothing is read in earnest.
  constexpr int64_t ahead = 2048 / sizeof(Weight), line = 64 / sizeof(Weight);
  for (int c = 0; c < gemm_block; c += vectors * lanes) {
    hn::Vec<decltype(d)> sum[B][Rows][vectors];
    auto at = [&](int b, int r, int v) { return sums + (b * Rows + r) * gemm_block + c + v * lanes; };
#pragma GCC unroll 16
    for (int b = 0; b < B; b++)
#pragma GCC unroll 16
      for (int r = 0; r < Rows; r++)
#pragma GCC unroll 16
        for (int v = 0; v < vectors; v++) sum[b][r][v] = hn::LoadU(d, at(b, r, v));
    const Weight* w = weights + lo * gemm_block + c;
    for (int64_t p = lo; p < hi; p++, w += gemm_block) {
      hn::Vec<decltype(d)> x[Rows];
#pragma GCC unroll 16
      for (int r = 0; r < Rows; r++) x[r] = hn::Set(d, g.a[r * g.row_stride + p * g.k_stride]);
#pragma GCC unroll 16
      for (int b = 0; b < B; b++) {
        const Weight* row = w + b * block_stride;
        hwy::Prefetch(row + ahead);
        if (vectors * lanes > line) hwy::Prefetch(row + ahead + line);
#pragma GCC unroll 16
        for (int v = 0; v < vectors; v++) {
          const auto weight = load_weights(row + v * lanes);
#pragma GCC unroll 16
          for (int r = 0; r < Rows; r++) sum[b][r][v] = hn::MulAdd(weight, x[r], sum[b][r][v]);
        }
      }
    }
#pragma GCC unroll 16
    for (int b = 0; b < B; b++)
#pragma GCC unroll 16
      for (int r = 0; r < Rows; r++)
#pragma GCC unroll 16
        for (int v = 0; v < vectors; v++) hn::StoreU(sum[b][r][v], d, at(b, r, v));
  }
}

// In pieces of k that stay in L1 where several turns over the channels read them.
template <int Rows, int B, class Weight>
void dots(const Gemv& g, const Weight* weights, int64_t block_stride, float* sums) {
  constexpr int64_t piece = 128;
  std::fill_n(sums, B * Rows * gemm_block, 0.0f);
  for (int64_t lo = 0; lo < g.k; lo += piece)
    dot<Rows, B>(g, weights, block_stride, lo, std::min(lo + piece, g.k), sums);
}

// Two blocks at a time where one row alone would wait for the latency of its few chains.
template <class Weight>
void dots_as(const Gemv& g, int64_t first, int64_t block_stride, int blocks, float* sums) {
  const Weight* weights = static_cast<const Weight*>(g.weights) + first;
  switch (g.rows) {
    case 1:
      return blocks == 2 ? dots<1, 2>(g, weights, block_stride, sums) : dots<1, 1>(g, weights, block_stride, sums);
    case 2: return dots<2, 1>(g, weights, block_stride, sums);
    case 3: return dots<3, 1>(g, weights, block_stride, sums);
    default: return dots<4, 1>(g, weights, block_stride, sums);
  }
}

void Dot(const Gemv& g, int64_t first, int64_t block_stride, int blocks, float* sums) {
  switch (g.type) {
    case DType::f16: return dots_as<Half>(g, first, block_stride, blocks, sums);
    case DType::bf16: return dots_as<BFloat16>(g, first, block_stride, blocks, sums);
    default: return dots_as<float>(g, first, block_stride, blocks, sums);
  }
}

}  // namespace pando::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pando::kernels {

HWY_EXPORT(Dot);

void gemv(const Gemv& g, int64_t lo, int64_t hi, const EpilogueArgs& epilogue) {
  alignas(64) float sums[gemv_max_rows * gemm_block];
  const int64_t block_stride = g.k * gemm_block;
  for (int64_t block = lo; block < hi;) {
    const int blocks = g.rows == 1 && hi - block >= 2 * gemm_block ? 2 : 1;
    HWY_DYNAMIC_DISPATCH(Dot)(g, block / gemm_block * block_stride, block_stride, blocks, sums);
    for (int b = 0; b < blocks; b++, block += gemm_block)
      finish_block(epilogue, {sums + b * g.rows * gemm_block, gemm_block, g.y + block, g.y_stride,
                              g.residual ? g.residual + block : nullptr, g.residual_stride,
                              g.bias ? g.bias + block : nullptr, g.rows, std::min<int64_t>(gemm_block, hi - block)});
  }
}

}  // namespace pando::kernels
#endif
