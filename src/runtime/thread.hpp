// What workers ask of the operating system and the CPU: futex, affinity, clock, floating-point mode.
#pragma once
#include <sched.h>

#include <atomic>
#include <cstdint>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace pando::runtime {

uint64_t now_ns();  // CLOCK_MONOTONIC

// Sleeps while `word` holds `value`; may return early.
void futex_wait(std::atomic<uint32_t>& word, uint32_t value);
// Wakes at most `count` sleepers. Only the address is used: the word may be gone already.
void futex_wake(std::atomic<uint32_t>& word, int count);

inline void pause_cpu() {
#if defined(__x86_64__)
  _mm_pause();
#endif
}

// Names the calling thread, keeps the process's signal handlers off it, and binds it to `cpu` when that is not
// negative.
void set_up_worker_thread(int number, int cpu);

// Binds the calling thread to `cpu` for the object's life. Does nothing when `cpu` is negative or outside the thread's
// mask (somebody chose that mask), or when the thread is bound to it already. About 5 us, 0.3 us when already bound.
class ScopedAffinity {
 public:
  explicit ScopedAffinity(int cpu);
  ~ScopedAffinity();
  ScopedAffinity(const ScopedAffinity&) = delete;
  ScopedAffinity& operator=(const ScopedAffinity&) = delete;

 private:
  cpu_set_t saved_;
  bool bound_ = false;
};

// The same floating-point mode on every thread that runs tiles: round to nearest, denormals kept, no traps. Otherwise
// results would depend on who runs a tile.
class ScopedFloatMode {
 public:
#if defined(__x86_64__)
  ScopedFloatMode() : saved_(_mm_getcsr()) { _mm_setcsr(0x1f80); }
  ~ScopedFloatMode() { _mm_setcsr(saved_); }
#else
  ScopedFloatMode() {}
#endif
  ScopedFloatMode(const ScopedFloatMode&) = delete;
  ScopedFloatMode& operator=(const ScopedFloatMode&) = delete;

 private:
#if defined(__x86_64__)
  unsigned saved_;
#endif
};

}  // namespace pando::runtime
