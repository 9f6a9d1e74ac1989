// Compiled once per vector target; the form `dots` is in integer_dots.cpp.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/gemm/integer.cpp"
#include "kernels/simd.hpp"
// foreach_target.h must come before highway.h
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cstring>

#include "kernels/gemm/integer.hpp"
#include "kernels/gemm/integer_dots.hpp"

HWY_BEFORE_NAMESPACE();
namespace pando::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using DI = hn::ScalableTag<int32_t>;
using DF = hn::ScalableTag<float>;
constexpr int64_t lanes = static_cast<int64_t>(hn::MaxLanes(DI()));
// Vectors of channels, and columns, of the sums held in registers.
constexpr int vectors = static_cast<int>(HWY_MIN(integer_block / lanes, 4));
constexpr int max_columns = vectors == 2 ? 8 : 3;

// Elsewhere than on x86 half of the products go to the second sum, below.
#if HWY_TARGET == HWY_SCALAR || !HWY_ARCH_X86

void Pairs(const IntegerBlock& b) {
  for (int64_t j = 0; j < b.n; j++)
    for (int64_t i = 0; i < integer_block; i++) {
      auto sum = static_cast<uint32_t>(b.start[i]);  // wraps around
      const auto* w = reinterpret_cast<const int16_t*>(b.weights) + 2 * i;
      for (int64_t t = 0; t < b.taps; t++) {
        const auto* x = static_cast<const int16_t*>(b.columns[t * b.column_stride + j]);
        for (int64_t p = 0; p < b.k; p += 2, w += 2 * integer_block)
          sum += static_cast<uint32_t>(x[p] * w[0] + x[p + 1] * w[1]);
      }
      b.sums[j * integer_block + i] = static_cast<int32_t>(sum);
    }
}

#else

