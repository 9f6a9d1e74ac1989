// The fma peak of the core at hand: independent chains in registers.
#pragma once
#include <immintrin.h>
#include <time.h>

#include "base/cpu.hpp"

namespace pando::bench {

inline double thread_seconds() {
  timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

// 12 chains: latency times ports is at most 10 on x86 cores so far. Written in assembly, so that no build option can
// spill the sums.
#define PANDO_FMA(n) "vfmadd213ps %13, %12, %" #n "\n"
#define PANDO_FMA_PEAK(name, isa, vector, set1)                                                                     \
  __attribute__((target(isa))) inline double name(double seconds) {                                                 \
    vector s0 = set1(1), s1 = s0, s2 = s0, s3 = s0, s4 = s0, s5 = s0, s6 = s0, s7 = s0, s8 = s0, s9 = s0, s10 = s0, \
           s11 = s0;                                                                                                \
    const vector factor = set1(1.0000001f), term = set1(1e-9f);                                                     \
    const double begin = thread_seconds();                                                                          \
    double elapsed = 0, flops = 0;                                                                                  \
    do {                                                                                                            \
      for (int i = 0; i < 20000; i++)                                                                               \
        asm volatile(PANDO_FMA(0) PANDO_FMA(1) PANDO_FMA(2) PANDO_FMA(3) PANDO_FMA(4) PANDO_FMA(5) PANDO_FMA(6)     \
                         PANDO_FMA(7) PANDO_FMA(8) PANDO_FMA(9) PANDO_FMA(10) PANDO_FMA(11)                         \
                     : "+v"(s0), "+v"(s1), "+v"(s2), "+v"(s3), "+v"(s4), "+v"(s5), "+v"(s6), "+v"(s7), "+v"(s8),    \
                       "+v"(s9), "+v"(s10), "+v"(s11)                                                               \
                     : "v"(factor), "v"(term));                                                                     \
      flops += 20000.0 * 12 * 2 * (sizeof(vector) / sizeof(float));                                                 \
      elapsed = thread_seconds() - begin;                                                                           \
    } while (elapsed < seconds);                                                                                    \
    return flops / elapsed / 1e9;                                                                                   \
  }
PANDO_FMA_PEAK(fma_peak_avx2, "avx2,fma", __m256, _mm256_set1_ps)
PANDO_FMA_PEAK(fma_peak_avx512, "avx512f", __m512, _mm512_set1_ps)
#undef PANDO_FMA_PEAK
#undef PANDO_FMA

inline double fma_peak_gflops(double seconds) {
  return active_isa() == Isa::avx512 ? fma_peak_avx512(seconds) : fma_peak_avx2(seconds);
}

}  // namespace pando::bench
