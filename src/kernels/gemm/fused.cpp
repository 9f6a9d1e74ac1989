// Products with their end in registers, compiled once per vector target.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/gemm/fused.cpp"
#include "kernels/simd.hpp"
// foreach_target.h must come before highway.h
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cstring>

#include "kernels/conv/epilogue-inl.hpp"
#include "kernels/gemm/fused.hpp"
#include "kernels/gemm/pass.hpp"

HWY_BEFORE_NAMESPACE();
namespace pando::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using Full = hn::ScalableTag<float>;
using Vector = hn::Vec<Full>;
constexpr int64_t lanes = static_cast<int64_t>(hn::MaxLanes(Full()));
// Vectors of channels, and columns, of the sums held in registers: 12 of 16, or 20 of 32. More columns than ten would
// leave no register for their pointers; eight chains hide the latency of fma.
constexpr int max_vectors = static_cast<int>(HWY_MIN(gemm_block / lanes, 4));
constexpr int max_columns(int vectors) { return HWY_MAX_BYTES == 64 ? 10 : std::min(12 / vectors, 8); }

constexpr int64_t line = 64;
constexpr int64_t floats_of_line = line / sizeof(float);
constexpr int64_t stretch = 64;  // words of k between prefetches

// What is multiplied at a time: words of 4 bytes, one float or two bfloat16.
constexpr int64_t words(ProductType t, int64_t values) { return values * value_bytes(t) / 4; }

template <ProductType type>
HWY_INLINE Vector multiply_add(Vector weight, Vector x, Vector sum) {
#if HWY_TARGET == HWY_AVX3
  // Highway's target that may use this instruction wants more than it.
  if constexpr (type == ProductType::bf16) {
    asm("vdpbf16ps %2, %1, %0" : "+v"(sum.raw) : "v"(weight.raw), "v"(x.raw));
    return sum;
  }
#endif
  return hn::MulAdd(weight, x, sum);
}

// Brings the weights that are read next into L2, evenly over the work of a block.
struct Ahead {
  const std::byte *at, *end;
  int64_t step;  // bytes for each stretch of each group of columns

  Ahead(const FusedBlock& f, int64_t groups) : at(f.ahead), end(f.ahead + f.ahead_bytes) {
    const int64_t parts = groups * f.taps * ((words(f.type, f.k) + stretch - 1) / stretch);
    step = (f.ahead_bytes / line + parts - 1) / parts * line;
  }
  HWY_INLINE void prefetch() {
    const std::byte* stop = std::min(at + step, end);
    for (; at < stop; at += line) __builtin_prefetch(at, 0, 2);
  }
};

// Sums begin at 0. Without a bias, -0 is added: it changes no value.
struct Constant {
  alignas(64) float v[gemm_block];
  constexpr explicit Constant(float x) : v() {
    for (float& value : v) value = x;
  }
};
constexpr Constant zeros(0.0f), no_bias(-0.0f);

constexpr int64_t rows_ahead = 2;  // groups of columns between the prefetch of an output's lines and their stores

// Lambdas over registers must be inlined whatever the compiler thinks of their size.
#define PANDO_REGISTERS HWY_ATTR __attribute__((always_inline))

// sum += column of R vectors of weights x word p of N inputs; the fewer of both wait in registers.
template <ProductType type, int R, int N>
HWY_INLINE void step(Vector (&sum)[R][N], const float* HWY_RESTRICT a, const float* const (&b)[N], int64_t p) {
  const Full d;
  if constexpr (R > N) {
    Vector x[N];
#pragma GCC unroll 16
    for (int j = 0; j < N; j++) x[j] = hn::Set(d, b[j][p]);
#pragma GCC unroll 16
    for (int r = 0; r < R; r++) {
      const Vector weight = hn::LoadU(d, a + r * lanes);
#pragma GCC unroll 16
      for (int j = 0; j < N; j++) sum[r][j] = multiply_add<type>(weight, x[j], sum[r][j]);
    }
  } else {
    Vector weight[R];
#pragma GCC unroll 16
    for (int r = 0; r < R; r++) weight[r] = hn::LoadU(d, a + r * lanes);
#pragma GCC unroll 16
    for (int j = 0; j < N; j++) {
      const Vector x = hn::Set(d, b[j][p]);
#pragma GCC unroll 16
      for (int r = 0; r < R; r++) sum[r][j] = multiply_add<type>(weight[r], x, sum[r][j]);
    }
  }
}

