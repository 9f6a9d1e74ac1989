// What limits a plan: hand-made cases whose cause and cure are known.
#include "plan/explain.hpp"

#include <gtest/gtest.h>

#include "networks.hpp"
#include "plan/edit.hpp"
#include "plan/search/baselines.hpp"

namespace pando::plan {
namespace {

using nlohmann::json;

const json* find(const json& list, const std::string& change) {
  for (const json& r : list)
    if (r["change"].get<std::string>().find(change) != std::string::npos) return &r;
  return nullptr;
}

TEST(Explain, LinksThatLimit) {
  // Gradients of large layers over slow wires between nodes.
  Space space(dense_chain(3, 64, 2048, true), shipped_cluster("p100x8-10g"));
  Roofline costs;
  std::vector<Config> plan = data_parallel_plan(space, 8);
  json r = explain_plan(space, costs, {}, plan, 0);
  ASSERT_FALSE(r["path"].empty());
  EXPECT_EQ(r["path"][0]["what"], "link");
  EXPECT_GT(r["path"][0]["share"].get<double>(), 0.5);
  EXPECT_NE(r["limits"].get<std::string>().find("links"), std::string::npos);
  // The remedy's prediction is that of the changed machine.
  std::string link = r["path"][0]["name"];
  Cluster faster = space.cluster();
  double rate = 0;
  for (Link& l : faster.links)
    if (l.name == link) rate = l.gb_per_s;
  for (Link& l : faster.links)
    if (l.gb_per_s == rate) l.gb_per_s *= 2;
  Space other(space.graph(), faster);
  double expected = static_cast<double>(predict(other, costs, {}, plan).makespan_ns) * 1e-9;
  const json* all = find(r["relief"], "links of");
  ASSERT_NE(all, nullptr);
  EXPECT_EQ((*all)["iteration_seconds"].get<double>(), expected);
  EXPECT_GT((*all)["gain"].get<double>(), 0.2);
}

TEST(Explain, OperatorsThatLimit) {
  Space space(dense_chain(2, 512, 1024, false), shipped_cluster("p100x4"));
  Roofline costs;
  std::vector<Config> plan = single_plan(space);
  json r = explain_plan(space, costs, {}, plan, 0);
  EXPECT_EQ(r["path"][0]["what"], "compute");
  double sum = 0;
  for (const json& p : r["path"]) sum += p["share"].get<double>();
  EXPECT_NEAR(sum, 1, 1e-9);
  const json* split = find(r["relief"], "in 2 parts");
  ASSERT_NE(split, nullptr);
  ASSERT_TRUE((*split)["edit"].is_string());
  EXPECT_GT((*split)["gain"].get<double>(), 0);
  // The edit does what was predicted.
  auto [op, config] = read_edit((*split)["edit"].get<std::string>(), space, plan, "edit");
  plan[op] = config;
  EXPECT_EQ(static_cast<double>(predict(space, costs, {}, plan).makespan_ns) * 1e-9,
            (*split)["iteration_seconds"].get<double>());
}

TEST(Explain, ExchangesAndMemory) {
  Space space(dense_chain(3, 64, 512, true), shipped_cluster("p100x4"));
  Roofline costs;
  std::vector<Config> plan = data_parallel_plan(space, 4);
  TaskOptions after;
  after.gradients = Gradients::after;
  json r = explain_plan(space, costs, after, plan, 4 << 20);
  const json* overlap = find(r["relief"], "gradients: overlap");
  ASSERT_NE(overlap, nullptr);
  EXPECT_GE((*overlap)["gain"].get<double>(), 0);
  EXPECT_FALSE(r["feasible"]);
  EXPECT_EQ(r["limits"].get<std::string>().rfind("memory: device", 0), 0u) << r["limits"];
  ASSERT_EQ(r["memory"].size(), 4u);
  const json& m = r["memory"][0];
  EXPECT_EQ(m["peak_bytes"].get<int64_t>(), m["weights_bytes"].get<int64_t>() + m["activations_bytes"].get<int64_t>());
  EXPECT_EQ(m["limit_bytes"], 4 << 20);
  const json *recompute = find(r["relief"], "activations: recompute"), *sharded = find(r["relief"], "sharded states 3");
  ASSERT_NE(recompute, nullptr);
  ASSERT_NE(sharded, nullptr);
  EXPECT_LE((*recompute)["peak_memory_bytes"].get<int64_t>(), m["peak_bytes"].get<int64_t>());
  // Each remedy says whether the plan then fits.
  for (const json& one : r["relief"]) EXPECT_TRUE(one["feasible"].is_boolean());
}

TEST(Explain, FormulasAndWhatTheyMisjudge) {
  Roofline costs;
  Space space(dense_chain(3, 64, 512, true), shipped_cluster("p100x4-10g"));
  // On one device nothing overlaps and nobody waits: both formulas are exact.
  json one = explain_plan(space, costs, {}, single_plan(space), 0);
  ASSERT_EQ(one["formulas"].size(), 2u);
  for (const json& f : one["formulas"]) {
    EXPECT_EQ(f["seconds"], one["iteration_seconds"]) << f.dump();
    EXPECT_EQ(f["error"], 0);
    EXPECT_TRUE(f["operators"].empty());
  }
  // Exchanges hide behind the backward pass, which the sum over operators does not know.
  json all = explain_plan(space, costs, {}, data_parallel_plan(space, 4), 0);
  for (const json& f : all["formulas"]) {
    double formula = 0, simulated = 0;
    for (const json& t : f["terms"]) {
      formula += t["formula_s"].get<double>();
      simulated += t["simulated_s"].get<double>();
    }
    EXPECT_NEAR(formula, f["seconds"].get<double>(), 1e-12);
    EXPECT_NEAR(simulated, all["iteration_seconds"].get<double>(), 1e-12);
    EXPECT_NEAR(f["error"].get<double>(), formula / simulated - 1, 1e-9);
  }
  const json& chain = all["formulas"][0];
  EXPECT_EQ(chain["name"], "chain");
  EXPECT_GT(chain["error"].get<double>(), 0);
  ASSERT_FALSE(chain["operators"].empty());
  EXPECT_NE(space.find_op(chain["operators"][0]["what"].get<std::string>()), none);
}

}  // namespace
}  // namespace pando::plan
