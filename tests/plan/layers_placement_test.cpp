// Placement for the least maximal load: hand-made cases, and random ones against exhaustive search by the evaluator.
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "layers_random.hpp"
#include "plan/layers/lattice.hpp"

namespace pando::plan {
namespace {

// a -> b -> c -> d, 4 ms each on an accelerator, 10 on a CPU; 1 ms to move an output.
PlacementProblem chain(int accelerators, int cpus) {
  PlacementProblem p;
  for (int v = 0; v < 4; v++) {
    LayerNode n;
    n.id = v;
    n.accelerator_time = 4;
    n.cpu_time = 10;
    n.bytes = 100;
    p.graph.nodes.push_back(n);
    if (v > 0) p.graph.edges.push_back({v - 1, v, 1});
  }
  p.accelerators = accelerators;
  p.cpus = cpus;
  return p;
}

TEST(Ideals, CutsAChainInHalf) {
  PlacementOutcome out = search_ideals(chain(2, 0), false, {});
  ASSERT_TRUE(out.feasible);
  EXPECT_EQ(out.value, 9);  // two layers and one transfer on each side
  EXPECT_TRUE(out.optimal);
  EXPECT_EQ(out.lower_bound, 9);
  EXPECT_EQ(out.plan.device, (std::vector<int>{0, 0, 1, 1}));
  EXPECT_EQ(search_ideals(chain(1, 1), false, {}).value,
            13);  // one on the CPU, three and a transfer on the accelerator
  EXPECT_EQ(search_ideals(chain(1, 0), false, {}).value, 16);
}

TEST(Ideals, KeepsMemory) {
  PlacementProblem p = chain(2, 1);
  p.memory = 100;
  EXPECT_EQ(search_ideals(p, false, {}).value, 20);
  p.cpus = 0;
  PlacementOutcome out = search_ideals(p, false, {});
  EXPECT_FALSE(out.feasible);
  EXPECT_EQ(out.reason, "no contiguous placement fits the accelerators' memory");
  p.memory = 99;
  EXPECT_EQ(search_ideals(p, false, {}).reason,
            "node 0 needs more memory than an accelerator has, and there is no CPU");
}

TEST(Ideals, SaysWhenNothingSupportsANode) {
  PlacementProblem p = chain(2, 0);
  for (LayerNode& n : p.graph.nodes) n.on_accelerator = false;
  for (bool linear : {false, true}) {
    PlacementOutcome out = search_ideals(p, linear, {});
    EXPECT_FALSE(out.feasible);
    EXPECT_EQ(out.reason, "node 0 needs a CPU, and there is none");
  }
  p.cpus = 1;
  EXPECT_EQ(search_ideals(p, false, {}).value, 40);
  p.accelerators = p.cpus = 0;
  EXPECT_EQ(search_ideals(p, false, {}).reason, "there is no device");
}

TEST(Ideals, ChargesAnOutputOncePerDevice) {
  PlacementProblem p = chain(2, 0);
  p.graph.edges = {{0, 2, 5}, {0, 3, 5}, {1, 2, 0}, {1, 3, 0}};
  Placement plan{{0, 0, 1, 1}};
  EXPECT_EQ(evaluate_max_load(p, plan, true).value, 13);  // 8 + 5, not 8 + 10
}

TEST(Ideals, EvaluatorFindsBrokenRules) {
  PlacementProblem p = chain(2, 1);
  EXPECT_EQ(evaluate_max_load(p, {{0, 1, 0, 0}}, true).violation, "the devices cannot be put in a line");
  EXPECT_EQ(evaluate_max_load(p, {{0, 1, 0, 0}}, false).violation, "");
  EXPECT_EQ(evaluate_max_load(p, {{0, 1, 3, 0}}, true).violation, "node 2 is on no device");
  p.graph.nodes[1].colour = p.graph.nodes[2].colour = 7;
  EXPECT_EQ(evaluate_max_load(p, {{0, 0, 1, 1}}, true).violation, "node 2 is apart from others of colour 7");
  p.memory = 250;
  EXPECT_EQ(evaluate_max_load(p, {{0, 0, 0, 1}}, true).violation, "accelerator 0 holds 300 bytes of 250");
  p.graph.nodes[3].on_accelerator = false;
  EXPECT_EQ(evaluate_max_load(p, {{2, 0, 0, 1}}, true).violation,
            "node 3 is on an accelerator that does not support it");
}

TEST(Ideals, EqualsExhaustiveSearch) {
  int feasible = 0;
  for (uint32_t seed = 0; seed < 300; seed++) {
    int devices = 2 + static_cast<int>(seed % 2);
    PlacementProblem p =
        testing::random_placement(seed, devices == 3 ? 6 : 8, devices - (seed % 3 == 0), seed % 3 == 0 ? 1 : 0);
    double best = testing::least_load(p, true);
    PlacementOutcome out = search_ideals(p, false, {});
    ASSERT_EQ(out.feasible, best < infinity) << seed << " " << out.reason;
    PlacementOutcome linear = search_ideals(p, true, {});
    EXPECT_FALSE(linear.feasible && !out.feasible) << seed;
    if (!out.feasible) continue;
    feasible++;
    EXPECT_EQ(out.value, best) << seed;
    EXPECT_TRUE(out.optimal) << seed;
    PlacementScore score = evaluate_max_load(p, out.plan, true);
    EXPECT_EQ(score.violation, "") << seed;
    EXPECT_EQ(score.value, out.value) << seed;
    EXPECT_LE(max_load_bound(p, group_nodes(p, true)), testing::least_load(p, false) + 1e-9) << seed;
    if (!linear.feasible) continue;
    EXPECT_GE(linear.value, out.value) << seed;
    EXPECT_LE(*linear.lower_bound, out.value) << seed;
    EXPECT_EQ(evaluate_max_load(p, linear.plan, true).violation, "") << seed;
    EXPECT_EQ(evaluate_max_load(p, linear.plan, true).value, linear.value) << seed;
  }
  EXPECT_GT(feasible, 150);
}

TEST(Ideals, KeepsToItsBudget) {
  // 40 independent nodes have 2^40 ideals.
  PlacementProblem p;
  for (int v = 0; v < 40; v++) {
    LayerNode n;
    n.id = v;
    n.accelerator_time = 1 + v % 7;
    n.cpu_time = 100;
    p.graph.nodes.push_back(n);
  }
  p.accelerators = 4;
  SearchControl control;
  control.budget_bytes = 1 << 20;
  control.budget_proposals = 100'000;
  PlacementOutcome out = search_ideals(p, false, control);
  ASSERT_TRUE(out.feasible);
  EXPECT_GE(out.value, *out.lower_bound);
  EXPECT_EQ(evaluate_max_load(p, out.plan, true).value, out.value);
  EXPECT_LT(out.proposals, 1'000'000);
  std::stop_source stop;
  stop.request_stop();
  control.stop = stop.get_token();
  EXPECT_GE(search_ideals(p, false, control).seconds, 0);  // returns
}

TEST(Lattice, HasEveryDownsetOnce) {
  for (uint32_t seed = 0; seed < 50; seed++) {
    PlacementGroups g = group_nodes(testing::random_placement(seed, 10, 2, 1), true);
    std::vector<std::pair<int, int>> pairs;
    int count = 0;
    for (uint32_t set = 0; set < 1u << g.size(); set++) {
      bool closed = true;
      for (int v = 0; v < g.size(); v++)
        for (int w : g.successors[v]) closed = closed && (!(set >> w & 1) || (set >> v & 1));
      count += closed;
    }
    Lattice lattice = build_lattice(g.successors, topological_order(g.successors), 1 << 20, {});
    EXPECT_TRUE(lattice.complete);
    EXPECT_EQ(lattice.size(), static_cast<uint32_t>(count)) << seed;
    Lattice few = build_lattice(g.successors, topological_order(g.successors), 1, {});
    EXPECT_EQ(few.complete, count == g.size() + 1) << seed;
    EXPECT_EQ(static_cast<int>(few.size()), g.size() + 1) << seed;
    std::vector<int> all = vertices_between(few, 0, few.size() - 1);
    EXPECT_EQ(static_cast<int>(all.size()), g.size()) << seed;  // the full set can be reached
  }
}

TEST(Graph, NamesANodeOnACycle) {
  LayerGraph graph;
  graph.nodes.resize(3);
  for (int v = 0; v < 3; v++) graph.nodes[v].id = 5 + v;
  graph.edges = {{0, 1, 0}, {1, 2, 0}};
  require_acyclic(graph);
  graph.edges.push_back({2, 1, 0});
  try {
    require_acyclic(graph);
    FAIL();
  } catch (const Error& e) {
    EXPECT_STREQ(e.what(), "the graph has a cycle: node 6 is one of 2 on it");
  }
}

}  // namespace
}  // namespace pando::plan
