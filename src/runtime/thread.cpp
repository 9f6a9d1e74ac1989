#include "runtime/thread.hpp"

#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cstdio>

namespace pando::runtime {

uint64_t now_ns() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<uint64_t>(t.tv_sec) * 1000000000u + static_cast<uint64_t>(t.tv_nsec);
}

void futex_wait(std::atomic<uint32_t>& word, uint32_t value) {
  static_assert(sizeof(word) == sizeof(uint32_t));
  syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, value, nullptr, nullptr, 0);
}

void futex_wake(std::atomic<uint32_t>& word, int count) {
  syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, count, nullptr, nullptr, 0);
}

void set_up_worker_thread(int number, int cpu) {
  sigset_t all;
  sigfillset(&all);
  sigdelset(&all, SIGPROF);  // profilers sample by it
  pthread_sigmask(SIG_BLOCK, &all, nullptr);
  char name[16];
  std::snprintf(name, sizeof name, "pando-%d", number);
  pthread_setname_np(pthread_self(), name);
  if (cpu < 0) return;
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  pthread_setaffinity_np(pthread_self(), sizeof set, &set);
}

ScopedAffinity::ScopedAffinity(int cpu) {
  if (cpu < 0 || sched_getaffinity(0, sizeof saved_, &saved_) != 0) return;
  if (!CPU_ISSET(cpu, &saved_) || CPU_COUNT(&saved_) == 1) return;
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  bound_ = sched_setaffinity(0, sizeof set, &set) == 0;
}

ScopedAffinity::~ScopedAffinity() {
  if (bound_) sched_setaffinity(0, sizeof saved_, &saved_);
}

}  // namespace pando::runtime
