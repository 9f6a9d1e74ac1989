// Products of blocked weights with rows rounded to 8 bits, by AVX-512 with VNNI.
#include <cstring>

#include "base/sanitizer.hpp"
#include "kernels/gemm/blocked.hpp"
#include "kernels/gemm/integer_dots.hpp"

#if defined(__x86_64__) && !defined(PANDO_NO_JIT)
// Conversions in gcc's header take an undefined vector, of which nothing is kept.
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#include <immintrin.h>

namespace pando::kernels {
namespace {

#define PANDO_VNNI __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni")))

// sums[R][32]; rows from `first` on.
template <int R, int bits>
PANDO_VNNI void tile(const BlockedWeights& w, const ByteRows& rows, int64_t first, int64_t column, float* sums) {
  const int64_t blocks = w.format.blocks(w.k), size = w.format.size;
  const __m512i mask = _mm512_set1_epi8(15);
  __m512 total[R][2];
#pragma GCC unroll 8
  for (int r = 0; r < R; r++) total[r][0] = total[r][1] = _mm512_setzero_ps();
  const std::byte* at = w.data + column * w.column_bytes();
  for (int64_t block = 0; block < blocks; block++, at += w.block_bytes()) {
    const int8_t* x = rows.codes + (first * blocks + block) * size;
    const std::byte* words = at + gemm_block * (sizeof(float) + 1);
    __m512i sum[R][2];
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) sum[r][0] = sum[r][1] = _mm512_setzero_si512();
    const auto multiply = [&](__m512i low, __m512i high, int64_t k) __attribute__((always_inline)) PANDO_VNNI {
#pragma GCC unroll 8
      for (int r = 0; r < R; r++) {
        int32_t four;
        std::memcpy(&four, x + r * blocks * size + k, sizeof four);
        const __m512i values = _mm512_set1_epi32(four);
        sum[r][0] = _mm512_dpbusd_epi32(sum[r][0], low, values);
        sum[r][1] = _mm512_dpbusd_epi32(sum[r][1], high, values);
      }
    };
    for (int64_t k = 0; k < size; k += 32 / bits, words += 128) {
      const __m512i low = _mm512_loadu_si512(words), high = _mm512_loadu_si512(words + 64);
      _mm_prefetch(reinterpret_cast<const char*>(words) + 1024, _MM_HINT_T0);
      _mm_prefetch(reinterpret_cast<const char*>(words) + 1088, _MM_HINT_T0);
      if constexpr (bits == 8) {
        multiply(low, high, k);
      } else {
        multiply(_mm512_and_si512(low, mask), _mm512_and_si512(high, mask), k);
        multiply(_mm512_and_si512(_mm512_srli_epi16(low, 4), mask), _mm512_and_si512(_mm512_srli_epi16(high, 4), mask),
                 k + 4);
      }
    }
#pragma GCC unroll 8
    for (int v = 0; v < 2; v++) {
      const __m512 scale = _mm512_loadu_ps(at + v * 64);
      const auto* zeros = reinterpret_cast<const __m128i*>(at + gemm_block * sizeof(float) + v * 16);
      const __m512 zero = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(zeros)));
#pragma GCC unroll 8
      for (int r = 0; r < R; r++) {
        const int64_t i = (first + r) * blocks + block;
        const __m512 centred = _mm512_fnmadd_ps(zero, _mm512_set1_ps(rows.sum[i]), _mm512_cvtepi32_ps(sum[r][v]));
        total[r][v] = _mm512_fmadd_ps(_mm512_mul_ps(scale, _mm512_set1_ps(rows.scale[i])), centred, total[r][v]);
      }
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; r++) {
    _mm512_storeu_ps(sums + r * gemm_block, total[r][0]);
    _mm512_storeu_ps(sums + r * gemm_block + 16, total[r][1]);
  }
}

template <int bits>
void sums_as(const BlockedWeights& w, const ByteRows& rows, int64_t first, int64_t count, int64_t column, float* sums) {
  switch (count) {
    case 1: return tile<1, bits>(w, rows, first, column, sums);
    case 2: return tile<2, bits>(w, rows, first, column, sums);
    case 3: return tile<3, bits>(w, rows, first, column, sums);
    default: return tile<4, bits>(w, rows, first, column, sums);
  }
}

}  // namespace

void byte_sums(const BlockedWeights& w, const ByteRows& rows, int64_t first, int64_t count, int64_t column,
               float* sums) {
  if (w.format.bits == 4) sums_as<4>(w, rows, first, count, column, sums);
  else sums_as<8>(w, rows, first, count, column, sums);
}

}  // namespace pando::kernels

#else

namespace pando::kernels {
void byte_sums(const BlockedWeights&, const ByteRows&, int64_t, int64_t, int64_t, float*) {}
}  // namespace pando::kernels

#endif
