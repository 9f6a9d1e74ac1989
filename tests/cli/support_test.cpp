// `pando inspect --support`, and the warning of `pando bench`.
#include <nlohmann/json.hpp>

#include "cli/command.hpp"
#include "import/model_writer.hpp"

namespace pando::testing {
namespace {

using nlohmann::json;
namespace onnx = testing_onnx;

// Two nodes of an operator that is missing, one behind them, one of a form that is missing, and two float64 nodes.
std::string mixed_model() {
  onnx::ModelWriter m;
  m.input("x", onnx::f64, {1, 4, 6, 6}).output("y").output("z").output("u", onnx::f64);
  m.initializer(onnx::raw_tensor("w", onnx::f64, {4, 4, 3, 3}, std::vector<double>(144, 0.5)));
  m.node("Conv", {"x", "w"}, {"c"}).node("Conv", {"c", "w"}, {"u"});
  m.node("Strange", {"u"}, {"s"}, {}, "far").node("Strange", {"s"}, {"t"}, {}, "far").node("Relu", {"t"}, {"y"});
  m.node("Cast", {"x"}, {"z"}, {onnx::attr("to", int64_t{8})});  // to strings
  const std::string path = temporary("mixed.onnx");
  write(path, m.bytes());
  return path;
}

TEST(SupportCommand, ListsAllThatIsMissingAtOnce) {
  const std::string path = mixed_model();
  const Result text = pando("inspect --support " + path), data = pando("inspect --support --json " + path);
  EXPECT_EQ(text.code, 1);
  EXPECT_EQ(data.code, 1);
  EXPECT_TRUE(holds(text.err, "pando: 3 nodes are missing"));
  EXPECT_TRUE(holds(text.out, "missing    far.Strange: 2 nodes, first 'Strange_node'"));
  EXPECT_TRUE(holds(text.out, "reference  conv: 2 nodes, "));
  EXPECT_TRUE(holds(text.out, "float64 4-D, float64 4-D -> float64 4-D"));
  EXPECT_TRUE(holds(text.out, "by references in all: "));
  EXPECT_TRUE(holds(text.out, "1 node reads"));
  const json all = json::parse(data.out);
  ASSERT_EQ(all["missing"].size(), 2u);
  EXPECT_EQ(all["missing"][0]["nodes"].size(), 2u);
  EXPECT_EQ(all["missing"][1]["operator"], "Cast");
  EXPECT_EQ(all["unjudged"], 1);
  double share = 0;
  for (const json& row : all["reference"]) share += row["operations_share"].get<double>();
  EXPECT_DOUBLE_EQ(all["reference_operations_share"], share);
  EXPECT_GT(share, 0.9);
  EXPECT_LE(share, 1.000001);
}

TEST(SupportCommand, EndsWith0WhenNothingIsMissing) {
  const Result text = pando("inspect --support " + small_cnn()),
               data = pando("inspect --support --json " + small_cnn());
  EXPECT_EQ(text.code, 0) << text.err;
  EXPECT_EQ(text.out, "all operators have kernels for their types\n");
  EXPECT_EQ(json::parse(data.out)["missing"].size(), 0u);
  expect_error("inspect --support --tiles " + small_cnn(), 2, "--tiles");
  expect_error("inspect --support /nowhere.onnx", 1, "/nowhere.onnx");
}

TEST(BenchCommand, WarnsOfReferences) {
  onnx::ModelWriter m;
  m.input("x", onnx::f64, {1, 4, 6, 6}).output("y", onnx::f64);
  m.initializer(onnx::raw_tensor("w", onnx::f64, {4, 4, 3, 3}, std::vector<double>(144, 0.5)));
  m.node("Conv", {"x", "w"}, {"y"});
  const std::string path = temporary("double.onnx");
  write(path, m.bytes());
  const Result slow = pando("bench --runs 10 " + path);
  EXPECT_EQ(slow.code, 0);
  EXPECT_TRUE(holds(slow.err, "pando inspect --support"));
  EXPECT_EQ(pando("bench --runs 10 " + small_cnn()).err.find("--support"), std::string::npos);
  const std::string made = temporary("double.pando");
  ASSERT_EQ(pando("compile " + path + " -o " + made).code, 0);
  EXPECT_TRUE(holds(pando("bench --runs 10 " + made).err, "pando inspect --support"));
  expect_error("inspect --support " + made, 1, "take the model that it was made from");
}

}  // namespace
}  // namespace pando::testing
