// Plans for little memory: the formula by hand and against all choices, what fits where keeping everything does not.
#include "plan/search/memory_plans.hpp"

#include <gtest/gtest.h>

#include "../plan/networks.hpp"
#include "plan/search/baselines.hpp"
#include "plan/search/search.hpp"

namespace pando::plan {
namespace {

Cluster equal_devices(int count, double host_gb_per_s) {
  Cluster c;
  c.kinds.push_back({"k", {}, 0, int64_t{1} << 40, 1, 1, 0, host_gb_per_s});
  c.kinds[0].machine.peak_gflops = 1000;
  c.kinds[0].machine.memory_gb_per_s = 1e6;
  c.devices.assign(static_cast<size_t>(count), {0, 0});
  c.network.inside = {100, 0, Sharing::port, false};
  connect(c);
  return c;
}

int dropped(const std::vector<Config>& configs) {
  int n = 0;
  for (const Config& c : configs) n += c.keep != Keep::keep;
  return n;
}

SearchOptions asking(const char* search, int64_t memory, bool any_sharding = true) {
  SearchOptions options;
  options.search = search;
  options.memory_limit = memory;
  options.any_sharding = any_sharding;
  options.control.budget_proposals = 100;
  return options;
}

// Dense layers of 256 x 256 with a batch of 4096: 0.25 MiB of weights, as much of gradients, 4 MiB of results each.
TEST(MemoryPlans, DropsAsManyResultsAsItMust) {
  Roofline costs;
  constexpr int layers = 6;
  constexpr int64_t mib = 1 << 20, room = 64 * mib, result = 4 * mib, weights = layers * mib / 2;
  Space space(dense_chain(layers, 4096, 256, true), equal_devices(1, 0));
  MemoryPlanner planner(space, costs, {}, room);
  MemoryPlan all = planner.choose(0, 0, room).value();
  EXPECT_TRUE(all.keeps_all);
  EXPECT_EQ(dropped(all.configs), 0);
  int kept = 0;  // what the loss needs is the loss's affair
  for (int64_t n = layers; n >= 0; n--) {
    MemoryPlan some = planner.choose(0, 0, weights + n * result + mib).value();
    EXPECT_GE(some.seconds, all.seconds);
    int now = dropped(some.configs);
    EXPECT_GE(now, kept);
    EXPECT_LE(now, kept + 1);
    EXPECT_EQ(some.keeps_all, now == 0);
    // 4096 x 256 x 256 multiplications and additions at 1000 GFLOP/s, again for each result.
    EXPECT_NEAR(some.seconds - all.seconds, now * 2 * 4096.0 * 256 * 256 * 1e-12, 1e-6 + 0.02 * all.seconds);
    kept = now;
  }
  EXPECT_GE(kept, layers - 1);
  EXPECT_FALSE(MemoryPlanner(space, costs, {}, mib).choose(0, 0, mib).has_value());  // states alone are more
}

TEST(MemoryPlans, OffloadsWhereThatIsFaster) {
  Roofline costs;
  for (double host : {1.0, 1e6}) {
    Space space(dense_chain(6, 4096, 256, true), equal_devices(1, host));
    MemoryPlanner planner(space, costs, {}, 64 << 20);
    int recomputed = 0, offloaded = 0;
    MemoryPlan leanest = planner.choose(0, 0, 0).value();
    for (const Config& c : leanest.configs) {
      recomputed += c.keep == Keep::recompute;
      offloaded += c.keep == Keep::offload;
    }
    EXPECT_EQ(recomputed > 0, host == 1);
    EXPECT_EQ(offloaded > 0, host > 1);
  }
}

// The best of all choices of keep and recompute by the simulator, memory kept, is not better than what is found but for
// rounding to steps.
TEST(MemoryPlans, CloseToAllChoices) {
  Roofline costs;
  Space space(dense_chain(4, 2048, 256, true), equal_devices(1, 0));
  std::vector<Config> configs = single_plan(space);
  Prediction kept = predict(space, costs, {}, configs);
  for (int percent : {95, 85, 75}) {
    int64_t limit = kept.memory[0].peak * percent / 100, best = std::numeric_limits<int64_t>::max();
    for (uint32_t set = 0; set < 1u << configs.size(); set++) {
      for (size_t o = 0; o < configs.size(); o++) configs[o].keep = set >> o & 1 ? Keep::recompute : Keep::keep;
      Prediction p = predict(space, costs, {}, configs);
      if (p.memory[0].peak <= limit) best = std::min(best, p.makespan_ns);
    }
    SearchResult found = search_plan(space, costs, asking("layer-memory", limit));
    ASSERT_EQ(found.outcome.feasible, best < std::numeric_limits<int64_t>::max()) << percent;
    if (!found.outcome.feasible) continue;
    EXPECT_GE(found.best.prediction.makespan_ns, best);
    EXPECT_LE(static_cast<double>(found.best.prediction.makespan_ns), 1.1 * static_cast<double>(best)) << percent;
  }
}

TEST(MemoryPlans, FitsWhereDataParallelDoesNot) {
  Roofline costs;
  for (bool any_sharding : {false, true}) {
    Space space(small_network(256), equal_devices(4, 16));
    Prediction whole = predict(space, costs, {}, data_parallel_plan(space, 4));
    int64_t limit = whole.memory[0].peak * 4 / 5;
    EXPECT_FALSE(search_plan(space, costs, asking("data-parallel", limit)).outcome.feasible);
    SearchResult found = search_plan(space, costs, asking("layer-memory", limit, any_sharding));
    ASSERT_TRUE(found.outcome.feasible) << found.outcome.reason;
    EXPECT_TRUE(found.best.formula_seconds.has_value());
    EXPECT_TRUE(any_sharding || found.best.tasks.sharded_states == 0);
    Prediction again = predict(space, costs, found.best.tasks, found.best.configs, limit);
    EXPECT_EQ(again.makespan_ns, found.best.prediction.makespan_ns);
    EXPECT_EQ(again.infeasible, "");
    for (uint32_t o = 0; o < found.best.configs.size(); o++) check_config(found.best.configs[o], space, o, "found");
    SearchResult all = search_plan(space, costs, asking("auto", limit, any_sharding));
    EXPECT_LE(all.best.prediction.makespan_ns, found.best.prediction.makespan_ns);
    Prediction scored = predict(space, costs, all.best.tasks, all.best.configs, limit);
    EXPECT_EQ(scored.makespan_ns, all.best.prediction.makespan_ns);
  }
}

TEST(MemoryPlans, ShardsWhereWeightsAreWhatDoesNotFit) {
  Roofline costs;
  Space space(dense_chain(4, 8, 1000, true), equal_devices(4, 0));  // 16 MB of weights, hardly any results
  SearchResult whole = search_plan(space, costs, asking("layer-memory", 20'000'000, false));
  EXPECT_FALSE(whole.outcome.feasible);
  EXPECT_FALSE(whole.outcome.reason.empty());
  SearchResult shared = search_plan(space, costs, asking("layer-memory", 20'000'000));
  ASSERT_TRUE(shared.outcome.feasible) << shared.outcome.reason;
  EXPECT_GE(shared.best.tasks.sharded_states, 2);
}

TEST(MemoryPlans, WithoutTrainingOnlyDegreesAreLeft) {
  Roofline costs;
  Space space(small_network(64, false), equal_devices(4, 16));
  SearchResult found = search_plan(space, costs, asking("layer-memory", 0));
  ASSERT_TRUE(found.outcome.feasible);
  EXPECT_EQ(dropped(found.best.configs), 0);
  EXPECT_EQ(found.best.tasks.sharded_states, 0);
  EXPECT_LE(found.best.prediction.makespan_ns, found.compared[0].prediction.makespan_ns);
}

}  // namespace
}  // namespace pando::plan
