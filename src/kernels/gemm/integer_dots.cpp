#include "kernels/gemm/integer_dots.hpp"

#include <cstring>

#include "base/cpu.hpp"
#include "base/sanitizer.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace pando::kernels {

#if defined(__x86_64__) && !defined(PANDO_NO_JIT)

// Highway's targets with VNNI want more than VNNI: its functions are compiled here by attribute.
#define PANDO_VNNI __attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni")))

namespace {

constexpr int max_columns = 10;  // 20 sums, 2 vectors of weights, and room for the values of columns

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
