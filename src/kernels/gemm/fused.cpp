// Products with their end in registers, compiled once per vector target.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/gemm/fused.cpp"
#include "kernels/simd.hpp"
// foreach_target.h must come before highway.h
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>

#include "kernels/conv/epilogue-inl.hpp"
#include "kernels/gemm/fused.hpp"
#include "kernels/gemm/pass.hpp"

HWY_BEFORE_NAMESPACE();
namespace pando::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using Full = hn::ScalableTag<float>;
using Vector = hn::Vec<Full>;
constexpr int64_t lanes = static_cast<int64_t>(hn::MaxLanes(Full()));
// Vectors of channels, and columns, of the sums held in registers: 12 of 16, or 24 of 32.
constexpr int max_vectors = static_cast<int>(HWY_MIN(gemm_block / lanes, 4));
constexpr int max_columns(int vectors) {
  constexpr int sums = HWY_MAX_BYTES == 64 ? 24 : 12;
  return std::min(sums / vectors, 12);
}

const float* at_offset(const float* p, GemmOffset bytes) {
  return reinterpret_cast<const float*>(reinterpret_cast<const std::byte*>(p) + bytes);
}

// Brings this tile's share of block.ahead, cut into `parts`, into L2.
HWY_INLINE void prefetch(const FusedBlock& f, int64_t part, int64_t parts) {
  constexpr int64_t line = 64 / sizeof(float);
  const int64_t lines = f.ahead_floats / line;
  for (int64_t i = lines * part / parts; i < lines * (part + 1) / parts; i++)
    __builtin_prefetch(f.ahead + i * line, 0, 2);
}

// Without a bias, -0 is added: it changes no value.
struct Zeros {
  alignas(64) float v[gemm_block];
};
constexpr Zeros no_bias = [] {
  Zeros z{};
  for (float& v : z.v) v = -0.0f;
  return z;
}();

// sum += column of R vectors of weights x N inputs `ldb` apart; the fewer of both wait in registers.
template <int R, int N>
HWY_INLINE void step(Vector (&sum)[R][N], const float* HWY_RESTRICT a, const float* HWY_RESTRICT b, int64_t ldb) {
  const Full d;
  if constexpr (R > N) {
    Vector x[N];
#pragma GCC unroll 16
    for (int j = 0; j < N; j++) x[j] = hn::Set(d, b[j * ldb]);
#pragma GCC unroll 16
    for (int r = 0; r < R; r++) {
      const Vector weight = hn::LoadU(d, a + r * lanes);
#pragma GCC unroll 16
      for (int j = 0; j < N; j++) sum[r][j] = hn::MulAdd(weight, x[j], sum[r][j]);
    }
  } else {
    Vector weight[R];
#pragma GCC unroll 16
    for (int r = 0; r < R; r++) weight[r] = hn::LoadU(d, a + r * lanes);
#pragma GCC unroll 16
    for (int j = 0; j < N; j++) {
      const Vector x = hn::Set(d, b[j * ldb]);
#pragma GCC unroll 16
      for (int r = 0; r < R; r++) sum[r][j] = hn::MulAdd(weight[r], x, sum[r][j]);
    }
  }
}

