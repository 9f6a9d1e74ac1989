#include "kernels/gemm/blocked.hpp"

#include <algorithm>

#include "kernels/gemm/pass.hpp"
#include "kernels/simd.hpp"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/gemm/blocked.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace pando::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using Full = hn::ScalableTag<float>;
using Word = hn::ScalableTag<uint32_t>;
using Vector = hn::Vec<Full>;
constexpr int lanes = static_cast<int>(hn::MaxLanes(Full()));

template <int bits>
constexpr int codes_of_word = 32 / bits;

// Calls f(0), .., f(n - 1) with constants, as shifts want them.
template <int n, class F>
HWY_INLINE void each(F f) {
  [&]<int... i>(std::integer_sequence<int, i...>) { (f(std::integral_constant<int, i>()), ...); }
  (std::make_integer_sequence<int, n>());
}

// Code j of every word, as a number.
template <int bits, int j>
HWY_INLINE Vector code(hn::Vec<Word> words, Vector numbers) {
  constexpr int shift = bits == 8 ? 8 * j : j % 4 * 8 + j / 4 * 4;
  const auto moved = hn::ShiftRight<shift>(words);
#if HWY_TARGET == HWY_AVX3
  // The lowest 4 bits of a word choose one of sixteen numbers: no mask, no conversion.
  if constexpr (bits == 4) return hn::TableLookupLanes(numbers, hn::Indices512<float>{moved.raw});
#endif
  (void)numbers;
  const auto low = hn::And(moved, hn::Set(Word(), bits == 4 ? 15 : 255));
  return hn::ConvertTo(Full(), hn::BitCast(hn::RebindToSigned<Full>(), low));
}
HWY_INLINE Vector load_zeros(const std::byte* zeros) {
  const hn::Rebind<uint8_t, Full> d8;
  const auto wide = hn::PromoteTo(hn::RebindToSigned<Full>(), hn::LoadU(d8, reinterpret_cast<const uint8_t*>(zeros)));
  return hn::ConvertTo(Full(), wide);
}

// Where the parts of a block of 32 channels lie.
struct BlockAt {
  const float* scale;
  const std::byte* zero;
  const uint32_t* words;
  explicit BlockAt(const std::byte* at)
      : scale(reinterpret_cast<const float*>(at)),
        zero(at + gemm_block * sizeof(float)),
        words(reinterpret_cast<const uint32_t*>(zero + gemm_block)) {}
};

