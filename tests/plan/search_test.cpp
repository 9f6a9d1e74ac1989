// Searches against exhaustive enumeration, baselines and limits.
#include "plan/search/search.hpp"

#include <gtest/gtest.h>

#include "networks.hpp"
#include "plan/search/baselines.hpp"
#include "plan/search/cuts.hpp"

namespace pando::plan {
namespace {

Cluster machine(uint32_t devices, double gb_per_s, double second_speed) {
  return read_cluster(fmt::format(R"({{"pando_cluster":1,
    "kinds":{{"a":{{"peak_gflops":{{"f32":1000}},"memory_bytes":10000000000,"memory_gb_per_s":100}},
              "b":{{"peak_gflops":{{"f32":{}}},"memory_bytes":10000000000,"memory_gb_per_s":100}}}},
    "devices":[{{"kind":"a","count":{}}},{{"kind":"b","count":{}}}],
    "network":{{"inside":{{"gb_per_s":{},"latency_us":2,"sharing":"pair"}}}}}})",
                                  1000 * second_speed, devices / 2, devices - devices / 2, gb_per_s));
}

// All configs that the chain can reach for an operator, ratios aside.
std::vector<Config> reachable(const Space& space, uint32_t op) {
  std::vector<Config> list;
  auto n = static_cast<uint32_t>(space.cluster().size());
  for (const Split& s : candidate_splits(space, op))
    for (uint32_t first = 0; first + s.parts() <= n; first += s.parts())
      list.push_back({s, device_range(first, s.parts()), Keep::keep});
  return list;
}

// The least makespan of all plans, by changing one operator at a time.
int64_t optimum(const Space& space, const CostModel& costs, uint64_t& plans) {
  auto ops = static_cast<uint32_t>(space.ops().size());
  std::vector<std::vector<Config>> all;
  std::vector<Config> start;
  plans = 1;
  for (uint32_t o = 0; o < ops; o++) {
    all.push_back(reachable(space, o));
    start.push_back(all[o][0]);
    plans *= all[o].size();
  }
  TaskGraph graph(space, costs, {}, start);
  Simulator s(graph);
  s.full();
  int64_t best = s.timeline().makespan;
  std::vector<size_t> at(ops, 0);
  for (uint64_t k = 1; k < plans; k++) {
    std::vector<std::pair<uint32_t, Config>> change;
    for (uint32_t o = 0; o < ops; o++) {
      at[o] = (at[o] + 1) % all[o].size();
      change.emplace_back(o, all[o][at[o]]);
      if (at[o] > 0) break;
    }
    graph.change(change);
    if (s.propose(best - 1, false)) best = s.proposed().makespan;
  }
  return best;
}

Graph branches(int64_t batch, int64_t width) {
  NetWriter n;
  ValueId x = n.input({batch, width});
  ValueId a = n.dense(x, width), b = n.dense(n.dense(x, 2 * width), width);
  n.g.outputs = {n.dense(n.add(a, b), 64)};
  return std::move(n.g);
}

TEST(Search, FindsTheOptimumOfSmallProblems) {
  Roofline costs;
  for (int problem = 0; problem < 20; problem++) {
    double gb_per_s = problem % 3 == 0 ? 1 : problem % 3 == 1 ? 8 : 40;
    int64_t batch = problem % 2 ? 64 : 512, width = 128 << problem % 4;
    bool four = problem % 5 < 2;
    Graph g = four              ? dense_chain(4, batch, width, false)
              : problem % 5 < 4 ? dense_chain(7, batch, width, false)
                                : branches(batch, width);
    Space space(std::move(g), machine(four ? 4 : problem % 5 < 4 ? 2 : 4, gb_per_s, problem % 7 == 0 ? 0.5 : 1));
    uint64_t plans = 0;
    int64_t best = optimum(space, costs, plans);
    EXPECT_GE(plans, 10000u);
    EXPECT_LE(plans, 1000000u);
    int right = 0;
    for (uint64_t seed = 1; seed <= 100; seed++) {
      SearchOptions options;
      options.control.seed = seed;
      options.control.budget_proposals = 2000;
      options.temperature = 0.05;
      SearchResult r = search_plan(space, costs, options);
      right += r.best.prediction.makespan_ns <= best;
      EXPECT_LE(r.outcome.proposals, 2000);
    }
    EXPECT_GE(right, 95) << "problem " << problem;
  }
}

TEST(Search, AutoIsNeverSlowerThanABaseline) {
  Roofline costs;
  for (const char* name : {"p100x4", "p100x8-10g", "k80x8"}) {
    Space space(small_network(64), shipped_cluster(name));
    SearchOptions options;
    options.control.budget_proposals = 500;
    SearchResult r = search_plan(space, costs, options);
    ASSERT_TRUE(r.outcome.feasible);
    for (const Found& f : r.compared) EXPECT_LE(r.best.prediction.makespan_ns, f.prediction.makespan_ns) << f.name;
    SearchResult again = search_plan(space, costs, options);
    EXPECT_EQ(again.best.configs, r.best.configs);
  }
}

