#include "kernels/gemm/integer_dots.hpp"

#include <cstring>

#include "base/cpu.hpp"
#include "base/sanitizer.hpp"

#if defined(__x86_64__)
// Conversions in gcc's header take an undefined vector, of which nothing is kept.
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#include <immintrin.h>
#endif

namespace pando::kernels {

#if defined(__x86_64__) && !defined(PANDO_NO_JIT)

// Highway's targets with VNNI want more than VNNI: its functions are compiled here by attribute.
#define PANDO_VNNI __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni")))

namespace {

constexpr int max_columns = 10;  // 20 sums, 2 vectors of weights, and room for the values of columns

// What follows the sums of a column.
struct Ends {
  __m512 scale_low, scale_high, lo, hi;
  __m512i zero;
  __mmask32 some;

  PANDO_VNNI explicit Ends(const IntegerBlock& b) {
    const Requantize& r = *b.requantize;
    some = b.channels >= 32 ? ~uint32_t{0} : (uint32_t{1} << b.channels) - 1;
    const auto first = static_cast<__mmask16>(some), second = static_cast<__mmask16>(some >> 16);
    scale_low = r.scale_stride ? _mm512_maskz_loadu_ps(first, r.scale) : _mm512_set1_ps(*r.scale);
    scale_high = r.scale_stride ? _mm512_maskz_loadu_ps(second, r.scale + 16) : scale_low;
    lo = _mm512_set1_ps(r.lo - r.zero), hi = _mm512_set1_ps(r.hi - r.zero);
    zero = _mm512_set1_epi32(static_cast<int32_t>(r.zero));
  }
  PANDO_VNNI __m512i whole(__m512i sum, __m512 scale) const {
    const __m512 v = _mm512_mul_ps(_mm512_cvtepi32_ps(sum), scale);
    return _mm512_add_epi32(_mm512_cvtps_epi32(_mm512_min_ps(_mm512_max_ps(v, lo), hi)), zero);
  }
  PANDO_VNNI void store(__m512i low, __m512i high, std::byte* y) const {
    const __m128i first = _mm512_cvtepi32_epi8(whole(low, scale_low)),
                  second = _mm512_cvtepi32_epi8(whole(high, scale_high));
    const __m256i bytes = _mm256_inserti128_si256(_mm256_castsi128_si256(first), second, 1);
    if (some == ~uint32_t{0}) _mm256_storeu_si256(reinterpret_cast<__m256i*>(y), bytes);
    else _mm256_mask_storeu_epi8(y, some, bytes);
  }
};

// All 32 channels for N columns from j on.
template <int N>
PANDO_VNNI void tile(const IntegerBlock& b, int64_t j) {
  __m512i low[N], high[N];
#pragma GCC unroll 16
  for (int c = 0; c < N; c++) {
    low[c] = _mm512_loadu_si512(b.start);
    high[c] = _mm512_loadu_si512(b.start + 16);
  }
  const auto* w = reinterpret_cast<const char*>(b.weights);
  const void* const* column = b.columns + j;
  for (int64_t t = 0; t < b.taps; t++, column += b.column_stride) {
    const std::byte* x[N];
#pragma GCC unroll 16
    for (int c = 0; c < N; c++) x[c] = static_cast<const std::byte*>(column[c]);
    for (int64_t p = 0; p < b.k; p += 4, w += 128) {
      const __m512i first = _mm512_loadu_si512(w), second = _mm512_loadu_si512(w + 64);
#pragma GCC unroll 16
      for (int c = 0; c < N; c++) {
        int32_t four;
        std::memcpy(&four, x[c] + p, sizeof four);
        const __m512i value = _mm512_set1_epi32(four);
        low[c] = _mm512_dpbusd_epi32(low[c], value, first);
        high[c] = _mm512_dpbusd_epi32(high[c], value, second);
      }
    }
  }
  if (b.requantize) {
    const Ends e(b);
#pragma GCC unroll 16
    for (int c = 0; c < N; c++) e.store(low[c], high[c], b.y + (j + c) * b.y_stride);
    return;
  }
#pragma GCC unroll 16
  for (int c = 0; c < N; c++) {
    _mm512_storeu_si512(b.sums + (j + c) * integer_block, low[c]);
    _mm512_storeu_si512(b.sums + (j + c) * integer_block + 16, high[c]);
  }
}

template <int N>
void columns(const IntegerBlock& b, int64_t j, int64_t n) {
  if constexpr (N > 0) {
    if (n == N) return tile<N>(b, j);
    columns<N - 1>(b, j, n);
  }
}

}  // namespace

bool has_dots() {
  static const bool cpu = __builtin_cpu_supports("avx512vnni");
  return cpu && active_isa() == Isa::avx512;
}

void dots_block(const IntegerBlock& b) {
  // Groups of columns as alike as can be: none is left with too few sums to hide the latency.
  const int64_t groups = (b.n + max_columns - 1) / max_columns;
  for (int64_t g = 0; g < groups; g++) {
    const int64_t j = b.n * g / groups;
    columns<max_columns>(b, j, b.n * (g + 1) / groups - j);
  }
}

#else

bool has_dots() { return false; }
void dots_block(const IntegerBlock&) {}

#endif

}  // namespace pando::kernels
