// What Model::support says of a model, and what compile counts of it.
#include "import/model_writer.hpp"
#include "models.hpp"

namespace pando::testing {
namespace {

namespace onnx = testing_onnx;

Model model_of(const onnx::ModelWriter& m) {
  const std::string bytes = m.bytes();
  return Model::from_memory(std::as_bytes(std::span(bytes)));
}

onnx::ModelWriter doubles() {
  onnx::ModelWriter m;
  m.input("x", onnx::f64, {1, 4, 6, 6}).output("y", onnx::f64);
  m.initializer(onnx::raw_tensor("w", onnx::f64, {4, 4, 3, 3}, std::vector<double>(144, 0.5)));
  m.node("Conv", {"x", "w"}, {"y"});
  return m;
}

TEST(Support, IsEmptyWhereAllHasKernels) {
  const Support cnn = Model::load(small_cnn()).support(), transformer = Model::load(small_transformer()).support();
  EXPECT_TRUE(cnn.entries.empty() && transformer.entries.empty());
  EXPECT_EQ(cnn.unjudged, 0u);
}

TEST(Support, NamesWhatRunsByReference) {
  Engine engine = engine_of(1);
  const Model model = model_of(doubles());
  const Support found = model.support();
  ASSERT_FALSE(found.entries.empty());
  double operations = 0, time = 0;
  bool conv = false;
  for (const SupportEntry& e : found.entries) {
    EXPECT_FALSE(e.missing);
    conv = conv || (e.op == "conv" && e.node == "Conv_node");
    EXPECT_TRUE(holds(e.detail, "float64 [")) << e.op;
    operations += e.operations;
    time += e.time;
  }
  EXPECT_TRUE(conv);
  const CompileStats stats = model.compile(engine).stats();
  EXPECT_DOUBLE_EQ(stats.reference_operations, operations);
  EXPECT_DOUBLE_EQ(stats.reference_time, time);
  EXPECT_GT(operations, 0.5);
  EXPECT_EQ(Model::load(small_cnn()).compile(engine).stats().reference_time, 0);
}

TEST(Support, GoesOnBehindWhatIsMissing) {
  onnx::ModelWriter m = doubles();
  m.output("z").node("Strange", {"y"}, {"s"}, {}, "far").node("Neg", {"s"}, {"z"});
  const Model model = model_of(m);
  error_of([&] { model.compile(engine_of(1)); }, ErrorCode::not_supported);
  const Support found = model.support();
  ASSERT_GE(found.entries.size(), 2u);
  EXPECT_TRUE(found.entries[0].missing);
  EXPECT_EQ(found.entries[0].op, "far.Strange");
  EXPECT_TRUE(holds(found.entries[0].detail, "not supported"));
  EXPECT_FALSE(found.entries[1].missing);
  EXPECT_EQ(found.unjudged, 1u);
}

TEST(Support, AsksForValuesThatShapesDependOn) {
  onnx::ModelWriter m;
  m.input("x", onnx::f32, {6}).input("shape", onnx::i64, {2}).output("y").node("Reshape", {"x", "shape"}, {"y"});
  const Model model = model_of(m);
  EXPECT_THROW(model.support(), InputValueNeeded);
  CompileOptions options;
  options.values["shape"] = Array(DType::i64, {2});
  options.values["shape"].as<int64_t>()[0] = 2;
  options.values["shape"].as<int64_t>()[1] = 3;
  EXPECT_TRUE(model.support(options).entries.empty());
}

}  // namespace
}  // namespace pando::testing