// sums[B][R][32] of R rows of `a` (whole blocks, one after the other) and B column blocks from w on.
template <int R, int B, int bits>
void sums_of_rows(const BlockedWeights& w, const std::byte* first, const float* a, const float* totals, float* sums) {
  const Full d;
  constexpr int vectors = HWY_MIN(gemm_block / lanes, HWY_MAX(8 / (R * B), 1)), step = codes_of_word<bits>;
  constexpr int64_t ahead = 1024;
  const int64_t blocks = w.format.blocks(w.k), size = w.format.size, length = blocks * size;
  const Vector numbers = hn::Iota(d, 0);
  std::fill_n(sums, B * R * gemm_block, 0.0f);
  for (int64_t block = 0; block < blocks; block++)
    for (int c = 0; c < gemm_block; c += vectors * lanes) {
      Vector sum[B][R][vectors];
#pragma GCC unroll 16
      for (int b = 0; b < B; b++)
#pragma GCC unroll 16
        for (int r = 0; r < R; r++)
#pragma GCC unroll 16
          for (int v = 0; v < vectors; v++) sum[b][r][v] = hn::Zero(d);
      const float* x = a + block * size;
      for (int64_t k = 0; k < size; k += step) {
        hn::Vec<Word> words[B][vectors];
#pragma GCC unroll 16
        for (int b = 0; b < B; b++) {
          const BlockAt at(first + b * w.column_bytes() + block * w.block_bytes());
          const uint32_t* from = at.words + k / step * gemm_block + c;
          __builtin_prefetch(reinterpret_cast<const std::byte*>(from) + ahead);
          if (vectors * lanes > 16) __builtin_prefetch(reinterpret_cast<const std::byte*>(from) + ahead + 64);
#pragma GCC unroll 16
          for (int v = 0; v < vectors; v++) words[b][v] = hn::LoadU(Word(), from + v * lanes);
        }
        each<step>([&](auto j) HWY_ATTR __attribute__((always_inline)) {
          Vector value[R];
#pragma GCC unroll 16
          for (int r = 0; r < R; r++) value[r] = hn::Set(d, x[r * length + k + j]);
#pragma GCC unroll 16
          for (int b = 0; b < B; b++)
#pragma GCC unroll 16
            for (int v = 0; v < vectors; v++) {
              const Vector weight = code<bits, j>(words[b][v], numbers);
#pragma GCC unroll 16
              for (int r = 0; r < R; r++) sum[b][r][v] = hn::MulAdd(weight, value[r], sum[b][r][v]);
            }
        });
      }
#pragma GCC unroll 16
      for (int b = 0; b < B; b++) {
        const BlockAt at(first + b * w.column_bytes() + block * w.block_bytes());
#pragma GCC unroll 16
        for (int v = 0; v < vectors; v++) {
          const Vector scale = hn::LoadU(d, at.scale + c + v * lanes), zero = load_zeros(at.zero + c + v * lanes);
#pragma GCC unroll 16
          for (int r = 0; r < R; r++) {
            float* to = sums + (b * R + r) * gemm_block + c + v * lanes;
            const Vector centred = hn::NegMulAdd(zero, hn::Set(d, totals[r * blocks + block]), sum[b][r][v]);
            hn::StoreU(hn::MulAdd(scale, centred, hn::LoadU(d, to)), d, to);
          }
        }
      }
    }
}

template <int bits>
void sums_as(const BlockedWeights& w, const std::byte* first, int rows, int columns, const float* a,
             const float* totals, float* sums) {
  switch (rows) {
    case 1:
      return columns == 2 ? sums_of_rows<1, 2, bits>(w, first, a, totals, sums)
                          : sums_of_rows<1, 1, bits>(w, first, a, totals, sums);
    case 2: return sums_of_rows<2, 1, bits>(w, first, a, totals, sums);
    case 3: return sums_of_rows<3, 1, bits>(w, first, a, totals, sums);
    default: return sums_of_rows<4, 1, bits>(w, first, a, totals, sums);
  }
}

void FloatSums(const BlockedWeights& w, int64_t column, int rows, int columns, const float* a, const float* totals,
               float* sums) {
  const std::byte* first = w.data + column * w.column_bytes();
  if (w.format.bits == 4) sums_as<4>(w, first, rows, columns, a, totals, sums);
  else sums_as<8>(w, first, rows, columns, a, totals, sums);
}

template <int bits>
void unpack_as(const BlockedWeights& w, int64_t column, float* to) {
  const Full d;
  const Vector numbers = hn::Iota(d, 0);
  constexpr int step = codes_of_word<bits>;
  for (int64_t block = 0; block < w.format.blocks(w.k); block++) {
    const BlockAt at(w.data + column * w.column_bytes() + block * w.block_bytes());
    const int64_t begin = block * w.format.size, end = std::min(begin + w.format.size, w.k);
    for (int c = 0; c < gemm_block; c += lanes) {
      const Vector scale = hn::LoadU(d, at.scale + c), zero = load_zeros(at.zero + c);
      for (int64_t k = begin; k < end; k += step) {
        const auto words = hn::LoadU(Word(), at.words + (k - begin) / step * gemm_block + c);
        each<step>([&](auto j) HWY_ATTR __attribute__((always_inline)) {
          const Vector value = hn::Mul(hn::Sub(code<bits, j>(words, numbers), zero), scale);
          if (k + j < end) hn::StoreU(value, d, to + (k + j) * gemm_block + c);
        });
      }
    }
  }
}

