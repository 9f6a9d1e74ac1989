// What workers ask of the operating system and the CPU: futex, affinity, signals, clock.
#pragma once
#include <sched.h>
#include <signal.h>

#include <atomic>
#include <cstdint>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace pando::runtime {

uint64_t now_ns();  // CLOCK_MONOTONIC

// Sleeps while `word` holds `value`, at most `ns` when that is not 0; may return early.
void futex_wait(std::atomic<uint32_t>& word, uint32_t value, uint64_t ns = 0);
// Wakes at most `count` sleepers. Only the address is used: the word may be gone already.
void futex_wake(std::atomic<uint32_t>& word, int count);

inline void pause_cpu() {
#if defined(__x86_64__)
  _mm_pause();
#endif
}

// Where the system refuses it, the calling thread runs as before.
void bind_thread_to(int cpu);

// What a thread hands down to the threads and processes that it starts.
struct ThreadMasks {
  sigset_t signals;
  cpu_set_t cpus;
  static ThreadMasks of_this_thread();
};

// Names the calling thread and binds it to `cpu` when that is not negative. The process's signals are left to the
// user's threads; those that an instruction of the thread itself causes reach the handlers as everywhere.
void set_up_worker_thread(int number, int cpu);

// For the object's life the calling worker has the masks of the thread that made the engine: code of the user may start
// threads and processes. Some microseconds.
class ScopedUserMasks {
 public:
  ScopedUserMasks(const ThreadMasks& user, int worker_cpu);
  ~ScopedUserMasks();
  ScopedUserMasks(const ScopedUserMasks&) = delete;
  ScopedUserMasks& operator=(const ScopedUserMasks&) = delete;

 private:
  sigset_t saved_;
  const int cpu_;
};

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

}  // namespace pando::runtime
