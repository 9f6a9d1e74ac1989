// Pipelines: hand-made cases, the knapsack of a stage and whole plans against exhaustive search by the evaluator.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <random>

#include "plan/layers/pipeline.hpp"
#include "plan/simulate/pipeline.hpp"

namespace pando::plan {
namespace {

LayerConfig config(const char* id, double time, double per_batch, double fixed) {
  return {id, time, 0, per_batch, fixed, {}, {}};
}

// Layers 0 -> 1 -> 2 of 6 s; keeping activations takes 10 bytes per microbatch, recomputing 2 and 1 s more.
PipelineProblem chain() {
  PipelineProblem p;
  for (int v = 0; v < 3; v++) {
    LayerNode n;
    n.id = v;
    n.configs = {{1, {config("vanilla", 6, 10, 0), config("activation recomp", 7, 2, 0)}}};
    for (LayerConfig& c : n.configs[0].second) {
      c.sync_in.assign(v > 0, 0);
      c.sync_out.assign(v < 2, 0);
    }
    p.graph.nodes.push_back(n);
    if (v > 0) p.graph.edges.push_back({v - 1, v, 0, 4});
  }
  p.devices = 2;
  p.microbatches = 4;
  p.bandwidth = 8;  // an edge costs 2 * 4 / 8 = 1 s
  return p;
}

TEST(Pipeline, BalancesStages) {
  PipelineOutcome out = search_pipeline(chain(), {});
  ASSERT_TRUE(out.feasible);
  EXPECT_EQ(out.value, 9);  // all three layers on two replicas; two stages would take 13
  EXPECT_TRUE(out.optimal);
  PipelineProblem p = chain();
  p.data = false;
  out = search_pipeline(p, {});
  EXPECT_EQ(out.value, 13);
  EXPECT_EQ(out.stages.size(), 2u);
}

TEST(Pipeline, RecomputesWhereMemoryIsShort) {
  PipelineProblem p = chain();
  p.data = false;
  p.memory = 20;  // the first of two stages holds two microbatches: 20 bytes a layer
  EXPECT_EQ(search_pipeline(p, {}).value, 13);
  p.memory = 19;
  EXPECT_EQ(search_pipeline(p, {}).value, 14);  // two layers at the back: one of them recomputes
  p.memory = 1;
  EXPECT_EQ(search_pipeline(p, {}).reason, "node 0 alone needs more memory than a device has");
  p.memory = 3;
  p.devices = 1;
  EXPECT_EQ(search_pipeline(p, {}).reason, "no pipeline fits the devices' memory");
}

TEST(Pipeline, EvaluatorFindsBrokenRules) {
  PipelineProblem p = chain();
  LayerStage a{{0, 1}, 1, 1, {0, 0}}, b{{2}, 1, 1, {0}};
  EXPECT_EQ(evaluate_pipeline(p, {a, b}).value, 13);
  EXPECT_EQ(evaluate_pipeline(p, {b, a}).violation, "the edge from node 1 to 2 runs to an earlier stage");
  EXPECT_EQ(evaluate_pipeline(p, {a}).violation, "node 2 is in no stage");
  b.data = 3;
  EXPECT_EQ(evaluate_pipeline(p, {a, b}).violation, "stage 1: data degree 3");
  b.data = 2;
  EXPECT_EQ(evaluate_pipeline(p, {a, b}).violation, "3 devices of 2");
  b.data = 1;
  p.memory = 39;
  EXPECT_EQ(evaluate_pipeline(p, {a, b}).violation, "stage 0 needs 40 bytes of 39");
}

// `uniform`: configurations differ in time and memory only.
PipelineProblem random_pipeline(uint32_t seed, int nodes) {
  std::mt19937 random(seed);
  auto upto = [&](int n) { return static_cast<int>(random() % static_cast<uint32_t>(n)); };
  PipelineProblem p;
  std::vector<int> in(nodes, 0), out(nodes, 0);
  for (int u = 0; u < nodes; u++)
    for (int v = u + 1; v < nodes; v++)
      if (upto(nodes) < 2) {
        p.graph.edges.push_back({u, v, 0, static_cast<double>(upto(5))});
        out[u]++;
        in[v]++;
      }
  bool uniform = upto(2) == 0;
  double memory = 0;
  for (int v = 0; v < nodes; v++) {
    LayerNode n;
    n.id = v;
    for (int64_t t = 1; t <= 2; t++) {
      if (t == 2 && upto(3) == 0) continue;
      std::vector<LayerConfig> configs;
      int count = 1 + upto(3);
      for (int c = 0; c < count; c++) {
        LayerConfig x = config(c == 0 ? "vanilla" : "other", 1 + upto(12), upto(6), upto(6));
        x.parameters = uniform && c > 0 ? configs[0].parameters : upto(6);
        for (int i = 0; i < in[v]; i++) x.sync_in.push_back(uniform && c > 0 ? configs[0].sync_in[i] : upto(3));
        for (int i = 0; i < out[v]; i++) x.sync_out.push_back(uniform && c > 0 ? configs[0].sync_out[i] : upto(3));
        configs.push_back(x);
      }
      memory += configs[0].memory_per_batch + configs[0].memory_fixed;
      n.configs.emplace_back(t, configs);
    }
    p.graph.nodes.push_back(n);
  }
  p.devices = 1 + upto(3);
  p.microbatches = 1 + upto(4);
  p.bandwidth = 1 + upto(8);
  p.memory = memory * (0.15 + 0.1 * upto(6));
  p.tensor = upto(4) != 0;
  if (!p.tensor)
    for (LayerNode& n : p.graph.nodes)
      if (n.configs.size() > 1) n.configs.pop_back();
  return p;
}

// Of all legal plans: the least slowest stage, sum for a batch, time of a batch.
struct BestOfAll {
  double value = infinity, sum = infinity, time = infinity;
};
BestOfAll best_of_all(const PipelineProblem& p) {
  int count = static_cast<int>(p.graph.nodes.size());
  BestOfAll best;
  std::vector<int> stage(count, 0);
  auto for_all = [&](std::vector<LayerStage> stages) {
    std::function<void(size_t, size_t)> choose = [&](size_t s, size_t i) {
      if (s == stages.size()) {
        PipelineScore score = evaluate_pipeline(p, stages);
        if (!score.violation.empty()) return;
        best.value = std::min(best.value, score.value);
        best.sum = std::min(best.sum, score.batch_sum);
        best.time = std::min(best.time, score.batch_time);
      } else if (i == stages[s].nodes.size()) {
        choose(s + 1, 0);
      } else {
        const auto* configs = configs_at(p.graph.nodes[stages[s].nodes[i]], stages[s].tensor);
        for (int c = 0; configs && c < static_cast<int>(configs->size()); c++) {
          stages[s].config[i] = c;
          choose(s, i + 1);
        }
      }
    };
    std::function<void(size_t, int64_t)> degrees = [&](size_t s, int64_t left) {
      if (s == stages.size()) return choose(0, 0);
      for (int64_t t = 1; t <= 2; t++)
        for (int64_t d = 1; d * t <= left; d++) {
          stages[s].data = d;
          stages[s].tensor = t;
          degrees(s + 1, left - d * t);
        }
    };
    degrees(0, p.devices);
  };
  for (;;) {
    int used = 0;
    for (int s : stage) used = std::max(used, s + 1);
    std::vector<LayerStage> stages(used);
    for (int v = 0; v < count; v++) stages[stage[v]].nodes.push_back(v);
    bool full = used <= p.devices;
    for (LayerStage& s : stages) {
      full = full && !s.nodes.empty();
      s.config.assign(s.nodes.size(), 0);
    }
    for (const LayerEdge& e : p.graph.edges) full = full && stage[e.from] <= stage[e.to];
    if (full) for_all(stages);
    int v = 0;
    while (v < count && ++stage[v] == count) stage[v++] = 0;
    if (v == count) return best;
  }
}

TEST(Pipeline, EqualsExhaustiveSearch) {
  int feasible = 0, proven = 0;
  for (uint32_t seed = 0; seed < 150; seed++) {
    PipelineProblem p = random_pipeline(seed, 4);
    double best = best_of_all(p).value;
    PipelineOutcome out = search_pipeline(p, {});
    ASSERT_EQ(out.feasible, best < infinity) << seed << " " << out.reason;
    if (!out.feasible) continue;
    feasible++;
    PipelineScore score = evaluate_pipeline(p, out.stages);
    EXPECT_EQ(score.violation, "") << seed;
    EXPECT_NEAR(score.value, out.value, 1e-12 * out.value) << seed;
    EXPECT_GE(best, *out.lower_bound * (1 - 1e-12)) << seed;
    EXPECT_GE(out.value, best * (1 - 1e-12)) << seed;
    EXPECT_TRUE(!out.optimal || out.value <= best * (1 + 1e-12)) << seed;
    proven += out.optimal;
  }
  EXPECT_GT(feasible, 50);
  EXPECT_GT(proven, feasible * 8 / 10);
}

TEST(Pipeline, BatchEqualsExhaustiveSearch) {
  int feasible = 0, proven = 0, best_found = 0;
  for (uint32_t seed = 0; seed < 150; seed++) {
    PipelineProblem p = random_pipeline(seed, 4);
    p.microbatches *= 1 + seed % 3;
    p.data = p.data && seed % 2 == 0;
    BestOfAll best = best_of_all(p);
    p.whole_batch = true;
    PipelineOutcome out = search_pipeline(p, {});
    ASSERT_EQ(out.feasible, best.value < infinity) << seed << " " << out.reason;
    if (!out.feasible) continue;
    feasible++;
    PipelineScore score = evaluate_pipeline(p, out.stages);
    EXPECT_EQ(score.violation, "") << seed;
    EXPECT_NEAR(score.batch_time, out.value, 1e-12 * out.value) << seed;
    EXPECT_GE(score.batch_time, score.batch_sum * (1 - 1e-12)) << seed;
    EXPECT_GE(best.sum, *out.lower_bound * (1 - 1e-12)) << seed;
    EXPECT_GE(out.value, best.time * (1 - 1e-12)) << seed;
    EXPECT_TRUE(!out.optimal || out.value <= best.sum * (1 + 1e-12)) << seed;
    proven += std::abs(best.sum - *out.lower_bound) <= 1e-12 * best.sum;
    best_found += out.value <= best.time * (1 + 1e-12);
    // Without replicas the flow shop is the sum, and the simulator's schedule of all forward, then all backward.
    if (p.data) continue;
    EXPECT_NEAR(score.batch_time, score.batch_sum, 1e-9 * score.batch_sum) << seed;
    std::vector<PipelineStage> stages;
    for (double t : score.stage_time) {
      auto ns = static_cast<int64_t>(std::llround(t * 1e9));
      stages.push_back({ns / 3, ns - ns / 3, 0});
    }
    PipelineOptions gpipe{Schedule::fill_drain, static_cast<uint32_t>(p.microbatches), 1, 1};
    EXPECT_NEAR(static_cast<double>(simulate_pipeline(stages, gpipe).makespan_ns) * 1e-9, score.batch_time, 1e-6)
        << seed;
    gpipe.schedule = Schedule::one_f_one_b;
    EXPECT_LE(static_cast<double>(simulate_pipeline(stages, gpipe).makespan_ns) * 1e-9, score.batch_time + 1e-6)
        << seed;
  }
  EXPECT_GT(feasible, 50);
  EXPECT_GT(proven, feasible * 8 / 10);
  EXPECT_GT(best_found, feasible * 9 / 10);
}

TEST(StageKnapsack, IsExactForTwoConfigurations) {
  std::mt19937 random(1);
  auto upto = [&](int n) { return static_cast<int>(random() % static_cast<uint32_t>(n)); };
  for (int round = 0; round < 200; round++) {
    PipelineProblem p;
    std::vector<int> nodes;
    for (int v = 0; v < 10; v++) {
      LayerNode n;
      n.configs = {{1, {config("a", upto(9), 10 + upto(9), upto(3)), config("b", 3 + upto(9), upto(12), upto(9))}}};
      p.graph.nodes.push_back(n);
      nodes.push_back(v);
    }
    p.memory = 60 + upto(150);
    double best = infinity;
    for (uint32_t set = 0; set < 1024; set++) {
      double time = 0, memory = 0;
      for (int v = 0; v < 10; v++) {
        const LayerConfig& c = p.graph.nodes[v].configs[0].second[set >> v & 1];
        time += c.time;
        memory += 2 * c.memory_per_batch + c.memory_fixed;
      }
      if (memory <= p.memory) best = std::min(best, time);
    }
    StageKnapsack knapsack(p);
    StageChoice choice = knapsack.choose(nodes, 1, 1, 2, 0, infinity);
    EXPECT_EQ(choice.time, best) << round;
    EXPECT_GE(knapsack.choose(nodes, 1, 1, 2, 0, best).time, best) << round;
    if (best == infinity) continue;
    EXPECT_EQ(choice.bound, best) << round;
    EXPECT_LE(knapsack.choose(nodes, 1, 1, 2, best + 2, infinity).time, best + 2) << round;
  }
}

}  // namespace
}  // namespace pando::plan