void Unpack(const BlockedWeights& w, int64_t column, float* to) {
  if (w.format.bits == 4) unpack_as<4>(w, column, to);
  else unpack_as<8>(w, column, to);
}

// The vector of values k .. of a row, zeros from `left` values on.
HWY_INLINE Vector load_row(const float* row, int64_t stride, int64_t left) {
  const Full d;
  if (stride == 1 && left >= lanes) return hn::LoadU(d, row);
  HWY_ALIGN float values[lanes] = {};
  for (int64_t i = 0; i < std::min<int64_t>(left, lanes); i++) values[i] = row[i * stride];
  return hn::Load(d, values);
}

void RoundBlock(const float* x, int64_t stride, int64_t left, int64_t size, int8_t* codes, float* scale, float* sum) {
  const Full d;
  Vector largest = hn::Zero(d);
  for (int64_t k = 0; k < size; k += lanes)
    largest = hn::Max(largest, hn::Abs(load_row(x + k * stride, stride, left - k)));
  HWY_ALIGN float all[lanes];
  hn::Store(largest, d, all);
  const float most = *std::max_element(all, all + lanes);
  *scale = most / 127;
  const Vector by = hn::Set(d, most > 0 ? 127 / most : 0);
  int32_t total = 0;
  for (int64_t k = 0; k < size; k += lanes) {
    const auto whole = hn::NearestInt(hn::Mul(load_row(x + k * stride, stride, left - k), by));
    hn::StoreU(hn::DemoteTo(hn::Rebind<int8_t, Full>(), whole), hn::Rebind<int8_t, Full>(), codes + k);
  }
  for (int64_t k = 0; k < size; k++) total += codes[k];
  *sum = static_cast<float>(total);
}

}  // namespace pando::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pando::kernels {

HWY_EXPORT(FloatSums);
HWY_EXPORT(Unpack);
HWY_EXPORT(RoundBlock);

void unpack_column(const BlockedWeights& weights, int64_t column, float* to) {
  HWY_DYNAMIC_DISPATCH(Unpack)(weights, column, to);
}

void pack_blocked(const std::byte* rows, int64_t channels, float alpha, const BlockedWeights& to, std::byte* data) {
  const BlockFormat& f = to.format;
  const int64_t step = 32 / f.bits, row_bytes = f.row_bytes(to.k);
  std::memset(data, 0, static_cast<size_t>(to.bytes(channels)));
  for (int64_t channel = 0; channel < channels; channel++)
    for (int64_t block = 0; block < f.blocks(to.k); block++) {
      const CodedBlock from{rows + channel * row_bytes + block * f.block_bytes()};
      std::byte* at = data + channel / gemm_block * to.column_bytes() + block * to.block_bytes();
      const int64_t c = channel % gemm_block;
      const float scale = from.scale() * alpha;
      std::memcpy(at + c * static_cast<int64_t>(sizeof scale), &scale, sizeof scale);
      at += gemm_block * sizeof scale;
      at[c] = static_cast<std::byte>(from.zero());
      at += gemm_block;
      for (int64_t k = 0; k < f.size; k += step) {
        uint32_t word = 0;
        for (int64_t j = 0; j < step; j++) {
          const int64_t shift = f.bits == 8 ? 8 * j : j % 4 * 8 + j / 4 * 4;
          word |= static_cast<uint32_t>(from.code(f.bits, k + j)) << shift;
        }
        std::memcpy(at + (k / step * gemm_block + c) * static_cast<int64_t>(sizeof word), &word, sizeof word);
      }
    }
}