TEST(Search, EveryObjectiveIsServed) {
  Roofline costs;
  auto value = [](const Prediction& p, Objective o) {
    return o == Objective::max_load ? p.max_load_ns : o == Objective::memory ? peak_of(p.memory) : p.makespan_ns;
  };
  for (bool training : {false, true}) {
    Space space(small_network(64, training), shipped_cluster("p100x4"));
    std::vector<Prediction> best;
    const std::vector<Objective> objectives{Objective::time, Objective::max_load, Objective::memory};
    for (Objective objective : objectives) {
      SearchOptions options;
      options.objective = objective;
      options.control.budget_proposals = 2000;
      SearchResult r = search_plan(space, costs, options);
      ASSERT_TRUE(r.outcome.feasible);
      for (const Found& f : r.compared)
        EXPECT_LE(value(r.best.prediction, objective), value(f.prediction, objective)) << f.name;
      EXPECT_EQ(r.outcome.objective, name_of(objective));
      double unit = objective == Objective::memory ? 1 : 1e-9;
      EXPECT_EQ(r.outcome.value, static_cast<double>(value(r.best.prediction, objective)) * unit);
      best.push_back(r.best.prediction);
    }
    EXPECT_LT(peak_of(best[2].memory), peak_of(best[0].memory));
    EXPECT_LE(best[1].max_load_ns, best[0].max_load_ns);
    EXPECT_LE(best[1].max_load_ns, best[1].makespan_ns);  // nobody works longer than all of it takes
  }
  // Of a pipeline: nobody works longer than an iteration takes, though exchange and update are not per micro-batch.
  Space whole(small_network(64), shipped_cluster("p100x4")), micro(small_network(4), shipped_cluster("p100x4"));
  SearchOptions pipeline;
  pipeline.search = "pipeline";
  pipeline.objective = Objective::max_load;
  pipeline.micro = &micro;
  pipeline.pipeline.micro_batches = 16;
  SearchResult staged = search_plan(whole, costs, pipeline);
  ASSERT_TRUE(staged.best.pipeline.has_value());
  EXPECT_LE(staged.best.prediction.max_load_ns, staged.best.prediction.makespan_ns);

  Space space(small_network(64), shipped_cluster("p100x4"));
  SearchOptions latency;
  latency.objective = Objective::latency;
  EXPECT_THROW(search_plan(space, costs, latency), Error);
}

TEST(Search, UnequalDevicesShareInProportion) {
  Roofline costs;
  Space space(dense_chain(3, 96, 512, false), machine(2, 100, 0.5));
  std::vector<Config> plan = data_parallel_plan(space, 2);
  EXPECT_EQ(plan[0].split.piece(0, 96, 0), (Interval{0, 64}));
  Prediction balanced = predict(space, costs, {}, plan);
  for (Config& c : plan) c.split.ratios.clear();
  EXPECT_LT(balanced.makespan_ns, predict(space, costs, {}, plan).makespan_ns);
}

TEST(Search, SaysWhyNothingFits) {
  Roofline costs;
  Space space(small_network(64), shipped_cluster("p100x4"));
  SearchOptions options;
  options.control.budget_proposals = 200;
  options.memory_limit = 100000;
  SearchResult r = search_plan(space, costs, options);
  EXPECT_FALSE(r.outcome.feasible);
  EXPECT_NE(r.outcome.reason.find("> 100000 bytes: weights, gradients and states"), std::string::npos)
      << r.outcome.reason;
  // With room for a half each, one device is not enough.
  Prediction whole = predict(space, costs, {}, single_plan(space));
  options.memory_limit = whole.memory[0].peak * 2 / 3;
  r = search_plan(space, costs, options);
  EXPECT_TRUE(r.outcome.feasible) << r.outcome.reason;
  for (const DeviceMemory& m : r.best.prediction.memory) EXPECT_LE(m.peak, options.memory_limit);
  EXPECT_FALSE(r.compared[0].prediction.infeasible.empty());
}

TEST(Search, FixedOperatorsStay) {
  Roofline costs;
  Space space(small_network(64), shipped_cluster("p100x4"));
  SearchOptions options;
  options.control.budget_proposals = 500;
  options.start = single_plan(space);
  options.fixed.assign(space.ops().size(), false);
  options.fixed[2] = options.fixed[5] = true;
  SearchResult r = search_plan(space, costs, options);
  EXPECT_EQ(r.best.configs[2], options.start[2]);
  EXPECT_EQ(r.best.configs[5], options.start[5]);
  EXPECT_NE(r.best.configs, options.start);
  options.search = "best";
  EXPECT_THROW(search_plan(space, costs, options), Error);
}

TEST(Cuts, TwoGroupsAreNoWorseThanOne) {
  Roofline costs;
  auto always = [] { return true; };
  for (const Graph& g : {dense_chain(5, 64, 512, true), small_network(), recurrent_network(2, 3, 16, 4, 64, true)}) {
    Space space(g, shipped_cluster("p100x8-10g"));
    std::vector<std::vector<Config>> cuts = best_cuts(space, costs, {}, 3, always);
    ASSERT_EQ(cuts.size(), 3u);
    int64_t before = 0;
    for (const auto& plan : cuts) {  // in order, and what they say
      int64_t ns = predict(space, costs, {}, plan).makespan_ns;
      EXPECT_GE(ns, before);
      before = ns;
    }
    EXPECT_LE(predict(space, costs, {}, cuts[0]).makespan_ns,
              predict(space, costs, {}, data_parallel_plan(space, 8)).makespan_ns);
    EXPECT_EQ(cuts, best_cuts(space, costs, {}, 3, always));
  }
  Space one(dense_chain(2, 8, 16, true), shipped_cluster("p100x1"));
  EXPECT_TRUE(best_cuts(one, costs, {}, 3, always).empty());
  Space two(dense_chain(2, 8, 16, true), shipped_cluster("p100x2"));
  EXPECT_TRUE(best_cuts(two, costs, {}, 3, [] { return false; }).empty());
}

}  // namespace
}  // namespace pando::plan
