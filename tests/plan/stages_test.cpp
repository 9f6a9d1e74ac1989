// Models as layers in stages: times and bytes by hand, plans of micro-batches, and the search that runs them all.
#include "plan/search/stages.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "../plan/networks.hpp"
#include "plan/search/search.hpp"
#include "plan/simulate/staged.hpp"

namespace pando::plan {
namespace {

Cluster devices(std::vector<double> gflops, double gb_per_s = 1000) {
  Cluster c;
  for (double g : gflops) {
    uint32_t kind = 0;
    while (kind < c.kinds.size() && c.kinds[kind].machine.peak_gflops != g) kind++;
    if (kind == c.kinds.size()) {
      c.kinds.push_back({"k" + std::to_string(kind), {}, 0, int64_t{1} << 40, 1, 1, 0});
      c.kinds.back().machine.peak_gflops = g;
      c.kinds.back().machine.memory_gb_per_s = 1e6;
    }
    c.devices.push_back({kind, 0});
  }
  c.network.inside = {gb_per_s, 0, Sharing::port, false};
  connect(c);
  return c;
}

// A dense layer of 64 x 1000 x 1000 is 128 MFLOP: 1.28 ms at 100 GFLOP/s, and three times that with gradients.
TEST(Stages, LayersByHand) {
  Roofline costs;
  Space space(dense_chain(4, 64, 1000, false), devices({100, 50}));
  LayeredModel apart = layers_of(space, costs, {}, 0);
  ASSERT_EQ(apart.graph.nodes.size(), 4u);
  EXPECT_NEAR(apart.graph.nodes[0].accelerator_time, 1.28, 0.01);
  EXPECT_NEAR(apart.graph.nodes[0].cpu_time, 2.56, 0.02);
  ASSERT_EQ(apart.graph.edges.size(), 3u);
  EXPECT_EQ(apart.graph.edges[0].bytes, 64 * 1000 * 4);
  LayeredModel joined = layers_of(space, costs, {}, 2.7e6);  // two layers fit
  ASSERT_EQ(joined.graph.nodes.size(), 2u);
  EXPECT_EQ(joined.ops[1], (std::vector<uint32_t>{2, 3}));
  Space training(dense_chain(4, 64, 1000, true), devices({100}));
  double first = layers_of(training, costs, {}, 0).graph.nodes[1].accelerator_time;
  EXPECT_NEAR(first, 3 * 1.28, 0.05);
}

TEST(Stages, PlacesByLoad) {
  Roofline costs;
  // 2:1 in speed and six equal layers: four and two.
  Space space(dense_chain(6, 64, 1000, false), devices({100, 50}));
  StagedPlan plan = place_layers(space, costs, {}, Placing::ideals, {});
  ASSERT_EQ(plan.configs.size(), space.ops().size());
  EXPECT_TRUE(plan.optimal);
  int on_first = 0;
  for (const Config& c : plan.configs) on_first += c.devices[0] == 0;
  EXPECT_EQ(on_first, 4);
}

TEST(Stages, LocalPlacesBranchesToo) {
  Roofline costs;
  // Equal layers on equal devices: the best of all placements is as good as the best contiguous one, two layers each.
  Space space(dense_chain(6, 64, 1000, false), devices({100, 100, 100}, 1e6));
  StagedPlan any = place_layers(space, costs, {}, Placing::local, {}),
             line = place_layers(space, costs, {}, Placing::ideals, {});
  EXPECT_LE(any.seconds, line.seconds * (1 + 1e-12));
  EXPECT_NEAR(any.seconds, 2 * 1.28e-3, 0.03e-3);
  SearchOptions options;
  for (const char* name : {"single", "local"}) {
    Space small(small_network(32), devices({1000, 1000}, 1e6));
    options.search = name;
    SearchResult r = search_plan(small, costs, options);
    ASSERT_TRUE(r.outcome.feasible) << r.outcome.reason;
    EXPECT_LE(r.outcome.value, r.compared[0].prediction.makespan_ns * 1e-9) << name;
  }
}

TEST(Stages, PipelinesSampleParallelStages) {
  Roofline costs;
  Space space(dense_chain(6, 64, 1000, true), devices({100, 100, 100, 100}, 1));
  for (bool data : {true, false}) {
    StagedPlan plan = pipeline_layers(space, costs, {}, {8, data, true}, {});
    ASSERT_EQ(plan.configs.size(), space.ops().size());
    std::set<uint32_t> used;
    for (uint32_t o = 0; o < plan.configs.size(); o++) {
      check_config(plan.configs[o], space, o, "stages");
      used.insert(plan.configs[o].devices.begin(), plan.configs[o].devices.end());
      EXPECT_TRUE(data || plan.configs[o].devices.size() == 1);
    }
    EXPECT_GT(used.size(), 1u);
    PipelineOptions how;
    how.micro_batches = 8;
    TaskOptions tasks;
    tasks.gradients = Gradients::after;
    StagedPrediction run = simulate_stages({space, costs, tasks, plan.configs}, how);
    int64_t slowest = 0;
    for (const PipelineStage& stage : run.times) slowest = std::max(slowest, stage.forward_ns + stage.backward_ns);
    EXPECT_GE(run.iteration_ns, 8 * slowest);
  }
}

TEST(Stages, AutoIsNotSlowerThanAnySearch) {
  Roofline costs;
  for (const Cluster& cluster : {shipped_cluster("p100x4"), devices({1000, 500}), devices({1000})}) {
    Space space(small_network(32), cluster), micro(small_network(8), cluster);
    SearchOptions options;
    options.control.budget_proposals = 200;
    options.micro = &micro;
    options.pipeline.micro_batches = 4;
    SearchResult all = search_plan(space, costs, options);
    ASSERT_TRUE(all.outcome.feasible);
    std::set<std::string> names;
    for (const Found& f : all.compared) names.insert(f.name);
    EXPECT_EQ(names.contains("chain") && names.contains("ideals"), cluster.size() > 1);
    for (const Found& f : all.compared) {
      if (!f.prediction.infeasible.empty()) continue;
      EXPECT_LE(all.best.prediction.makespan_ns, f.prediction.makespan_ns) << f.name;
      bool layers = f.name == "pipeline" || f.name.starts_with("chain") || f.name.starts_with("ideals") ||
                    f.name == "local" || f.name == "layer-memory";
      EXPECT_EQ(f.formula_seconds.has_value(), layers) << f.name;
    }
    for (const std::string& name : search_names()) {
      if (name == "random") continue;
      SearchOptions one = options;
      one.search = name;
      SearchResult found = search_plan(space, costs, one);
      if (!found.outcome.feasible || name == "mcmc") continue;  // the chain of mcmc is another one
      EXPECT_LE(all.best.prediction.makespan_ns, found.best.prediction.makespan_ns) << name;
      // Scored again by the reader of the plan.
      const Found& b = found.best;
      int64_t again = 0;
      if (b.pipeline) {
        EXPECT_EQ(b.tasks.gradients, Gradients::after);
        again = simulate_stages({micro, costs, b.tasks, b.configs}, *b.pipeline).iteration_ns;
      } else {
        EXPECT_EQ(b.tasks.sharded_states, 0);  // nothing said that it may be chosen
        again = predict(space, costs, b.tasks, b.configs).makespan_ns;
      }
      EXPECT_EQ(again, b.prediction.makespan_ns) << name;
    }
  }
}

}  // namespace
}  // namespace pando::plan
