// Pipelines of equal stages against the papers' formulas.
#include "plan/simulate/pipeline.hpp"

#include <gtest/gtest.h>

#include "base/error.hpp"

namespace pando::plan {
namespace {

PipelineTimeline run(Schedule schedule, uint32_t devices, uint32_t micro_batches, uint32_t chunks = 1,
                     uint32_t iterations = 1) {
  // 840 has many divisors: a device's work is the same however many chunks it is cut into.
  PipelineStage stage{840 / chunks, 1680 / chunks, 0};
  return simulate_pipeline(std::vector<PipelineStage>(devices * chunks, stage),
                           {schedule, micro_batches, chunks, iterations});
}

TEST(PipelineSchedule, IdleShareOfEqualStages) {
  for (uint32_t s : {1u, 2u, 4u, 7u})
    for (uint32_t m : {1u, 3u, 4u, 8u, 17u})
      for (Schedule schedule : {Schedule::fill_drain, Schedule::one_f_one_b}) {
        PipelineTimeline t = run(schedule, s, m);
        EXPECT_EQ(t.makespan_ns, 2520 * (m + s - 1)) << name_of(schedule) << s << " " << m;
        EXPECT_NEAR(t.idle_share(), (s - 1.0) / (m + s - 1.0), 1e-12);
        for (uint32_t d = 0; d < s; d++)
          EXPECT_EQ(t.in_flight[d], schedule == Schedule::fill_drain ? m : std::min(s - d, m));
      }
}

TEST(PipelineSchedule, ChunksShrinkTheIdleShare) {
  for (uint32_t s : {2u, 4u, 8u})
    for (uint32_t groups : {1u, 2u, 5u})
      for (uint32_t v : {1u, 2u, 4u}) {
        PipelineTimeline t = run(Schedule::interleaved, s, s * groups, v);
        EXPECT_EQ(t.makespan_ns * v, 2520 * (v * s * groups + s - 1)) << s << " " << groups << " " << v;
        EXPECT_NEAR(t.idle_share(), (s - 1.0) / (v * s * groups + s - 1.0), 1e-12);
      }
}

TEST(PipelineSchedule, WithoutPausesNobodyIsIdle) {
  for (Schedule schedule : {Schedule::two_buffered, Schedule::delayed_gradients})
    for (uint32_t s : {2u, 4u, 6u}) {
      PipelineTimeline t = run(schedule, s, 2 * s, 1, 4);
      EXPECT_NEAR(t.steady_idle_share(), 0, 1e-12) << name_of(schedule) << s;
      EXPECT_LT(t.idle_share(), 4 * run(Schedule::one_f_one_b, s, 2 * s).idle_share());
      EXPECT_EQ(t.in_flight[0], schedule == Schedule::two_buffered ? s : 2 * s - 1);
    }
}

TEST(PipelineSchedule, TransfersAndUnequalStages) {
  // Two stages, one micro-batch: forward 10, transfer 3, forward 20, backward 40, transfer 3, backward 20.
  PipelineTimeline t = simulate_pipeline({{10, 20, 3}, {20, 40, 0}}, {Schedule::one_f_one_b, 1, 1, 1});
  EXPECT_EQ(t.makespan_ns, 96);
  Schedule parsed;
  EXPECT_TRUE(parse("1f1b", parsed));
  EXPECT_EQ(parsed, Schedule::one_f_one_b);
  EXPECT_FALSE(parse("2f2b", parsed));
  EXPECT_THROW(run(Schedule::interleaved, 4, 6, 2), Error);
  EXPECT_THROW(simulate_pipeline({}, {}), Error);
}

}  // namespace
}  // namespace pando::plan
