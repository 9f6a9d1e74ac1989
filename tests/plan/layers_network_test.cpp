// Groups of devices over unequal links, and hierarchical partitions of layer tables.
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>

#include "plan/layers/layer_table.hpp"
#include "plan/layers/network.hpp"

namespace pando::plan {
namespace {

NetworkProblem random_network(uint32_t seed, int devices, int groups, bool symmetric) {
  std::mt19937 random(seed);
  NetworkProblem p;
  p.devices = devices;
  p.groups = groups;
  p.gradient_bytes = 100;
  p.activation_bytes = 60;
  size_t n = static_cast<size_t>(devices);
  p.delay.assign(n * n, 0);
  p.bandwidth.assign(n * n, 1);
  for (size_t i = 0; i < n; i++)
    for (size_t j = 0; j < n; j++) {
      if (i == j) continue;
      bool copy = symmetric && j < i;
      p.delay[i * n + j] = copy ? p.delay[j * n + i] : 1 + random() % 9;
      p.bandwidth[i * n + j] = copy ? p.bandwidth[j * n + i] : 1 + random() % 40;
    }
  return p;
}

TEST(Network, EvaluatesTheFormula) {
  // Two pairs; 100 bytes of gradients in halves at 10 bytes/s, 60 bytes of activations at 20 bytes/s.
  NetworkProblem p;
  p.devices = 4;
  p.groups = 2;
  p.gradient_bytes = 100;
  p.activation_bytes = 60;
  p.delay.assign(16, 1);
  p.bandwidth.assign(16, 20);
  for (auto [i, j] : {std::pair(0, 1), {1, 0}, {2, 3}, {3, 2}}) p.bandwidth[i * 4 + j] = 10;
  p.bandwidth[0 * 4 + 2] = p.bandwidth[2 * 4 + 0] = 1;  // too slow: 0 is matched with 3
  NetworkScore score = evaluate_network(p, {{0, 1}, {2, 3}});
  EXPECT_EQ(score.data, 2 * (1 + 5.0));
  EXPECT_EQ(score.pipeline, 1 + 3.0);
  EXPECT_EQ(score.value, 12 + 2 * 4.0);
  EXPECT_EQ(evaluate_network(p, {{0, 1}, {2, 2}}).violation, "device 2 is not in one group");
  EXPECT_EQ(evaluate_network(p, {{0, 1, 2}, {3}}).violation, "not every device is in a group");
}

TEST(Network, MatchesEveryOrderOfSmallOnes) {
  for (uint32_t seed = 0; seed < 40; seed++) {
    NetworkProblem p = random_network(seed, 6, seed % 2 == 0 ? 3 : 2, seed % 3 != 0);
    int size = p.devices / p.groups;
    std::vector<int> members(6);
    std::iota(members.begin(), members.end(), 0);
    double best = std::numeric_limits<double>::infinity();
    do {
      std::vector<std::vector<int>> groups;
      bool sorted = true;
      for (int g = 0; g < p.groups; g++) {
        groups.emplace_back(members.begin() + g * size, members.begin() + (g + 1) * size);
        sorted = sorted && std::is_sorted(groups.back().begin(), groups.back().end());
      }
      if (sorted) best = std::min(best, evaluate_network(p, groups).value);
    } while (std::next_permutation(members.begin(), members.end()));
    SearchControl control;
    control.budget_proposals = 4000;
    NetworkOutcome out = search_network(p, control);
    NetworkScore score = evaluate_network(p, out.groups);
    EXPECT_EQ(score.violation, "") << seed;
    EXPECT_NEAR(score.value, out.value, 1e-9 * out.value) << seed;
    EXPECT_NEAR(out.value, best, 1e-9 * best) << seed;
    EXPECT_LE(*out.lower_bound, best * (1 + 1e-12)) << seed;
  }
}

TEST(Network, TakesAnyNumberOfGroups) {
  for (int groups : {1, 2, 12, 24}) {
    NetworkProblem p = random_network(5, 24, groups, true);
    SearchControl control;
    control.budget_proposals = 200;
    NetworkOutcome out = search_network(p, control);
    NetworkScore score = evaluate_network(p, out.groups);
    EXPECT_EQ(score.violation, "") << groups;
    EXPECT_NEAR(score.value, out.value, 1e-9 * out.value) << groups;
    EXPECT_GE(out.value, *out.lower_bound * (1 - 1e-12)) << groups;
  }
}

TEST(BottleneckMatching, EqualsEveryPermutation) {
  std::mt19937 random(3);
  BottleneckMatching matching;
  for (int round = 0; round < 200; round++) {
    int n = 1 + round % 6;
    std::vector<double> w(static_cast<size_t>(n) * n);
    for (double& x : w) x = random() % 10;
    std::vector<int> to(n);
    std::iota(to.begin(), to.end(), 0);
    double best = 100;
    do {
      double most = 0;
      for (int i = 0; i < n; i++) most = std::max(most, w[i * n + to[i]]);
      best = std::min(best, most);
    } while (std::next_permutation(to.begin(), to.end()));
    EXPECT_EQ(matching.solve(n, [&](int i, int j) { return w[i * n + j]; }), best);
  }
}

LayerTable random_table(uint32_t seed, int layers, int span) {
  std::mt19937 random(seed);
  LayerTable t;
  for (int l = 0; l < layers; l++)
    t.layers.push_back({"l", 8.0 * (random() % 9), 8.0 * (random() % 9), 8.0 * (random() % 9)});
  t.span = span;
  t.stride = std::max(1, span);
  t.first = span == 3 ? 4 : 3;
  t.levels = 3;
  return t;
}

TEST(Chain, EqualsExhaustiveSearchPerLevel) {
  for (uint32_t seed = 0; seed < 60; seed++) {
    LayerTable table =
        random_table(seed, 1 + static_cast<int>(seed % 7), seed % 3 == 0 ? 0 : 1 + static_cast<int>(seed % 3));
    TableOutcome out = search_chain(table, {});
    std::vector<std::vector<int>> types;
    double sum = 0;
    for (const TableLevel& level : out.levels) {
      // All types in lexicographic order, the first layer's the slowest: the first best is the lowest.
      std::vector<int> tried(table.layers.size(), 1), lowest;
      double best = std::numeric_limits<double>::infinity();
      types.emplace_back();
      for (;;) {
        types.back() = tried;
        double moved = evaluate_chain(table, types).back();
        if (moved < best) {
          best = moved;
          lowest = tried;
        }
        size_t l = tried.size();
        while (l > 0 && tried[l - 1] == 3) tried[--l] = 1;
        if (l == 0) break;
        tried[l - 1]++;
      }
      EXPECT_EQ(level.moved, best) << seed;
      EXPECT_EQ(level.types, lowest) << seed;
      types.back() = level.types;
      sum += best;
    }
    EXPECT_EQ(out.value, sum) << seed;
  }
}

TEST(Chain, CutsByHand) {
  // One layer: I moves the weights, II the output, III the input.
  LayerTable t;
  t.layers = {{"only", 40, 30, 20}};
  t.levels = 2;
  TableOutcome out = search_chain(t, {});
  EXPECT_EQ(out.levels[0].types, std::vector<int>{1});
  EXPECT_EQ(out.levels[0].moved, 20);
  EXPECT_EQ(out.levels[1].types, std::vector<int>{2});  // input 20, output 15, weights 20
  EXPECT_EQ(out.levels[1].moved, 15);
}

}  // namespace
}  // namespace pando::plan