// Lines of N rows of R vectors, which come from L3 or memory while the sums are computed.
template <int R, int N>
HWY_INLINE void prefetch_rows(const float* row, int64_t stride) {
#pragma GCC unroll 16
  for (int j = 0; j < N; j++)
#pragma GCC unroll 16
    for (int64_t c = 0; c < R * lanes; c += floats_of_line) __builtin_prefetch(row + j * stride + c);
}

// R vectors of channels from `channel` on for `groups` groups of N columns from column j0 on.
template <ProductType type, int R, int N>
void fused_tile(const EpilogueArgs& e, const FusedBlock& f, int64_t channel, int64_t j0, int64_t groups,
                Ahead& ahead_args) {
  const Full d;
  // Copies, since the compiler must think that stores of vectors change anything in memory.
  const int64_t y_stride = f.y_stride, residual_stride = f.residual_stride, taps = f.taps, k = words(type, f.k),
                begin = words(type, f.begin), column_stride = f.column_stride;
  const float* const weights = static_cast<const float*>(f.weights) + channel;
  const void* const* columns = f.columns + j0;
  float* y = f.y + j0 * y_stride + channel;
  const float* residual = f.residual ? f.residual + j0 * residual_stride + channel : nullptr;
  const float* from = f.begin_sums ? f.begin_sums + j0 * gemm_block + channel : zeros.v;
  const int64_t from_stride = f.begin_sums ? gemm_block : 0;
  float* to = f.sums ? f.sums + j0 * gemm_block + channel : nullptr;
  const float* bias = f.bias ? f.bias + channel : no_bias.v;  // read where all its vectors are whole
  const Activation how = e.code ? Activation::none : e.activation;
  const bool whole = f.channels - channel >= R * lanes;
  Ahead ahead = ahead_args;

  for (; groups > 0; groups--) {
    Vector sum[R][N];
    const auto each = [&](const auto& g) PANDO_REGISTERS {
#pragma GCC unroll 16
      for (int j = 0; j < N; j++)
#pragma GCC unroll 16
        for (int r = 0; r < R; r++) g(sum[r][j], r, j);
    };
    each([&](Vector& s, int r, int j) PANDO_REGISTERS { s = hn::LoadU(d, from + j * from_stride + r * lanes); });
    from += N * from_stride;
    if (to == nullptr) {
      prefetch_rows<R, N>(y + rows_ahead * N * y_stride, y_stride);
      if (residual) prefetch_rows<R, N>(residual + rows_ahead * N * residual_stride, residual_stride);
    }

    const float* HWY_RESTRICT a = weights;
    const void* const* column = columns;
    for (int64_t t = 0; t < taps; t++, column += column_stride) {
      const float* b[N];
#pragma GCC unroll 16
      for (int j = 0; j < N; j++) b[j] = static_cast<const float*>(column[j]) + begin;
      for (int64_t p = 0; p < k;) {
        ahead.prefetch();
        const int64_t end = std::min(p + stretch, k);
        for (; p < end; p++, a += gemm_block) step<type, R, N>(sum, a, b, p);
      }
    }
    columns += N;

    if (to != nullptr) {
      each([&](Vector& s, int r, int j) PANDO_REGISTERS { hn::StoreU(s, d, to + j * gemm_block + r * lanes); });
      to += N * gemm_block;
      continue;
    }
    if (HWY_LIKELY(whole)) {
      const auto end = [&](auto activation) PANDO_REGISTERS {
        EpilogueArgs known;
        known.activation = activation;
        known.residual_last = e.residual_last;
        known.lo = e.lo;
        known.hi = e.hi;
        known.slope = e.slope;
        each([&](Vector& s, int r, int j) PANDO_REGISTERS {
          const Vector v = hn::Add(s, hn::LoadU(d, bias + r * lanes));
          const float* add = residual ? residual + j * residual_stride + r * lanes : nullptr;
          hn::StoreU(finish(d, known, add, v), d, y + j * y_stride + r * lanes);
        });
      };
      switch (how) {
        case Activation::none: end(std::integral_constant<Activation, Activation::none>()); break;
        case Activation::relu: end(std::integral_constant<Activation, Activation::relu>()); break;
        case Activation::clip: end(std::integral_constant<Activation, Activation::clip>()); break;
        case Activation::leaky_relu: end(std::integral_constant<Activation, Activation::leaky_relu>()); break;
      }
    } else {  // a vector may reach past the last channel
      HWY_ALIGN float sums[N * gemm_block];
      each([&](Vector& s, int r, int j) PANDO_REGISTERS { hn::Store(s, d, sums + j * gemm_block + r * lanes); });
      finish_block(e, {sums, gemm_block, y, y_stride, residual, residual_stride, f.bias ? bias : nullptr, N,
                       f.channels - channel});
    }
    y += N * y_stride;
    if (residual) residual += N * residual_stride;
  }
  ahead_args = ahead;
}

