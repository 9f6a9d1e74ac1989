// Many runs, contexts, threads and cancellations at once. Meant for a thread sanitizer as much as for themselves.
#include <gtest/gtest.h>

#include <future>
#include <thread>

#include "runtime/checked_program.hpp"
#include "runtime/thread.hpp"

namespace pando::runtime {
namespace {

class Stress : public testing::TestWithParam<int> {};

TEST_P(Stress, RandomGraphsPoliciesDelaysAndTinyDeques) {
  std::mt19937 random(static_cast<uint32_t>(GetParam()));
  for (uint32_t capacity : {2u, 8u, 4096u}) {
    Engine engine({.workers = GetParam(), .spin_us = capacity == 8 ? 0.0 : 20.0, .deque_capacity = capacity});
    for (int round = 0; round < 4; round++) {
      GraphShape shape{.tiles = static_cast<uint32_t>(1 + random() % 1500), .events = round % 2 ? 0.3 : 0.05};
      shape.window = 1 + random() % 200;
      shape.max_edges = 1 + random() % 6;
      shape.roots = round == 3 ? 0.9 : 0.02;
      shape.scratch_bytes = random() % 3000;
      CheckedProgram program(random(), shape);
      for (Policy policy : policies) {
        RunContext::Options options{.policy = policy};
        options.random_delay_us = random() % 3 == 0 ? 3 : 0;
        options.trace = random() % 4 == 0;
        CheckedRun run(engine, program, options);
        for (int i = 0; i < 3; i++) EXPECT_TRUE(run.run());
      }
    }
  }
  EXPECT_EQ(CheckedProgram::errors, 0);
}

TEST_P(Stress, ManyContextsFromManyThreads) {
  Engine engine({.workers = GetParam(), .deque_capacity = GetParam() % 2 ? 4096u : 16u});
  std::vector<std::unique_ptr<CheckedProgram>> programs;
  for (uint32_t s = 0; s < 4; s++)
    programs.push_back(std::make_unique<CheckedProgram>(
        s, GraphShape{.tiles = 100 + 150 * s, .events = 0.15, .scratch_bytes = size_t{512} << s}));
  auto user = [&](uint32_t seed) {
    std::mt19937 random(seed);
    for (int contexts = 0; contexts < 5; contexts++) {  // new ones while others run: memory grows under way
      RunContext::Options options{.policy = policies[random() % 3]};
      if (random() % 3 == 0) options.random_delay_us = 2;
      CheckedRun a(engine, *programs[random() % 4], options), b(engine, *programs[random() % 4], options);
      for (int i = 0; i < 6; i++) {
        CancelToken token;
        std::promise<bool> ended;
        b.submit([&](bool cancelled) { ended.set_value(cancelled); }, random() % 2 ? &token : nullptr);
        bool cancel_a = random() % 4 == 0, cancel_b = random() % 3 == 0;
        if (cancel_b) token.cancel();
        CancelToken token_a;
        std::thread canceller;
        if (cancel_a) canceller = std::thread([&] { token_a.cancel(); });
        EXPECT_TRUE(a.run(cancel_a ? &token_a : nullptr) || cancel_a);
        if (cancel_a) canceller.join();
        if (!ended.get_future().get()) b.check();
      }
    }
  };
  std::vector<std::thread> users;
  for (uint32_t u = 0; u < 4; u++) users.emplace_back(user, u);
  for (std::thread& u : users) u.join();
  EXPECT_EQ(CheckedProgram::errors, 0);
}

// Workers park and are woken all the time: a lost wake-up would hang.
TEST_P(Stress, WakeUpsAreNotLost) {
  CheckedProgram program(11, {.tiles = 30, .window = 8});
  Engine engine({.workers = GetParam(), .spin_us = 0});
  CheckedRun run(engine, program), submitted(engine, program);
  for (int i = 0; i < (sanitized ? 300 : 2000); i++) {
    if (i % 3 == 0) {
      std::promise<void> ended;
      submitted.submit([&](bool) { ended.set_value(); });
      if (i % 2) run.run();
      ended.get_future().get();
      submitted.check();
    } else {
      EXPECT_TRUE(run.run());
    }
  }
  EXPECT_EQ(CheckedProgram::errors, 0);
}

INSTANTIATE_TEST_SUITE_P(Workers, Stress, testing::Values(1, 2, 3, 5, 16));

// A short run that comes while a long one has the only worker ends first; and the long one ends under a stream of
// others.
TEST(Fairness, NeitherNewNorOldRunsStarve) {
  CheckedProgram large(1, {.tiles = 3000}), small(2, {.tiles = 40});
  Engine engine({.workers = 1});
  CheckedRun old_run(engine, large, {.random_delay_us = 40});
  std::atomic<bool> old_ended{false}, stop{false};
  std::promise<void> ended;
  {
    // Judged where the new run ends: this thread may be late.
    CheckedRun new_run(engine, small);
    std::promise<bool> new_ended;
    old_run.submit([&](bool) {
      old_ended = true;
      ended.set_value();
    });
    new_run.submit([&](bool) { new_ended.set_value(old_ended); });
    EXPECT_FALSE(new_ended.get_future().get());
  }
  std::vector<std::thread> stream;
  for (int t = 0; t < 3; t++)
    stream.emplace_back([&] {
      CheckedRun run(engine, small, {.random_delay_us = 20});
      while (!stop) run.run();
    });
  EXPECT_EQ(ended.get_future().wait_for(std::chrono::seconds(60)), std::future_status::ready);
  stop = true;
  for (std::thread& t : stream) t.join();
}

// Tiles of models in flight beside each other, which spin for a while; counts of them.
template <int model>
struct Spinning {
  static inline std::atomic<int> tiles_run{0};
  static std::shared_ptr<const Program> program(int tiles) {
    ProgramBuilder builder;
    for (int i = 0; i < tiles; i++) builder.add_tile(1);
    return builder.build([](const void*, const void*, const TileContext&) {
      const uint64_t end = now_ns() + 100'000;
      while (now_ns() < end) pause_cpu();
      tiles_run++;
    });
  }
};

// Served within a turn, however many tiles of others are ready; by count of the others' tiles.
TEST(Fairness, ANewModelIsServedAtOnce) {
  for (int workers : {1, 2}) {
    Engine engine({.workers = workers});
    RunContext large(engine, Spinning<0>::program(3000), {}), small(engine, Spinning<1>::program(2), {});
    Spinning<0>::tiles_run = 0;
    std::promise<void> large_ended, small_ended;
    engine.submit(large, {}, [&](bool) { large_ended.set_value(); });
    while (Spinning<0>::tiles_run < 50) std::this_thread::yield();
    int before = Spinning<0>::tiles_run, after = 0;
    engine.submit(small, {}, [&](bool) {
      after = Spinning<0>::tiles_run;
      small_ended.set_value();
    });
    small_ended.get_future().get();
    EXPECT_LE(after - before, 100) << workers;  // a turn is 5 tiles; the thread that submits may be late
    EXPECT_LT(after, 3000);
    large_ended.get_future().get();
  }
}

// A model that always has a run in flight and one with two get the same time.
TEST(Fairness, ModelsShareTimeWhateverTheirRuns) {
  Engine engine({.workers = 2});
  auto many = Spinning<2>::program(500), one = Spinning<3>::program(7);
  RunContext a(engine, many, {}), b(engine, many, {}), c(engine, one, {});
  Spinning<2>::tiles_run = Spinning<3>::tiles_run = 0;
  std::atomic<bool> stop{false};
  std::atomic<int> in_flight{3};
  std::function<void(RunContext&)> endless = [&](RunContext& context) {
    engine.submit(context, {}, [&](bool) {
      if (stop) in_flight--;
      else endless(context);
    });
  };
  for (RunContext* context : {&a, &b, &c}) endless(*context);
  while (Spinning<2>::tiles_run + Spinning<3>::tiles_run < 6000) std::this_thread::yield();
  stop = true;
  const double share = Spinning<3>::tiles_run / (1.0 * Spinning<2>::tiles_run + Spinning<3>::tiles_run);
  EXPECT_GT(share, 0.3);  // 7 tiles of 100 us, then a new run must be met: a little less than half
  EXPECT_LT(share, 0.6);
  while (in_flight > 0) std::this_thread::yield();
}

}  // namespace
}  // namespace pando::runtime
