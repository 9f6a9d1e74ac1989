// Placement for the least latency, and placements that need not be contiguous: hand-made and random cases.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "layers_random.hpp"

namespace pando::plan {
namespace {

LayerNode node(int64_t id, double accelerator, double cpu, double bytes) {
  LayerNode n;
  n.id = id;
  n.accelerator_time = accelerator;
  n.cpu_time = cpu;
  n.bytes = bytes;
  return n;
}

// 0 -> 1 -> 2 -> 3 and 0 -> 3; moving an output costs 1 ms.
PlacementProblem detour() {
  PlacementProblem p;
  for (int v = 0; v < 4; v++) p.graph.nodes.push_back(node(v, 2, 10, 100));
  p.graph.edges = {{0, 1, 1}, {1, 2, 1}, {2, 3, 1}, {0, 3, 1}};
  p.accelerators = 2;
  p.cpus = 1;
  return p;
}

TEST(Latency, CutsSetsIntoPieces) {
  PlacementProblem p = detour();
  EXPECT_EQ(evaluate_latency(p, {{0, 0, 0, 0}}).value, 8);
  // 0, then 1 and 2 on the other, then 3, which starts a second piece of the first: it reads 0 and 2 again.
  PlacementScore score = evaluate_latency(p, {{0, 1, 1, 0}});
  EXPECT_EQ(score.violation, "");
  EXPECT_EQ(score.pieces, (std::vector<std::vector<int>>{{0}, {1, 2}, {3}}));
  EXPECT_EQ(score.value, (2 + 1) + (1 + 4 + 1) + (2 + 2));
  EXPECT_EQ(evaluate_latency(p, {{2, 2, 2, 2}}).value, 40);
  // CPU nodes move nothing of their own, and run beside each other.
  EXPECT_EQ(evaluate_latency(p, {{0, 2, 0, 0}}).violation, "");
  p.graph.edges = {{0, 1, 1}, {0, 2, 1}};
  EXPECT_EQ(evaluate_latency(p, {{2, 2, 2, 2}}).value, 20);
}

TEST(Latency, FindsPiecesThatWaitForEachOther) {
  PlacementProblem p;
  for (int v = 0; v < 4; v++) p.graph.nodes.push_back(node(v, 1, 1, 0));
  p.graph.edges = {{0, 2, 1}, {3, 1, 1}};
  p.accelerators = 2;
  EXPECT_EQ(evaluate_latency(p, {{0, 0, 1, 1}}).violation, "pieces of the accelerators wait for each other");
}

TEST(Latency, KeepsMemoryAndUsesTheCpu) {
  PlacementProblem p = detour();
  PlacementOutcome out = search_latency(p, false, {});
  EXPECT_EQ(out.value, 8);
  EXPECT_TRUE(out.optimal);
  EXPECT_EQ(out.lower_bound, 8);
  p.memory = 200;
  out = search_latency(p, false, {});
  EXPECT_EQ(out.value, testing::least_latency(p));
  p.memory = 99;
  EXPECT_EQ(search_latency(p, false, {}).value, 40);
  p.cpus = 0;
  EXPECT_EQ(search_latency(p, false, {}).reason,
            "node 0 needs more memory than an accelerator has, and there is no CPU");
}

TEST(Latency, IsBetweenItsBoundAndTheBestOfAll) {
  int equal = 0, feasible = 0;
  for (uint32_t seed = 0; seed < 60; seed++) {
    PlacementProblem p = testing::random_placement(seed, 7, 2, 1);
    double best = testing::least_latency(p);
    PlacementOutcome out = search_latency(p, true, {});
    if (!out.feasible) continue;
    feasible++;
    PlacementScore score = evaluate_latency(p, out.plan);
    EXPECT_EQ(score.violation, "") << seed;
    EXPECT_NEAR(score.value, out.value, 1e-9 * out.value) << seed;
    EXPECT_LE(*out.lower_bound, best + 1e-9) << seed;
    EXPECT_GE(out.value, best - 1e-9) << seed;
    SearchControl control;
    control.budget_proposals = 20'000;
    PlacementOutcome full = search_latency(p, false, control);
    ASSERT_TRUE(full.feasible) << seed;
    EXPECT_EQ(evaluate_latency(p, full.plan).violation, "") << seed;
    EXPECT_LE(full.value, out.value + 1e-9) << seed;
    equal += full.value <= best + 1e-9;
  }
  EXPECT_GT(feasible, 50);
  EXPECT_GT(equal, feasible * 8 / 10);
}

// The best of those in which every accelerator has one turn: its nodes stand in a row.
double least_in_turns(const PlacementProblem& p) {
  return testing::best_of_all(p, [&](const Placement& plan) {
    PlacementScore score = evaluate_latency(p, plan);
    for (int a = 0; a < p.accelerators; a++) {
      auto first = std::find(plan.device.begin(), plan.device.end(), a), last = first;
      while (last != plan.device.end() && *last == a) last++;
      if (std::find(last, plan.device.end(), a) != plan.device.end()) score.violation = "comes back";
    }
    return score;
  });
}

// In a chain nothing overlaps: the dynamic program is exact for turns, and annealing from it mostly finds the
// best of all.
TEST(Latency, EqualsTheBestOfAllForChains) {
  int feasible = 0, equal = 0;
  for (uint32_t seed = 0; seed < 120; seed++) {
    std::mt19937 random(seed);
    auto upto = [&](uint32_t n) { return static_cast<double>(random() % n); };
    PlacementProblem p;
    double bytes = 0;
    for (int v = 0; v < 7; v++) {
      p.graph.nodes.push_back(node(v, upto(9), upto(20), upto(8)));
      p.graph.nodes.back().on_accelerator = upto(6) > 0;
      bytes += p.graph.nodes.back().bytes;
      if (v > 0) p.graph.edges.push_back({v - 1, v, upto(5)});
    }
    p.accelerators = 1 + static_cast<int>(seed % 3 != 0);
    p.cpus = 1;
    p.memory = bytes * (0.3 + 0.1 * upto(6));
    bool turns = seed % 2 == 0;
    double best = turns ? least_in_turns(p) : testing::least_latency(p);
    PlacementOutcome out = search_latency(p, turns, {});
    ASSERT_EQ(out.feasible, best < infinity) << seed;
    if (!out.feasible) continue;
    feasible++;
    bool same = std::abs(out.value - best) <= 1e-9 * best;
    EXPECT_TRUE(same || !turns) << seed;
    equal += same;
    EXPECT_LE(*out.lower_bound, best + 1e-9) << seed;
  }
  EXPECT_GT(feasible, 100);
  EXPECT_GT(equal, feasible * 9 / 10);
}

TEST(Local, FindsTheBestOfAll) {
  int feasible = 0, equal = 0;
  for (uint32_t seed = 0; seed < 60; seed++) {
    PlacementProblem p = testing::random_placement(seed, 7, 2, seed % 2 == 0 ? 1 : 0);
    double best = testing::least_load(p, false);
    SearchControl control;
    control.budget_proposals = 30'000;
    PlacementOutcome out = search_local(p, control);
    if (!out.feasible) continue;
    feasible++;
    EXPECT_EQ(evaluate_max_load(p, out.plan, false).violation, "") << seed;
    EXPECT_EQ(evaluate_max_load(p, out.plan, false).value, out.value) << seed;
    EXPECT_GE(out.value, best) << seed;
    EXPECT_LE(*out.lower_bound, best + 1e-9) << seed;
    equal += out.value == best;
  }
  EXPECT_GT(feasible, 45);
  EXPECT_GT(equal, feasible * 9 / 10);
}

TEST(Local, BeatsContiguousPlacements) {
  // A heavy middle between two light ends, which share a device only when it need not be contiguous.
  PlacementProblem p;
  for (int v = 0; v < 3; v++) p.graph.nodes.push_back(node(v, v == 1 ? 10 : 5, 0, 0));
  p.graph.edges = {{0, 1, 0}, {1, 2, 0}};
  p.accelerators = 2;
  EXPECT_EQ(search_ideals(p, false, {}).value, 15);
  PlacementOutcome out = search_local(p, {});
  EXPECT_EQ(out.value, 10);
  EXPECT_TRUE(out.optimal);
}

}  // namespace
}  // namespace pando::plan
