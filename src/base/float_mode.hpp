// The floating-point mode in which everything of ours is computed.
#pragma once
#include <cstdint>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace pando {

// For the object's life the calling thread computes as IEEE 754 has it by default: round to nearest, denormals kept, no
// traps, for vector and x87 instructions. Otherwise results, the folded constants of a model among them, would depend
// on what a caller has set. The caller's mode and exception flags are given back.
class ScopedFloatMode {
 public:
#if defined(__x86_64__)
  ScopedFloatMode() : vector_(_mm_getcsr()) {
    asm volatile("fnstcw %0" : "=m"(x87_));
    set(0x1f80, 0x037f);
  }
  ~ScopedFloatMode() { set(vector_, x87_); }
#else
  ScopedFloatMode() {}
#endif
  ScopedFloatMode(const ScopedFloatMode&) = delete;
  ScopedFloatMode& operator=(const ScopedFloatMode&) = delete;

 private:
#if defined(__x86_64__)
  static void set(unsigned vector, uint16_t x87) {
    _mm_setcsr(vector);
    asm volatile("fldcw %0" : : "m"(x87));
  }
  unsigned vector_;
  uint16_t x87_;
#endif
};

}  // namespace pando