using TileFn = void (*)(const EpilogueArgs&, const FusedBlock&, int64_t, int64_t, int64_t, Ahead&);
template <ProductType type, int R, int... N>
TileFn columns_tile(int n, std::integer_sequence<int, N...>) {
  static constexpr TileFn tiles[] = {fused_tile<type, R, N + 1>...};
  return tiles[n - 1];
}
template <ProductType type, int R>
TileFn columns_tile(int64_t n) {
  return columns_tile<type, R>(static_cast<int>(n), std::make_integer_sequence<int, max_columns(R)>());
}

template <ProductType type>
void fused_as(const EpilogueArgs& e, const FusedBlock& f) {
  for (int64_t channel = 0; channel < f.channels;) {
    const int64_t vectors = std::min<int64_t>((f.channels - channel + lanes - 1) / lanes, max_vectors);
    const auto each_group = [&](auto R) HWY_ATTR {
      // Groups of columns as alike as can be: none is left with too few chains to hide the latency of fma.
      const int64_t groups = (f.n + max_columns(R) - 1) / max_columns(R), size = f.n / groups, longer = f.n % groups;
      const TileFn large = columns_tile<type, R>(size + (longer > 0)), small = columns_tile<type, R>(size);
      Ahead ahead(f, groups);
      large(e, f, channel, 0, longer, ahead);
      small(e, f, channel, longer * (size + 1), groups - longer, ahead);
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

void Fused(const EpilogueArgs& e, const FusedBlock& f) {
#if HWY_TARGET == HWY_AVX3
  if (f.type == ProductType::bf16) return fused_as<ProductType::bf16>(e, f);
#endif
  fused_as<ProductType::f32>(e, f);
}

void ToBf16(const float* from, int64_t n, uint16_t* to) {
#if HWY_TARGET == HWY_AVX3
  const Full d;
  int64_t i = 0;
  for (; i + 2 * lanes <= n; i += 2 * lanes) {
    auto both = hn::LoadU(d, from + i + lanes);
    const auto low = hn::LoadU(d, from + i);
    asm("vcvtne2ps2bf16 %1, %0, %0" : "+v"(both.raw) : "v"(low.raw));
    hn::StoreU(hn::BitCast(hn::Repartition<uint16_t, Full>(), both), hn::Repartition<uint16_t, Full>(), to + i);
  }
  for (; i < n; i++) {
    float one = from[i];
    asm("vcvtneps2bf16 %0, %0" : "+x"(one));
    std::memcpy(to + i, &one, sizeof *to);
  }
#else
  (void)from, (void)n, (void)to;
#endif
}

}  // namespace pando::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pando::kernels {

HWY_EXPORT(Fused);
HWY_EXPORT(ToBf16);

void to_bf16(const float* from, int64_t n, uint16_t* to) { HWY_DYNAMIC_DISPATCH(ToBf16)(from, n, to); }

void fused_block(const EpilogueArgs& epilogue, const FusedBlock& block) {
  HWY_DYNAMIC_DISPATCH(Fused)(epilogue, block);
}

}  // namespace pando::kernels
#endif
