// What one run promises: every tile once and in order, cancellation, progress, traces, errors.
#include "runtime/engine.hpp"

#include <gtest/gtest.h>
#include <sched.h>

#include <future>
#include <thread>

#include "base/cpu.hpp"
#include "runtime/checked_program.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace pando::runtime {
namespace {

void no_kernel(const void*, const void*, const TileContext&) {}

TEST(Engine, RunsEveryTileAfterItsPredecessors) {
  CheckedProgram program(1, {});
  for (int workers : {1, 2, 3, 8, 16}) {
    Engine engine({.workers = workers});
    EXPECT_EQ(engine.workers(), workers);
    for (Policy policy : policies) {
      CheckedRun run(engine, program, {.policy = policy});
      for (int i = 0; i < 20; i++) EXPECT_TRUE(run.run());
    }
  }
  EXPECT_EQ(CheckedProgram::errors, 0);
}

TEST(Engine, DefaultIsOneWorkerPerAllowedCpu) { EXPECT_EQ(Engine().workers(), usable_cpus()); }

TEST(Engine, ProgramsWithoutTilesEnd) {
  Engine engine({.workers = 2});
  RunContext context(engine, ProgramBuilder().build(no_kernel), {});
  EXPECT_TRUE(engine.run(context, {}));
  std::promise<bool> cancelled;
  engine.submit(context, {}, [&](bool c) { cancelled.set_value(c); });
  EXPECT_FALSE(cancelled.get_future().get());
}

TEST(Engine, DeepAndWideEventsNeedNoStack) {
  ProgramBuilder builder;
  uint32_t node = builder.add_tile(1);
  for (int i = 0; i < 100000; i++) {  // a chain of events, expanded by one completion
    uint32_t event = builder.add_event();
    builder.add_edge(node, event);
    node = event;
  }
  for (int i = 0; i < 20000; i++) builder.add_edge(node, builder.add_tile(1));  // more than a deque holds
  Engine engine({.workers = 2});
  RunContext context(engine, builder.build(no_kernel), {});
  std::atomic<uint32_t> done{0};
  for (uint32_t i = 1; i <= 3; i++) {
    EXPECT_TRUE(engine.run(context, {.tiles_done = &done}));
    EXPECT_EQ(done, i * 20001);
  }
}

// With one worker the executed order is the one that the schedule's functions give when they are driven by hand.
TEST(Engine, OneWorkerFollowsTheSchedule) {
  for (uint32_t seed = 0; seed < 6; seed++) {
    CheckedProgram checked(seed, {.tiles = 300, .events = 0.2});
    const Program& p = *checked.program();
    Engine engine({.workers = 1});
    for (Policy policy : policies) {
      CheckedRun run(engine, checked, {.policy = policy, .trace = true});
      ASSERT_TRUE(run.run());
      std::vector<uint32_t> left = p.need, deque, ready, expected;
      for (uint32_t t = 0; t < p.tiles; t++)
        if (p.need[t] == 0) ready.push_back(t);
      while (!ready.empty() || !deque.empty()) {
        uint32_t tile = UINT32_MAX;
        if (!ready.empty()) {
          bool continues = order_ready(policy, ready, p.priority.data());
          if (continues) tile = ready[0];
          deque.insert(deque.end(), ready.begin() + continues, ready.end());
        }
        if (tile == UINT32_MAX) {
          auto place = takes_oldest(policy) ? deque.begin() : deque.end() - 1;
          tile = *place;
          deque.erase(place);
        }
        expected.push_back(tile);
        ready.clear();
        std::vector<uint32_t> nodes = {tile};
        while (!nodes.empty()) {
          uint32_t node = nodes.back();
          nodes.pop_back();
          for (uint32_t e = p.successor_begin[node]; e < p.successor_begin[node + 1]; e++)
            if (uint32_t s = p.successors[e]; --left[s] == 0) (s < p.tiles ? ready : nodes).push_back(s);
        }
      }
      std::vector<uint32_t> executed;
      for (const TraceSlice& slice : run.context().trace()) executed.push_back(slice.tile);
      EXPECT_EQ(executed, expected) << name_of(policy);
    }
  }
}

TEST(Engine, CancelIsHonouredWithinATile) {
  static CancelToken token;
  static std::atomic<int> executed;
  ProgramBuilder builder;
  for (uint32_t i = 0; i < 400; i++) {
    builder.add_tile(1);
    if (i >= 4) builder.add_edge(i - 4, i);  // four chains
  }
  auto program = builder.build([](const void*, const void*, const TileContext&) {
    if (++executed == 50) token.cancel();
  });
  for (int workers : {1, 2, 4}) {
    Engine engine({.workers = workers});
    RunContext context(engine, program, {});
    executed = 0;
    token.reset();
    std::atomic<uint32_t> done{0};
    EXPECT_FALSE(engine.run(context, {.cancel = &token, .tiles_done = &done}));
    EXPECT_GE(executed, 50);
    EXPECT_LT(executed, 50 + workers);
    EXPECT_EQ(done, static_cast<uint32_t>(executed));
    token.reset();
    EXPECT_TRUE(engine.run(context, {.cancel = &token}));
    EXPECT_GE(executed, 450);
  }
}

TEST(Engine, CancelAtAnyTimeLeavesTheContextAsNew) {
  CheckedProgram program(3, {.tiles = 400});
  for (int workers : {1, 2, 5}) {
    Engine engine({.workers = workers});
    CheckedRun run(engine, program, {.random_delay_us = 10});
    CancelToken before;
    before.cancel();
    EXPECT_FALSE(run.run(&before));
    for (int i = 0; i < 5; i++) {
      CancelToken token;
      std::thread canceller([&] {
        std::this_thread::sleep_for(std::chrono::microseconds(300 * i));
        token.cancel();
      });
      run.run(&token);  // may have ended before
      canceller.join();
      EXPECT_TRUE(run.run());
    }
  }
  EXPECT_EQ(CheckedProgram::errors, 0);
}

TEST(Engine, CountsFinishedTilesOnly) {
  ProgramBuilder builder;
  for (int i = 0; i < 100; i++) builder.add_tile(1);
  Engine engine({.workers = 2});
  RunContext context(engine, builder.build(no_kernel), {});
  CancelToken token;
  std::atomic<uint32_t> done{0};
  EXPECT_TRUE(engine.run(context, {.cancel = &token, .tiles_done = &done}));
  EXPECT_EQ(done, 100u);
  token.cancel();
  EXPECT_FALSE(engine.run(context, {.cancel = &token, .tiles_done = &done}));
  EXPECT_EQ(done, 100u);
}

TEST(Engine, TraceTellsWhoReadiedAndRanEachTile) {
  CheckedProgram checked(4, {.tiles = 300, .events = 0.2});
  const Program& p = *checked.program();
  for (int workers : {1, 2, 4}) {
    Engine engine({.workers = workers});
    CheckedRun run(engine, checked, {.trace = true, .random_delay_us = 3});
    for (int round = 0; round < 3; round++) {
      ASSERT_TRUE(run.run());
      auto trace = run.context().trace();
      ASSERT_EQ(trace.size(), p.tiles);
      std::vector<const TraceSlice*> of(p.tiles);
      uint64_t busy = 0, stolen = 0;
      for (size_t i = 0; i < trace.size(); i++) {
        EXPECT_LE(trace[i].begin_ns, trace[i].end_ns);
        EXPECT_LE(trace[i - (i > 0)].begin_ns, trace[i].begin_ns);
        EXPECT_LT(trace[i].worker, workers);
        of[trace[i].tile] = &trace[i];
        busy += trace[i].end_ns - trace[i].begin_ns;
        stolen += trace[i].stolen;
      }
      for (uint32_t t = 0; t < p.tiles; t++) {
        ASSERT_NE(of[t], nullptr);
        ASSERT_EQ(of[t]->readied_by == UINT32_MAX, p.need[t] == 0);
        EXPECT_TRUE(p.need[t] == 0 || of[of[t]->readied_by]->end_ns <= of[t]->begin_ns);
      }
      EXPECT_EQ(run.context().stats().busy_ns, busy);
      EXPECT_EQ(run.context().stats().steals, stolen);
      EXPECT_TRUE(workers > 1 || stolen == 0);
    }
  }
}

TEST(Engine, TestOptionsReplaceKernels) {
  ProgramBuilder builder;
  for (int i = 0; i < 50; i++) builder.add_tile(1);
  static std::atomic<int> calls;
  calls = 0;
  auto program = builder.build([](const void*, const void*, const TileContext&) { calls++; });
  Engine engine({.workers = 1});
  RunContext empty(engine, program, {.empty_kernels = true}), spin(engine, program, {.spin_kernels_us = 40});
  EXPECT_TRUE(engine.run(empty, {}));
  auto begin = std::chrono::steady_clock::now();
  EXPECT_TRUE(engine.run(spin, {}));
  EXPECT_GE(std::chrono::steady_clock::now() - begin, std::chrono::microseconds(50 * 40));
  EXPECT_EQ(calls, 0);
}

TEST(Engine, SubmitTellsTheEnd) {
  CheckedProgram program(5, {});
  Engine engine({.workers = 2});
  CheckedRun run(engine, program);
  for (int i = 0; i < 30; i++) {
    std::promise<bool> cancelled;
    run.submit([&](bool c) { cancelled.set_value(c); });
    EXPECT_FALSE(cancelled.get_future().get());
    run.check();
  }
  CancelToken token;
  token.cancel();
  std::promise<bool> cancelled;
  run.submit([&](bool c) { cancelled.set_value(c); }, &token);
  EXPECT_TRUE(cancelled.get_future().get());
}

TEST(Engine, DoneMaySubmitAgain) {
  CheckedProgram program(6, {.tiles = 100});
  Engine engine({.workers = 1});
  CheckedRun run(engine, program);
  std::promise<void> over;
  int left = 50;
  std::function<void(bool)> again = [&](bool) {
    run.check();
    if (--left > 0) run.submit(again);
    else over.set_value();
  };
  run.submit(again);
  over.get_future().get();
  EXPECT_EQ(left, 0);
}

TEST(Engine, EndWaitsForRunsInFlight) {
  CheckedProgram program(7, {.tiles = 200});
  for (int i = 0; i < 10; i++) {
    std::atomic<int> ended{0};
    {
      Engine engine({.workers = 3});
      std::vector<std::unique_ptr<CheckedRun>> runs;
      for (int r = 0; r < 4; r++) {
        runs.push_back(std::make_unique<CheckedRun>(engine, program, RunContext::Options{.random_delay_us = 5}));
        runs.back()->submit([&](bool) { ended++; });
      }
      runs.clear();  // a context's end waits for its run
    }
    EXPECT_EQ(ended, 4);
  }
}

std::atomic<bool> gate;
void wait_at_gate(const void*, const void*, const TileContext&) {
  while (!gate) std::this_thread::yield();
}

TEST(Engine, RefusesMisuse) {
  CheckedProgram program(8, {.tiles = 100});
  Engine engine({.workers = 1}), other({.workers = 1});
  CheckedRun run(engine, program, {.random_delay_us = 100});
  EXPECT_THROW(engine.run(run.context(), {}), Error);  // no inputs
  EXPECT_THROW(other.run(run.context(), {}), Error);
  ProgramBuilder builder;
  builder.add_tile(1);
  RunContext held(engine, builder.build(wait_at_gate), {});
  gate = false;
  engine.submit(held, {}, {});  // keeps the worker: the next run stays in flight
  std::promise<void> ended;
  run.submit([&](bool) { ended.set_value(); });
  const std::byte* in[1] = {};
  std::byte* out[1] = {};
  EXPECT_THROW(engine.run(run.context(), {.inputs = in, .outputs = out}), Error);
  gate = true;
  ended.get_future().get();
  run.check();
  EXPECT_THROW(Engine({.workers = -1}), Error);
  EXPECT_THROW(Engine({.workers = 1 << 20}), Error);
  EXPECT_THROW(Engine({.spin_us = -1}), Error);
}

TEST(Engine, RefusesBrokenPrograms) {
  Engine engine({.workers = 1});
  auto broken = [&](auto&& change) {
    ProgramBuilder builder;
    uint32_t a = builder.add_tile(1), e = builder.add_event(), b = builder.add_tile(1);
    builder.add_edge(a, e);
    builder.add_edge(e, b);
    std::shared_ptr<Program> p = builder.build(no_kernel);
    RunContext fine(engine, p, {});
    change(*p);
    EXPECT_THROW(RunContext(engine, p, {}), Error);
  };
  broken([](Program& p) { p.need[1] = 2; });
  broken([](Program& p) { p.successors[0] = 9; });
  broken([](Program& p) { p.successors[1] = 0, p.need = {1, 0, 1}; });  // a cycle
  broken([](Program& p) { p.events = 2; });
  broken([](Program& p) { p.code[1].kernel = 1; });
  broken([](Program& p) { p.code[1].tile = 1000; });
  broken([](Program& p) { p.successor_begin = {0, 0, 1, 2}, p.need = {0, 1, 1}, p.successors = {2, 1}; });
}

#if defined(__x86_64__)
TEST(Engine, TilesSeeOneFloatModeAndTheCallerKeepsHis) {
  static std::atomic<int> others;
  others = 0;
  ProgramBuilder builder;
  for (int i = 0; i < 200; i++) builder.add_tile(1);
  auto program = builder.build([](const void*, const void*, const TileContext&) {
    if ((_mm_getcsr() & ~0x3fu) != 0x1f80) others++;
  });
  Engine engine({.workers = 2});
  RunContext context(engine, program, {});
  unsigned before = _mm_getcsr();
  _mm_setcsr(0x1f80 | 0x8040);  // flush to zero, denormals are zero
  EXPECT_TRUE(engine.run(context, {}));
  EXPECT_EQ(_mm_getcsr(), 0x1f80u | 0x8040u);
  _mm_setcsr(before);
  EXPECT_EQ(others, 0);
}
#endif

TEST(Engine, CallerKeepsItsAffinity) {
  ProgramBuilder builder;
  for (int i = 0; i < 20; i++) builder.add_tile(1);
  Engine engine;
  RunContext context(engine, builder.build(no_kernel), {});
  cpu_set_t before, after;
  sched_getaffinity(0, sizeof before, &before);
  EXPECT_TRUE(engine.run(context, {}));
  sched_getaffinity(0, sizeof after, &after);
  EXPECT_TRUE(CPU_EQUAL(&before, &after));
}

}  // namespace
}  // namespace pando::runtime