// Channels from `channel` on for N columns from j on.
template <int N>
void pairs_tile(const IntegerBlock& b, int64_t channel, int64_t j) {
  const DI d;
  const hn::Repartition<int16_t, DI> d16;
  hn::Vec<DI> sum[vectors][N];
#pragma GCC unroll 8
  for (int r = 0; r < vectors; r++)
#pragma GCC unroll 8
    for (int c = 0; c < N; c++) sum[r][c] = hn::LoadU(d, b.start + channel + r * lanes);
  const auto* w = reinterpret_cast<const int16_t*>(b.weights) + 2 * channel;
  const void* const* column = b.columns + j;
  for (int64_t t = 0; t < b.taps; t++, column += b.column_stride) {
    const int16_t* x[N];
#pragma GCC unroll 8
    for (int c = 0; c < N; c++) x[c] = static_cast<const int16_t*>(column[c]);
    for (int64_t p = 0; p < b.k; p += 2, w += 2 * integer_block) {
      hn::Vec<decltype(d16)> weight[vectors];
#pragma GCC unroll 8
      for (int r = 0; r < vectors; r++) weight[r] = hn::LoadU(d16, w + 2 * r * lanes);
#pragma GCC unroll 8
      for (int c = 0; c < N; c++) {
        int32_t pair;
        std::memcpy(&pair, x[c] + p, sizeof pair);
        const auto value = hn::BitCast(d16, hn::Set(d, pair));
#pragma GCC unroll 8
        for (int r = 0; r < vectors; r++) {
          auto unused = hn::Zero(d);
          sum[r][c] = hn::ReorderWidenMulAccumulate(d, weight[r], value, sum[r][c], unused);
        }
      }
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < vectors; r++)
#pragma GCC unroll 8
    for (int c = 0; c < N; c++) hn::StoreU(sum[r][c], d, b.sums + (j + c) * integer_block + channel + r * lanes);
}

template <int N>
void rest(const IntegerBlock& b, int64_t channel, int64_t j) {
  if constexpr (N > 0) {
    if (b.n - j == N) return pairs_tile<N>(b, channel, j);
    rest<N - 1>(b, channel, j);
  }
}

void Pairs(const IntegerBlock& b) {
  for (int64_t channel = 0; channel < b.channels; channel += vectors * lanes) {
    int64_t j = 0;
    for (; j + max_columns <= b.n; j += max_columns) pairs_tile<max_columns>(b, channel, j);
    rest<max_columns - 1>(b, channel, j);
  }
}

#endif

// Rounding by adding 1.5 * 2^23, where float32 has whole numbers only: the low bits are the number, ties go to even.
void RequantizeRows(const Requantize& how, const int32_t* sums, int64_t rows, int64_t channels, std::byte* y,
                    int64_t stride) {
  const DI di;
  const DF d;
  const hn::RebindToUnsigned<DI> du;
  const hn::Rebind<uint8_t, DI> bytes;
  constexpr float magic = 12582912.0f;
  const auto lo = hn::Set(d, how.lo - how.zero), hi = hn::Set(d, how.hi - how.zero), whole_numbers = hn::Set(d, magic);
  const auto zero = hn::Set(du, static_cast<uint32_t>(static_cast<int32_t>(how.zero)));
  alignas(64) float scale[integer_block];
  for (int64_t c = 0; c < integer_block; c++) scale[c] = how.scale[how.scale_stride * std::min(c, channels - 1)];
  const int64_t whole = channels / lanes * lanes;
  for (int64_t r = 0; r < rows; r++, sums += integer_block, y += stride) {
    const auto convert = [&](int64_t c) HWY_ATTR {
      const auto v = hn::Mul(hn::ConvertTo(d, hn::LoadU(di, sums + c)), hn::LoadU(d, scale + c));
      const auto rounded = hn::Add(hn::Min(hn::Max(v, lo), hi), whole_numbers);
      return hn::TruncateTo(bytes, hn::Add(hn::BitCast(du, rounded), zero));
    };
    for (int64_t c = 0; c < whole; c += lanes) hn::StoreU(convert(c), bytes, reinterpret_cast<uint8_t*>(y) + c);
    if (whole == channels) continue;
    HWY_ALIGN uint8_t last[lanes];
    hn::StoreU(convert(whole), bytes, last);
    std::memcpy(y + whole, last, static_cast<size_t>(channels - whole));
  }
}

void FloatRows(const int32_t* sums, int64_t rows, int64_t channels, float* y, int64_t stride) {
  const DI di;
  const DF d;
  for (int64_t r = 0; r < rows; r++, sums += integer_block, y += stride) {
    int64_t c = 0;
    for (; c + lanes <= channels; c += lanes) hn::StoreU(hn::ConvertTo(d, hn::LoadU(di, sums + c)), d, y + c);
    for (; c < channels; c++) y[c] = static_cast<float>(sums[c]);
  }
}

void FlipSigns(const std::byte* x, int64_t n, uint8_t* to) {
  const hn::ScalableTag<uint8_t> d;
  const int64_t step = static_cast<int64_t>(hn::Lanes(d));
  const auto* from = reinterpret_cast<const uint8_t*>(x);
  int64_t i = 0;
  for (; i + step <= n; i += step) hn::StoreU(hn::Xor(hn::LoadU(d, from + i), hn::Set(d, uint8_t{0x80})), d, to + i);
  for (; i < n; i++) to[i] = static_cast<uint8_t>(from[i] ^ 0x80);
}

template <class X, class To>
void widen_row(const X* x, int32_t zero, int64_t n, To* to) {
  int64_t i = 0;
#if HWY_TARGET != HWY_SCALAR
  using D = hn::ScalableTag<To>;
  const D d;
  const hn::Rebind<X, D> bytes;
  const int64_t step = static_cast<int64_t>(hn::Lanes(d));
  const auto less = hn::Set(d, static_cast<To>(zero));
  for (; i + step <= n; i += step) {
    const auto v = hn::LoadU(bytes, x + i);
    if constexpr (sizeof(To) == 2) hn::StoreU(hn::Sub(hn::PromoteTo(d, v), less), d, to + i);
    else hn::StoreU(hn::Sub(hn::ConvertTo(d, hn::PromoteTo(hn::RebindToSigned<D>(), v)), less), d, to + i);
  }
#endif
  for (; i < n; i++) to[i] = static_cast<To>(x[i] - zero);
}
void Widen16(const std::byte* x, bool is_signed, int32_t zero, int64_t n, int16_t* to) {
  if (is_signed) widen_row(reinterpret_cast<const int8_t*>(x), zero, n, to);
  else widen_row(reinterpret_cast<const uint8_t*>(x), zero, n, to);
}
void WidenFloat(const std::byte* x, bool is_signed, int32_t zero, int64_t n, float* to) {
  if (is_signed) widen_row(reinterpret_cast<const int8_t*>(x), zero, n, to);
  else widen_row(reinterpret_cast<const uint8_t*>(x), zero, n, to);
}

void SumsOfFloats(const float* from, int64_t from_stride, int64_t rows, int64_t channels, const int32_t* bias,
                  int32_t* sums) {
  const DI di;
  const DF d;
  for (int64_t r = 0; r < rows; r++, from += from_stride, sums += integer_block) {
    int64_t c = 0;
    for (; c + lanes <= channels; c += lanes)
      hn::StoreU(hn::Add(hn::ConvertTo(di, hn::LoadU(d, from + c)), hn::LoadU(di, bias + c)), di, sums + c);
    for (; c < channels; c++)
      sums[c] =
          static_cast<int32_t>(static_cast<uint32_t>(static_cast<int32_t>(from[c])) + static_cast<uint32_t>(bias[c]));
  }
}

}  // namespace pando::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pando::kernels {

