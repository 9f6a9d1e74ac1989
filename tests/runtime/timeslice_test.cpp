// A worker that shares its CPU notices it.
#include "runtime/timeslice.hpp"

#include <gtest/gtest.h>
#include <sched.h>

#include <atomic>
#include <thread>

#include "runtime/thread.hpp"

namespace pando::runtime {
namespace {

TEST(Timeslice, EndsWhereAnotherThreadWantsTheCpu) {
  const int cpu = sched_getcpu();
  ASSERT_GE(cpu, 0);
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> turns{0};
  std::thread rival([&] {
    ScopedAffinity bound(cpu);
    while (!stop.load(std::memory_order_relaxed)) turns.fetch_add(1, std::memory_order_relaxed);
  });
  {
    ScopedAffinity bound(cpu);
    Timeslice slice;
    uint32_t tiles = 0;
    // Two busy threads on one CPU: one of them is taken off it within the first few time slices.
    for (int given = 0; given < 3;) {
      if (!slice.is_over(++tiles)) continue;
      slice.give_way();
      given++;
    }
  }
  stop = true;
  rival.join();
  EXPECT_GT(turns.load(), 0u);
}

}  // namespace
}  // namespace pando::runtime