namespace {

constexpr int64_t rows_at_once = 4;

int64_t aligned(int64_t bytes) { return (bytes + 63) / 64 * 64; }

// Scratch: rows as values of `value_bytes`, in whole blocks; two floats for each of their blocks; sums.
struct Scratch {
  int64_t scale, sum, sums, end;
  Scratch(BlockedForm form, int64_t rows, const BlockedWeights& w) {
    const int64_t blocks = rows * w.format.blocks(w.k), value_bytes = form == BlockedForm::bytes ? 1 : 4;
    scale = aligned(blocks * w.format.size * value_bytes);
    sum = scale + aligned(blocks * 4);
    sums = sum + aligned(blocks * 4);
    end = sums + 2 * rows_at_once * gemm_block * 4;
  }
};

// Rows in whole blocks, and the sum of each block.
void copy_rows(const BlockedProduct& p, float* to, float* totals) {
  const int64_t size = p.weights.format.size, blocks = p.weights.format.blocks(p.weights.k);
  for (int64_t r = 0; r < p.rows; r++) {
    float* row = to + r * blocks * size;
    for (int64_t k = 0; k < p.weights.k; k++) row[k] = p.a[r * p.row_stride + k * p.k_stride];
    std::fill(row + p.weights.k, row + blocks * size, 0.0f);
    for (int64_t b = 0; b < blocks; b++) {
      float sum = 0;
      for (int64_t k = 0; k < size; k++) sum += row[b * size + k];
      totals[r * blocks + b] = sum;
    }
  }
}

}  // namespace

void round_rows(const BlockedProduct& p, const ByteRows& to) {
  const int64_t size = p.weights.format.size, blocks = p.weights.format.blocks(p.weights.k);
  for (int64_t r = 0; r < p.rows; r++)
    for (int64_t b = 0; b < blocks; b++) {
      const int64_t i = r * blocks + b, k = b * size;
      HWY_DYNAMIC_DISPATCH(RoundBlock)
      (p.a + r * p.row_stride + k * p.k_stride, p.k_stride, p.weights.k - k, size, to.codes + i * size, to.scale + i,
       to.sum + i);
    }
}

size_t blocked_scratch_bytes(BlockedForm form, int64_t rows, const BlockedWeights& weights) {
  return static_cast<size_t>(Scratch(form, rows, weights).end);
}

void blocked_product(BlockedForm form, const BlockedProduct& p, int64_t lo, int64_t hi, const EpilogueArgs& epilogue,
                     std::byte* scratch) {
  const Scratch at(form, p.rows, p.weights);
  auto* sums = reinterpret_cast<float*>(scratch + at.sums);
  const ByteRows bytes{reinterpret_cast<int8_t*>(scratch), reinterpret_cast<float*>(scratch + at.scale),
                       reinterpret_cast<float*>(scratch + at.sum)};
  auto* floats = reinterpret_cast<float*>(scratch);
  const int64_t blocks = p.weights.format.blocks(p.weights.k), length = blocks * p.weights.format.size;
  if (form == BlockedForm::bytes) round_rows(p, bytes);
  else copy_rows(p, floats, bytes.sum);
  for (int64_t channel = lo; channel < hi;) {
    // Two column blocks at a time where one row alone would wait for the latency of its few chains.
    const int columns = form == BlockedForm::floats && p.rows == 1 && hi - channel >= 2 * gemm_block ? 2 : 1;
    for (int64_t row = 0; row < p.rows; row += rows_at_once) {
      const int64_t rows = std::min(rows_at_once, p.rows - row);
      if (form == BlockedForm::bytes) byte_sums(p.weights, bytes, row, rows, channel / gemm_block, sums);
      else HWY_DYNAMIC_DISPATCH(FloatSums)
      (p.weights, channel / gemm_block, static_cast<int>(rows), columns, floats + row * length,
       bytes.sum + row * blocks, sums);
      for (int64_t c = channel; c < channel + columns * gemm_block; c += gemm_block)
        finish_block(epilogue, {sums + (c - channel) * rows, gemm_block, p.y + row * p.y_stride + c, p.y_stride,
                                p.residual ? p.residual + row * p.residual_stride + c : nullptr, p.residual_stride,
                                p.bias ? p.bias + c : nullptr, rows, std::min<int64_t>(gemm_block, hi - c)});
    }
    channel += columns * gemm_block;
  }
}

}  // namespace pando::kernels
#endif