HWY_EXPORT(Pairs);
HWY_EXPORT(RequantizeRows);
HWY_EXPORT(FloatRows);
HWY_EXPORT(FlipSigns);
HWY_EXPORT(Widen16);
HWY_EXPORT(WidenFloat);
HWY_EXPORT(SumsOfFloats);

void flip_signs(const std::byte* x, int64_t n, uint8_t* to) { HWY_DYNAMIC_DISPATCH(FlipSigns)(x, n, to); }
void widen_bytes(const std::byte* x, bool is_signed, int32_t zero, int64_t n, int16_t* to) {
  HWY_DYNAMIC_DISPATCH(Widen16)(x, is_signed, zero, n, to);
}
void widen_bytes(const std::byte* x, bool is_signed, int32_t zero, int64_t n, float* to) {
  HWY_DYNAMIC_DISPATCH(WidenFloat)(x, is_signed, zero, n, to);
}
void sums_of_floats(const float* from, int64_t from_stride, int64_t rows, int64_t channels, const int32_t* bias,
                    int32_t* sums) {
  HWY_DYNAMIC_DISPATCH(SumsOfFloats)(from, from_stride, rows, channels, bias, sums);
}

IntegerForm integer_form() { return has_dots() ? IntegerForm::dots : IntegerForm::pairs; }

size_t integer_weights_bytes(IntegerForm form, int64_t co, int64_t taps, int64_t k) {
  const int64_t blocks = (co + integer_block - 1) / integer_block;
  return static_cast<size_t>(blocks * integer_block * taps * padded_k(form, k) * integer_value_bytes(form));
}

void pack_integer_weights(IntegerForm form, const IntegerWeights& from, int64_t co, int64_t taps, int64_t k,
                          std::byte* to) {
  const int64_t group = integer_group(form), depth = padded_k(form, k);
  std::fill_n(to, integer_weights_bytes(form, co, taps, k), std::byte{0});
  for (int64_t o = 0; o < co; o++)
    for (int64_t t = 0; t < taps; t++)
      for (int64_t p = 0; p < k; p++) {
        const int8_t w = from.w[o * from.stride_o + t * from.stride_t + p * from.stride_p];
        const int64_t at = (o / integer_block * taps + t) * depth * integer_block +
                           (p / group * integer_block + o % integer_block) * group + p % group;
        if (form == IntegerForm::dots) reinterpret_cast<int8_t*>(to)[at] = w;
        else reinterpret_cast<int16_t*>(to)[at] = w;
      }
}

void integer_block_sums(IntegerForm form, const IntegerBlock& block) {
  if (form == IntegerForm::dots) dots_block(block);
  else HWY_DYNAMIC_DISPATCH(Pairs)(block);
}

void requantize_rows(const Requantize& how, const int32_t* sums, int64_t rows, int64_t channels, std::byte* y,
                     int64_t stride) {
  HWY_DYNAMIC_DISPATCH(RequantizeRows)(how, sums, rows, channels, y, stride);
}

void float_rows(const int32_t* sums, int64_t rows, int64_t channels, float* y, int64_t stride) {
  HWY_DYNAMIC_DISPATCH(FloatRows)(sums, rows, channels, y, stride);
}

}  // namespace pando::kernels
#endif
