// Plan files: round trip of any plan, and errors that name the place.
#include <gtest/gtest.h>

#include "networks.hpp"
#include "plan/search/baselines.hpp"

namespace pando::plan {
namespace {

std::string error_of(const std::string& text, const Space& space) {
  try {
    read_plan(text, space);
  } catch (const Error& e) {
    EXPECT_EQ(std::string(e.what()).find('\n'), std::string::npos);
    return e.what();
  }
  return "none";
}

TEST(Plan, EveryPlanSurvivesARoundTrip) {
  Space space(small_network(), shipped_cluster("p100x8"));
  Random random(5);
  for (int i = 0; i < 50; i++) {
    Plan p;
    p.configs = random_plan(space, random);
    p.gradients = i % 2 ? Gradients::after : Gradients::overlap;
    p.collective = static_cast<Collective>(i % 3);
    p.sharded_states = static_cast<uint8_t>(i % 4);
    p.configs[1].keep = static_cast<Keep>(i % 3);
    if (i % 5 > 0) p.pipeline = PipelineOptions{static_cast<Schedule>(i % 5), 8, 2, 1};
    p.configs[2] = Config{};
    p.configs[2].split.degree[0] = 3;
    p.configs[2].split.ratios.resize(max_rank);
    p.configs[2].split.ratios[0] = {1, 2.5, 0.75};
    p.configs[2].devices = {7, 0, 3};
    std::string text = write_plan(p, space);
    Plan q = read_plan(text, space);
    EXPECT_EQ(q.configs, p.configs);
    EXPECT_EQ(write_plan(q, space), text);
    EXPECT_EQ(q.gradients, p.gradients);
    EXPECT_EQ(q.collective, p.collective);
    EXPECT_EQ(q.sharded_states, p.sharded_states);
    ASSERT_EQ(q.pipeline.has_value(), p.pipeline.has_value());
    if (p.pipeline) {
      EXPECT_EQ(q.pipeline->schedule, p.pipeline->schedule);
    }
  }
}

TEST(Plan, PiecesCoverTheDimension) {
  Random random(9);
  for (int i = 0; i < 500; i++) {
    Split s;
    int64_t extent = 1 + static_cast<int64_t>(random.below(50));
    s.degree[1] = static_cast<uint16_t>(1 + random.below(static_cast<uint64_t>(extent)));
    if (i % 2) {
      s.ratios.resize(max_rank);
      for (int k = 0; k < s.degree[1]; k++) s.ratios[1].push_back(0.1 + random.unit());
    }
    int64_t at = 0;
    for (int k = 0; k < s.degree[1]; k++) {
      Interval piece = s.piece(1, extent, k);
      EXPECT_EQ(piece.lo, at);
      at = piece.hi;
    }
    EXPECT_EQ(at, extent);
  }
}

TEST(Plan, WrongFilesAreNamedByPlace) {
  Space space(dense_chain(2, 8, 100, false), shipped_cluster("p100x4"));
  Plan p;
  p.configs = data_parallel_plan(space, 4);
  const std::string good = write_plan(p, space);
  EXPECT_EQ(error_of(good, space), "none");
  auto with = [&](const std::string& from, const std::string& to) {
    std::string text = good;
    size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    return error_of(text.replace(at, from.size(), to), space);
  };
  EXPECT_EQ(with("\"0-3\"", "\"0-4\""), "plan file: operators.dense2.devices: there is no device 4: the cluster has 4");
  EXPECT_EQ(with("\"0-3\"", "\"0-2\""), "plan file: operators.dense2: 3 devices for 4 parts");
  EXPECT_EQ(with("\"0-3\"", "[0, 1, -2, 3]"),
            "plan file: operators.dense2.devices[2]: there is no device -2: the cluster has 4");
  EXPECT_EQ(with("\"m\": 4", "\"m\": 9"), "plan file: operators.dense2: degree 9 of dimension m, which has 8 elements");
  EXPECT_EQ(with("\"m\": 4", "\"q\": 4"),
            "plan file: operators.dense2.degrees: there is no dimension 'q': choose from m, n, k");
  EXPECT_EQ(with("\"m\": 4", "\"m\": 1e99"),
            "plan file: operators.dense2.degrees.m: expected an integer from 1 to 65535, got 1e+99");
  EXPECT_EQ(with("\"dense2\"", "\"dense9\""), "plan file: operators: the model has no operator 'dense9'");
  EXPECT_EQ(with("\"memory\": \"keep\"", "\"memory\": \"lose\""),
            "plan file: operators.dense2.memory: expected keep, recompute or offload, got \"lose\"");
  EXPECT_EQ(with("\"pando_plan\": 1", "\"pando_plan\": 2"),
            "plan file: pando_plan: expected an integer from 1 to 1, got 2");
  for (size_t n = 0; n + 2 < good.size(); n += 5) EXPECT_NE(error_of(good.substr(0, n), space), "none");
  Space other(dense_chain(2, 8, 96, false), shipped_cluster("p100x4"));
  EXPECT_EQ(error_of(good, other).substr(0, 48), "plan file: model: the plan is for another model,");
  Graph scaled = dense_chain(2, 8, 100, false);  // of the same shapes
  for (Node& node : scaled.nodes)
    if (node.op == &matmul_op) node.as<MatMulAttrs>().alpha = 2;
  Space attributes(std::move(scaled), shipped_cluster("p100x4"));
  EXPECT_EQ(error_of(good, attributes).substr(0, 48), "plan file: model: the plan is for another model,");
  Space moved(dense_chain(2, 8, 100, false), shipped_cluster("p100x8"));
  EXPECT_EQ(error_of(good, moved).substr(0, 52), "plan file: cluster: the plan is for another cluster ");
}

}  // namespace
}  // namespace pando::plan