// R vectors of channels from `channel` on for N columns from column j0 on, the group-th of `groups` such sets.
template <int R, int N, bool from_zero>
void fused_tile(const EpilogueArgs& e, const FusedBlock& f, int64_t channel, int64_t j0, int64_t group,
                int64_t groups) {
  const Full d;
  const int64_t left = f.channels - channel;
  Vector sum[R][N];
  const auto each = [&](const auto& g) HWY_ATTR {
#pragma GCC unroll 16
    for (int j = 0; j < N; j++)
#pragma GCC unroll 16
      for (int r = 0; r < R; r++) g(sum[r][j], r, j);
  };
  if constexpr (from_zero) each([&](Vector& s, int, int) HWY_ATTR { s = hn::Zero(d); });
  else
    each([&](Vector& s, int r, int j)
             HWY_ATTR { s = hn::LoadU(d, f.begin + (j0 + j) * gemm_block + channel + r * lanes); });
  for (int64_t q = 0; q < f.count; q++) {
    if (f.ahead_floats > 0) prefetch(f, group * f.count + q, groups * f.count);
    const float* HWY_RESTRICT a = at_offset(f.a, f.a_offsets[q]) + channel;
    const float* HWY_RESTRICT b = at_offset(f.b, f.b_offsets[q]) + j0 * f.ldb;
#pragma GCC unroll 4
    for (int p = 0; p < f.k; p++, a += gemm_block, b++) {
      step<R, N>(sum, a, b, f.ldb);
    }
  }
  if (f.sums != nullptr)
    return each([&](Vector& s, int r, int j)
                    HWY_ATTR { hn::StoreU(s, d, f.sums + (j0 + j) * gemm_block + channel + r * lanes); });

  if (HWY_UNLIKELY(left < R * lanes)) {  // a vector may reach past the last channel
    HWY_ALIGN float sums[N * gemm_block];
    each([&](Vector& s, int r, int j) HWY_ATTR { hn::Store(s, d, sums + j * gemm_block + r * lanes); });
    return finish_block(e, {sums, gemm_block, f.y + j0 * f.y_stride + channel, f.y_stride,
                            f.residual ? f.residual + j0 * f.residual_stride + channel : nullptr, f.residual_stride,
                            f.bias ? f.bias + channel : nullptr, N, left});
  }
  const float* bias = f.bias ? f.bias + channel : no_bias.v;
  const float* residual = f.residual ? f.residual + j0 * f.residual_stride + channel : nullptr;
  float* y = f.y + j0 * f.y_stride + channel;
  const auto end = [&](auto activation) HWY_ATTR {
    EpilogueArgs known;
    known.activation = activation;
    known.residual_last = e.residual_last;
    known.lo = e.lo;
    known.hi = e.hi;
    known.slope = e.slope;
    each([&](Vector& s, int r, int j) HWY_ATTR {
      const Vector v = hn::Add(s, hn::LoadU(d, bias + r * lanes));
      const float* add = residual ? residual + j * f.residual_stride + r * lanes : nullptr;
      hn::StoreU(finish(d, known, add, v), d, y + j * f.y_stride + r * lanes);
    });
  };
  switch (e.code ? Activation::none : e.activation) {
    case Activation::none: return end(std::integral_constant<Activation, Activation::none>());
    case Activation::relu: return end(std::integral_constant<Activation, Activation::relu>());
    case Activation::clip: return end(std::integral_constant<Activation, Activation::clip>());
    case Activation::leaky_relu: return end(std::integral_constant<Activation, Activation::leaky_relu>());
  }
}

using TileFn = void (*)(const EpilogueArgs&, const FusedBlock&, int64_t, int64_t, int64_t, int64_t);
template <int R, int... N>
TileFn columns_tile(int n, bool from_zero, std::integer_sequence<int, N...>) {
  static constexpr TileFn tiles[][2] = {{fused_tile<R, N + 1, false>, fused_tile<R, N + 1, true>}...};
  return tiles[n - 1][from_zero];
}
template <int R>
TileFn columns_tile(int n, bool from_zero) {
  return columns_tile<R>(n, from_zero, std::make_integer_sequence<int, max_columns(R)>());
}

void Fused(const EpilogueArgs& e, const FusedBlock& f) {
  for (int64_t channel = 0; channel < f.channels;) {
    const int vectors = static_cast<int>(std::min<int64_t>((f.channels - channel + lanes - 1) / lanes, max_vectors));
    // Groups of columns as alike as can be: none is left with too few chains to hide the latency of fma.
    const int64_t limit = max_columns(vectors), groups = (f.n + limit - 1) / limit;
    const bool from_zero = f.begin == nullptr;
    const auto each_group = [&](auto R) HWY_ATTR {
      const int64_t size = f.n / groups, longer = f.n % groups;
      const TileFn large = columns_tile<R>(static_cast<int>(size + (longer > 0)), from_zero),
                   small = columns_tile<R>(static_cast<int>(size), from_zero);
      int64_t j = 0;
      for (int64_t g = 0; g < groups; g++) {
        (g < longer ? large : small)(e, f, channel, j, g, groups);
        j += size + (g < longer);
      }
    };
    if (vectors == 1) each_group(std::integral_constant<int, 1>());
    if (vectors == 2) each_group(std::integral_constant<int, 2>());
    if constexpr (max_vectors > 2) {
      if (vectors == 3) each_group(std::integral_constant<int, 3>());
      if (vectors == 4) each_group(std::integral_constant<int, 4>());
    }
    channel += vectors * lanes;
  }
}

}  // namespace pando::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pando::kernels {

HWY_EXPORT(Fused);

void fused_block(const EpilogueArgs& epilogue, const FusedBlock& block) {
  HWY_DYNAMIC_DISPATCH(Fused)(epilogue, block);
}

}  // namespace pando::kernels
#endif
