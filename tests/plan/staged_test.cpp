// Plans as pipelines: their stages against the closed formulas, what they hold, what is no pipeline.
#include "plan/simulate/staged.hpp"

#include <gtest/gtest.h>

#include "networks.hpp"
#include "plan/explain.hpp"
#include "plan/search/baselines.hpp"

namespace pando::plan {
namespace {

// Every forward task takes 1000 ns, whatever it is.
class Equal : public CostModel {
 public:
  const char* name() const override { return "equal"; }
  int64_t compute_ns(const Work&, const Box&, const DeviceKind&) const override { return 1000; }
};

Cluster line_of(int devices) {
  return read_cluster(fmt::format(R"({{"pando_cluster":1,
    "kinds":{{"a":{{"peak_gflops":{{"f32":1000}},"memory_bytes":1000000000,"memory_gb_per_s":1000}}}},
    "devices":[{{"kind":"a","count":{}}}],"network":{{"inside":{{"gb_per_s":1e12,"latency_us":0}}}}}})",
                                  devices));
}

std::vector<Config> on_devices(const Space& space, const std::vector<uint32_t>& devices) {
  std::vector<Config> plan = single_plan(space);
  for (size_t o = 0; o < plan.size(); o++) plan[o].devices = {devices[std::min(o, devices.size() - 1)]};
  return plan;
}

constexpr TaskOptions after{Gradients::after, Collective::automatic};

TEST(Stages, EqualOnesIdleAsTheFormulaSays) {
  Equal costs;
  for (uint32_t s : {1u, 2u, 4u, 8u}) {
    Space space(dense_chain(static_cast<int>(s), 8, 16, false), line_of(static_cast<int>(s)));
    std::vector<uint32_t> devices;
    for (uint32_t i = 0; i < s; i++) devices.push_back(i);
    TaskGraph graph(space, costs, after, on_devices(space, devices));
    for (uint32_t m : {1u, 4u, 16u}) {
      StagedPrediction p = simulate_stages(graph, {Schedule::one_f_one_b, m, 1, 1});
      ASSERT_EQ(p.stages.size(), s);
      EXPECT_EQ(p.iteration_ns, 1000 * (m + s - 1));
      EXPECT_NEAR(p.timeline.idle_share(), (s - 1.0) / (m + s - 1.0), 1e-12);
    }
  }
}

TEST(Stages, Explained) {
  Equal costs;
  Space space(dense_chain(4, 8, 16, false), line_of(4));
  std::vector<Config> plan = on_devices(space, {0, 1, 2, 3});
  nlohmann::json r = explain_pipeline(space, costs, after, plan, {Schedule::one_f_one_b, 8, 1, 1}, 0);
  EXPECT_NEAR(r["iteration_seconds"].get<double>(), 11e-6, 1e-15);
  ASSERT_EQ(r["formulas"].size(), 1u);
  EXPECT_NEAR(r["formulas"][0]["seconds"].get<double>(), 11e-6, 1e-15);  // (8 - 1) x 1 + 4 x 1 us
  EXPECT_NEAR(r["formulas"][0]["error"].get<double>(), 0, 1e-12);
  double path = 0;
  for (const auto& p : r["path"]) path += p["seconds"].get<double>();
  EXPECT_NEAR(path, 11e-6, 1e-15);
  EXPECT_EQ(r["memory"].size(), 4u);
  EXPECT_TRUE(r["limits"].get<std::string>().starts_with("stage 0 of 4")) << r["limits"];
  EXPECT_FALSE(r["relief"].empty());
  // Memory that is too small is the first thing said.
  r = explain_pipeline(space, costs, after, plan, {Schedule::one_f_one_b, 8, 1, 1}, 100);
  EXPECT_FALSE(r["feasible"].get<bool>());
  EXPECT_TRUE(r["limits"].get<std::string>().starts_with("memory: stage 0")) << r["limits"];
}

TEST(Stages, MemoryGrowsWithTheMicroBatchesInFlight) {
  Space space(dense_chain(8, 64, 256, true), line_of(4));
  Roofline costs;
  TaskGraph graph(space, costs, after, on_devices(space, {0, 0, 1, 1, 2, 2, 3, 3}));
  StagedPrediction one = simulate_stages(graph, {Schedule::one_f_one_b, 1, 1, 1});
  StagedPrediction few = simulate_stages(graph, {Schedule::one_f_one_b, 8, 1, 1});
  StagedPrediction all = simulate_stages(graph, {Schedule::fill_drain, 8, 1, 1});
  StagedPrediction two = simulate_stages(graph, {Schedule::two_buffered, 8, 1, 1});
  ASSERT_EQ(one.rows.size(), 4u);
  for (uint32_t d = 0; d < 4; d++) {
    EXPECT_GT(one.kept[d], 0);
    EXPECT_EQ(few.timeline.in_flight[d], 4 - d);
    EXPECT_EQ(few.memory[d].peak - one.memory[d].peak, (3 - d) * one.kept[d]);
    EXPECT_EQ(all.memory[d].peak - one.memory[d].peak, 7 * one.kept[d]);
    EXPECT_GT(two.memory[d].weights, few.memory[d].weights);
  }
  // All micro-batches but one hide behind each other; nobody waits between iterations with two versions of weights.
  EXPECT_LT(few.iteration_ns, 8 * one.iteration_ns);
  EXPECT_LT(two.iteration_ns, few.iteration_ns);
  EXPECT_EQ(memory_reason(space, few), "");
  EXPECT_NE(memory_reason(space, few, 1000).find("stage 0: "), std::string::npos);
  EXPECT_NE(memory_reason(space, few, 1000).find(": 4 in flight x "), std::string::npos);
}

TEST(Stages, ChunksOfADevice) {
  Equal costs;
  Space space(dense_chain(4, 8, 16, false), line_of(2));
  TaskGraph graph(space, costs, after, on_devices(space, {0, 1, 0, 1}));
  StagedPrediction p = simulate_stages(graph, {Schedule::interleaved, 4, 2, 1});
  EXPECT_EQ(p.rows.size(), 2u);
  EXPECT_EQ(p.iteration_ns, 1000 * (2 * 4 + 1));
  EXPECT_THROW(simulate_stages(graph, {Schedule::interleaved, 4, 3, 1}), Error);
  EXPECT_THROW(simulate_stages(graph, {Schedule::one_f_one_b, 4, 1, 1}), Error);  // a device in two stages
}

TEST(Stages, WhatIsNoPipeline) {
  Equal costs;
  NetWriter n;
  ValueId x = n.dense(n.input({8, 16}), 16);
  n.g.outputs = {n.add(n.dense(x, 16), n.dense(x, 16))};
  Space space(std::move(n.g), line_of(4));
  // Two branches of one fork on two devices.
  TaskGraph graph(space, costs, after, on_devices(space, {0, 1, 2, 3}));
  try {
    simulate_stages(graph, {Schedule::one_f_one_b, 4, 1, 1});
    FAIL();
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("are both 1 stages behind the input"), std::string::npos) << e.what();
  }
}

}  // namespace
}  // namespace pando::plan
