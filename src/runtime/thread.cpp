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

void futex_wait(std::atomic<uint32_t>& word, uint32_t value, uint64_t ns) {
  static_assert(sizeof(word) == sizeof(uint32_t));
  const timespec most{static_cast<time_t>(ns / 1000000000), static_cast<long>(ns % 1000000000)};
  syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, value, ns > 0 ? &most : nullptr, nullptr, 0);
}

void futex_wake(std::atomic<uint32_t>& word, int count) {
  syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, count, nullptr, nullptr, 0);
}

void bind_thread_to(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  pthread_setaffinity_np(pthread_self(), sizeof set, &set);
}

ThreadMasks ThreadMasks::of_this_thread() {
  ThreadMasks masks;
  pthread_sigmask(SIG_SETMASK, nullptr, &masks.signals);
  if (sched_getaffinity(0, sizeof masks.cpus, &masks.cpus) != 0) CPU_ZERO(&masks.cpus);
  return masks;
}

void set_up_worker_thread(int number, int cpu) {
  sigset_t blocked;
  sigfillset(&blocked);
  for (int synchronous : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS}) sigdelset(&blocked, synchronous);
  sigdelset(&blocked, SIGABRT);
  sigdelset(&blocked, SIGPROF);  // profilers sample by it
  pthread_sigmask(SIG_BLOCK, &blocked, nullptr);
  char name[16];
  std::snprintf(name, sizeof name, "pando-%d", number);
  pthread_setname_np(pthread_self(), name);
  if (cpu >= 0) bind_thread_to(cpu);
}

ScopedUserMasks::ScopedUserMasks(const ThreadMasks& user, int worker_cpu) : cpu_(worker_cpu) {
  pthread_sigmask(SIG_SETMASK, &user.signals, &saved_);
  if (cpu_ >= 0) pthread_setaffinity_np(pthread_self(), sizeof user.cpus, &user.cpus);
}

ScopedUserMasks::~ScopedUserMasks() {
  if (cpu_ >= 0) bind_thread_to(cpu_);
  pthread_sigmask(SIG_SETMASK, &saved_, nullptr);
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
