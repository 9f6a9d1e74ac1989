// What the engine must not cost: heap allocations in a warm run, CPU time when idle.
#include <gtest/gtest.h>
#include <time.h>

#include <cstdlib>
#include <new>
#include <thread>

#include "runtime/checked_program.hpp"

namespace {

std::atomic<uint64_t> allocations{0};

}  // namespace

// noinline: or the compiler sees malloc's pointer go to delete and warns.
[[gnu::noinline]] void* operator new(size_t bytes) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  if (void* p = std::malloc(bytes)) return p;
  throw std::bad_alloc();
}
[[gnu::noinline]] void* operator new(size_t bytes, const std::nothrow_t&) noexcept {
  allocations.fetch_add(1, std::memory_order_relaxed);
  return std::malloc(bytes);
}
[[gnu::noinline]] void* operator new(size_t bytes, std::align_val_t alignment) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  auto align = static_cast<size_t>(alignment);
  if (void* p = std::aligned_alloc(align, (bytes + align - 1) / align * align)) return p;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* p) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, size_t) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, std::align_val_t) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, size_t, std::align_val_t) noexcept { std::free(p); }

namespace pando::runtime {
namespace {

TEST(Cost, WarmRunsAllocateNothing) {
  CheckedProgram program(1, {});
  for (int workers : {1, 2, 4}) {
    for (uint32_t capacity : {2u, 4096u}) {
      Engine engine({.workers = workers, .deque_capacity = capacity});
      for (bool trace : {false, true}) {
        CheckedRun run(engine, program, {.trace = trace});
        EXPECT_TRUE(run.run());
        uint64_t before = allocations;
        for (int i = 0; i < 50; i++) run.run();
        EXPECT_EQ(allocations, before);
      }
    }
  }
}

double process_cpu_ms() {
  timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) * 1e3 + static_cast<double>(t.tv_nsec) * 1e-6;
}

TEST(Cost, IdleWorkersBurnNoCpu) {
  CheckedProgram program(1, {});
  for (int workers : {2, 16}) {
    Engine engine({.workers = workers});
    CheckedRun run(engine, program);
    for (int i = 0; i < 20; i++) run.run();
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    double before = process_cpu_ms();
    std::this_thread::sleep_for(std::chrono::seconds(1));
    EXPECT_LT(process_cpu_ms() - before, sanitized ? 1000.0 : 1.0);  // sanitizers have threads of their own
  }
}

}  // namespace
}  // namespace pando::runtime
