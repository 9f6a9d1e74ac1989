// Cutting operators by three types: elimination against exhaustive search, shares for unequal devices.
#include "plan/search/partition.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

#include "../plan/networks.hpp"
#include "plan/search/elimination.hpp"
#include "plan/search/search.hpp"

namespace pando::plan {
namespace {

double sum_of(const std::vector<int>& states, const std::vector<Factor>& factors, const std::vector<int>& at) {
  double sum = 0;
  for (const Factor& f : factors) {
    size_t i = 0;
    for (uint32_t v : f.scope) i = i * static_cast<size_t>(states[v]) + static_cast<size_t>(at[v]);
    sum += f.value[i];
  }
  return sum;
}

TEST(Elimination, EqualsExhaustiveSearch) {
  for (uint32_t seed = 0; seed < 200; seed++) {
    std::mt19937 random(seed);
    auto upto = [&](int n) { return static_cast<int>(random() % static_cast<uint32_t>(n)); };
    std::vector<int> states(static_cast<size_t>(1 + upto(7)));
    for (int& s : states) s = 1 + upto(3);
    std::vector<Factor> factors;
    for (uint32_t a = 0; a < states.size(); a++)
      for (uint32_t b = a; b < states.size(); b++) {
        if (b > a + 1 && upto(3) != 0) continue;
        Factor f{{a}, {}};
        if (b > a) f.scope.push_back(b);
        for (int i = states[a] * (b > a ? states[b] : 1); i > 0; i--) f.value.push_back(upto(20));
        factors.push_back(f);
      }
    double best = std::numeric_limits<double>::infinity();
    std::vector<int> at(states.size(), 0);
    for (size_t v = 0; v < states.size();) {
      best = std::min(best, sum_of(states, factors, at));
      for (v = 0; v < states.size() && ++at[v] == states[v]; v++) at[v] = 0;
    }
    Assignment found = minimize(states, factors);
    EXPECT_TRUE(found.exact);
    EXPECT_EQ(sum_of(states, factors, found.state), best) << seed;
    EXPECT_EQ(found.value, best) << seed;
    Assignment hasty = minimize(states, factors, 2);  // hardly any table: still an assignment
    EXPECT_GE(sum_of(states, factors, hasty.state), best) << seed;
    EXPECT_EQ(sum_of(states, factors, hasty.state), hasty.value) << seed;
    EXPECT_TRUE(!hasty.exact || sum_of(states, factors, hasty.state) == best) << seed;
  }
}

Cluster unequal(std::vector<double> gflops) {
  Cluster c;
  for (double g : gflops) {
    c.devices.push_back({static_cast<uint32_t>(c.kinds.size()), 0});
    c.kinds.push_back({"k" + std::to_string(c.kinds.size()), {}, 0, int64_t{1} << 40, 1, 1, 0});
    c.kinds.back().machine.peak_gflops = g;
    c.kinds.back().machine.memory_gb_per_s = g;
  }
  c.network.inside = {1000, 0, Sharing::port, false};
  connect(c);
  return c;
}

TEST(Partition, HalvesByLevels) {
  Space space(dense_chain(2, 16, 32, false), unequal({1, 1, 1, 1}));
  const Domain& d = space.ops()[0].domain;
  int m = -1, n = -1;
  for (int i = 0; i < d.rank; i++) {
    if (d[i].tag == Tag::sample) m = i;
    if (d[i].tag == Tag::parameter) n = i;
  }
  ASSERT_TRUE(m >= 0 && n >= 0);
  // First level: samples, second: features. Parts are row-major, samples before features.
  std::optional<Config> c = halved(space, 0, {m, n}, {0.5, 0.5}, 2);
  ASSERT_TRUE(c);
  EXPECT_EQ(c->devices, (std::vector<uint32_t>{0, 1, 2, 3}));
  c = halved(space, 0, {n, m}, {0.5, 0.5}, 2);
  EXPECT_EQ(c->devices, (std::vector<uint32_t>{0, 2, 1, 3}));
  c = halved(space, 0, {m, m}, {0.75, 0.5}, 2);
  EXPECT_EQ(c->devices, (std::vector<uint32_t>{0, 1, 2, 3}));
  EXPECT_EQ(c->split.ratios[static_cast<size_t>(m)], (std::vector<double>{0.375, 0.375, 0.125, 0.125}));
  c = halved(space, 0, {-1, m}, {0.5, 0.5}, 2);
  EXPECT_EQ(c->devices, (std::vector<uint32_t>{0, 1}));
  EXPECT_FALSE(halved(space, 0, {m, m}, {0.999, 0.5}, 2));  // a piece would be empty
}

TEST(Partition, SharesFitUnequalDevices) {
  Roofline costs;
  TaskOptions tasks;
  for (double slow : {1000.0, 500.0, 250.0}) {
    Space space(small_network(64), unequal({1000, slow}));
    PartitionPlan solved = partition(space, costs, tasks, {true, 1}, {});
    PartitionPlan equal = partition(space, costs, tasks, {false, 1}, {});
    ASSERT_EQ(solved.shares.size(), 1u);
    EXPECT_NEAR(solved.shares[0], 1000 / (1000 + slow), 0.03);
    EXPECT_EQ(equal.shares[0], 0.5);
    EXPECT_TRUE(solved.exact && equal.exact);
    auto time = [&](const PartitionPlan& p) {
      return static_cast<double>(predict(space, costs, tasks, p.configs).makespan_ns);
    };
    double ideal = (1000 + slow) / (2 * slow);
    EXPECT_GE(time(equal) / time(solved), (1 + 0.8 * (ideal - 1)) * 0.999) << slow;
    for (uint32_t o = 0; o < solved.configs.size(); o++) check_config(solved.configs[o], space, o, "partition");
  }
}

// Weights that are much larger than activations stay where they are: a dense layer after the other is cut along its
// inputs and its outputs in turn, so that nothing but partial sums moves.
TEST(Partition, CutsDenseLayersByFeatures) {
  Space space(dense_chain(4, 4, 512, true), unequal({1000, 1000}));
  Roofline costs;
  PartitionPlan plan = partition(space, costs, {}, {true, 1}, {});
  int by_features = 0;
  for (uint32_t o = 0; o < space.ops().size(); o++) {
    const Domain& d = space.ops()[o].domain;
    if (space.ops()[o].parameters.empty()) continue;
    for (int i = 0; i < d.rank; i++)
      by_features += plan.configs[o].split.degree[static_cast<size_t>(i)] == 2 && d[i].tag != Tag::sample;
  }
  EXPECT_EQ(by_features, 4);
  int64_t moved = predict(space, costs, {}, plan.configs).bytes_moved;
  EXPECT_LT(moved, 512 * 512 * 4);  // data parallelism would exchange four times as much
}

TEST(Partition, SearchesByName) {
  Space space(small_network(64), unequal({1000, 500}));
  Roofline costs;
  SearchOptions options;
  options.search = "chain";
  SearchResult found = search_plan(space, costs, options);
  EXPECT_TRUE(found.outcome.feasible);
  EXPECT_EQ(found.outcome.search, "chain");
  EXPECT_EQ(found.compared.back().name, "chain, equal parts");
  EXPECT_LT(found.best.prediction.makespan_ns, found.compared.back().prediction.makespan_ns);
  Space alone(small_network(4), unequal({1000}));
  EXPECT_TRUE(search_plan(alone, costs, options).outcome.feasible);
  // Seven devices: four are used.
  Space seven(small_network(64), shipped_cluster("p100x7"));
  SearchResult four = search_plan(seven, costs, options);
  EXPECT_TRUE(four.outcome.feasible);
  for (const Config& c : four.best.configs)
    for (uint32_t d : c.devices) EXPECT_LT(d, 4u);
}

}  // namespace
}  // namespace pando::plan
