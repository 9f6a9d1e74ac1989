#include <gtest/gtest.h>

#include "networks.hpp"
#include "plan/cost/measured.hpp"
#include "plan/cost/table.hpp"
#include "plan/search/baselines.hpp"
#include "plan/simulate/simulator.hpp"

namespace pando::plan {
namespace {

const Space& space() {
  static const Space s(small_network(8, false), shipped_cluster("p100x4"));
  return s;
}

// Every part of the plan takes twice the expected time and a microsecond.
CostFile synthetic(const Space& s, const std::vector<Config>& plan) {
  CostFile file;
  file.cpu = "none";
  file.machine.peak_gflops = 100;
  file.reference_ns = 5;
  for (uint32_t o = 0; o < s.ops().size(); o++) {
    const Piece& piece = s.stages()[s.ops()[o].stages[0]].pieces[0];
    Extents at;
    at.rank = piece.domain.rank;
    CostPoint p = describe_point(piece.work, piece.box(plan[o].split, at), file.machine);
    p.ns = 2 * p.expected_ns + 1000;
    file.points.push_back(p);
  }
  return file;
}

DeviceKind kind_with_peak(double gflops) {
  DeviceKind k;
  k.name = "core";
  k.machine.peak_gflops = gflops;
  return k;
}

TEST(CostFile, IsReadAsItIsWritten) {
  CostFile file = synthetic(space(), single_plan(space()));
  std::string text = write_cost_file(file);
  CostFile again = read_cost_file(text);
  EXPECT_EQ(write_cost_file(again), text);
  ASSERT_EQ(again.points.size(), file.points.size());
  EXPECT_EQ(again.points[3].op, file.points[3].op);
  EXPECT_EQ(again.points[3].box, file.points[3].box);
  EXPECT_EQ(again.machine.peak_gflops, 100);
  EXPECT_EQ(write_cost_file(read_cost_file(write_cost_file({}))), write_cost_file({}));
}

TEST(Measured, KnownBoxesAreExactOthersScale) {
  CostFile file = synthetic(space(), single_plan(space()));
  MeasuredCosts costs(file);
  for (const PlannedOp& op : space().ops()) {
    const Piece& piece = space().stages()[op.stages[0]].pieces[0];
    CostPoint p = describe_point(piece.work, whole(piece.domain), file.machine);
    auto expected = static_cast<double>(2 * p.expected_ns + 1000);
    EXPECT_NEAR(static_cast<double>(costs.compute_ns(piece.work, whole(piece.domain), kind_with_peak(100))), expected,
                1);
    EXPECT_NEAR(static_cast<double>(costs.compute_ns(piece.work, whole(piece.domain), kind_with_peak(50))),
                2 * expected, 1);
  }
  EXPECT_TRUE(costs.missing().empty());
  // Half the samples: about half the time, and said to be unknown.
  const Piece& conv = space().stages()[space().ops()[0].stages[0]].pieces[0];
  Box half = whole(conv.domain);
  half[0].hi /= 2;
  double all = static_cast<double>(costs.compute_ns(conv.work, whole(conv.domain), kind_with_peak(100)));
  double some = static_cast<double>(costs.compute_ns(conv.work, half, kind_with_peak(100)));
  EXPECT_NEAR(some / all, 0.5, 0.1);
  EXPECT_EQ(costs.missing().size(), 1u);
}

TEST(Fitted, FindsTheFormulaAndSaysHowExactItIs) {
  CostFile file = synthetic(space(), single_plan(space()));
  CostFile parts = synthetic(space(), data_parallel_plan(space(), 4));
  file.points.insert(file.points.end(), parts.points.begin(), parts.points.end());
  FittedCosts costs(file);
  EXPECT_NE(costs.note().find("median error"), std::string::npos);
  for (const PlannedOp& op : space().ops()) {
    const Piece& piece = space().stages()[op.stages[0]].pieces[0];
    Box box = whole(piece.domain);
    box[0].hi = 4;  // not among the points
    CostPoint p = describe_point(piece.work, box, file.machine);
    double got = static_cast<double>(costs.compute_ns(piece.work, box, kind_with_peak(100)));
    EXPECT_NEAR(got / (2 * p.expected_ns + 1000), 1, 0.25) << op.name;
  }
  EXPECT_TRUE(costs.missing().empty());
  FittedFormulas formulas(file);
  EXPECT_LT(formulas.points(), 30u);
  EXPECT_GT(formulas.validated(), 0u);
  EXPECT_LT(formulas.median_error(), 0.1);
}

TEST(Table, GivesTimesByNameTypeBoxAndKind) {
  const PlannedOp& op = space().ops()[0];
  const Piece& conv = space().stages()[op.stages[0]].pieces[0];
  Box half = whole(conv.domain);
  half[0] = {4, 8};
  TableCosts costs(
      "# times of others\n\noperator, conv 3x3, 8x32x32x16x3, core, 120.5, 300\r\noperator,conv,8x32x32x16x3,core,7,\n"
      "operator," +
      op.name + ",4x32x32x16x3,core,60,\ncollective,1000,4,10\ncollective,3000,4,20\n");
  EXPECT_EQ(costs.compute_ns(conv.work, whole(conv.domain), kind_with_peak(1)), 120500);
  EXPECT_EQ(costs.compute_ns(conv.work, half, kind_with_peak(1)), 60000);
  EXPECT_TRUE(costs.missing().empty());
  DeviceKind other = kind_with_peak(100);
  other.name = "other";
  EXPECT_EQ(costs.compute_ns(conv.work, half, other), Roofline().compute_ns(conv.work, half, other));
  ASSERT_EQ(costs.missing().size(), 1u);
  EXPECT_NE(costs.missing()[0].find("4x32x32x16x3,other"), std::string::npos);
  EXPECT_EQ(costs.collective_ns(4, 500), 10000);
  EXPECT_EQ(costs.collective_ns(4, 2000), 15000);
  EXPECT_EQ(costs.collective_ns(4, 6000), 40000);
  EXPECT_EQ(costs.collective_ns(8, 1000), -1);
}

TEST(Table, BackwardTimesAreSharedByBothGradients) {
  Space training(small_network(8), shipped_cluster("p100x4"));
  const PlannedOp* op = nullptr;
  for (const PlannedOp& o : training.ops())
    if (!op && o.stages[1] != none && o.stages[2] != none) op = &o;
  ASSERT_NE(op, nullptr);
  std::string box;
  for (int d = 0; d < op->domain.rank; d++) box += (d ? "x" : "") + std::to_string(op->domain[d].extent);
  TableCosts costs("operator," + op->name + "," + box + ",p100,10,40\ncollective,1,4,123\n");
  for (int role : {1, 2}) {
    ASSERT_NE(op->stages[role], none);
    const Piece& piece = training.stages()[op->stages[role]].pieces[0];
    EXPECT_EQ(costs.compute_ns(piece.work, whole(piece.domain), training.cluster().kinds[0]), 20000) << role;
  }
  // The table's collectives are the simulation's.
  TaskGraph graph(training, costs, {}, data_parallel_plan(training, 4));
  bool found = false;
  for (const Block& b : graph.blocks())
    if (b.kind == Block::Kind::collective)
      for (uint32_t i = 0; i < b.size(); i++)
        found |= b.tasks[i].ns == to_task_ns(123e3 * static_cast<double>(b.bytes[i]));
  EXPECT_TRUE(found);
}

void expect_refused(const std::string& name, const std::string& text, const std::string& part) {
  try {
    make_cost_model(name, text);
    FAIL() << text;
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::invalid_argument);
    EXPECT_NE(std::string(e.what()).find(part), std::string::npos) << e.what();
    EXPECT_EQ(std::string(e.what()).find('\n'), std::string::npos);
  }
}

TEST(CostFiles, WrongOnesAreRefusedByPlace) {
  std::string good = write_cost_file(synthetic(space(), single_plan(space())));
  auto changed = [&](const std::string& from, const std::string& to) {
    std::string text = good;
    size_t at = text.find(from);
    EXPECT_NE(at, text.npos) << from;
    return text.replace(at, from.size(), to);
  };
  for (const char* name : {"measured", "fitted"}) {
    expect_refused(name, good.substr(0, good.size() / 2), "cost file");
    expect_refused(name, "", "cost file");
    expect_refused(name, "[]", "cost file");
    expect_refused(name, changed("\"ns\":", "\"ns\":-"), "points[0].ns");
    expect_refused(name, changed("\"ns\":", "\"ns\":NaN,\"x\":"), "cost file");
    expect_refused(name, changed("\"ns\":", "\"ns\":1e999,\"x\":"), "cost file");
    expect_refused(name, changed("\"box\":[[0,8],", "\"box\":[[0,9],"), "points[0].box[0]");
    expect_refused(name, changed("\"box\":[[0,8],", "\"box\":["), "points[0].box");
    expect_refused(name, changed("\"domain\":[8,", "\"domain\":[8,1,1,1,1,1,1,1,1,"), "points[0].domain");
    expect_refused(name, changed("\"peak_gflops\": 100.0", "\"peak_gflops\": 0"), "peak_gflops");
    expect_refused(name, changed("\"samples\":1", "\"samples\":0"), "samples");
    expect_refused(name, changed("\"pando_costs\": 1", "\"pando_costs\": 2"), "pando_costs");
  }
  expect_refused("table", "x", "line 1");
  expect_refused("table", "\n\noperator,conv,1x2,core,1", "line 3");
  expect_refused("table", "operator,conv,1x0,core,1,1", "line 1");
  expect_refused("table", "operator,conv,1x,core,1,1", "line 1");
  expect_refused("table", "operator,conv,1x1x1x1x1x1x1x1x1,core,1,1", "dimensions");
  expect_refused("table", "operator,conv,1,core,nan,1", "microseconds");
  expect_refused("table", "operator,conv,1,core,-1,1", "microseconds");
  expect_refused("table", "operator,conv,1,core,1,1\noperator,conv,01,core,1,1", "twice");
  expect_refused("table", "collective,1,0,1", "line 1");
  expect_refused("table", "collective,99999999999999999999,2,1", "line 1");
  EXPECT_THROW(parse_cost_name("guessed:file"), Error);
  EXPECT_THROW(parse_cost_name("measured:"), Error);
  EXPECT_EQ(parse_cost_name("measured:a:b").second, "a:b");
}

}  // namespace
}  // namespace pando::plan
