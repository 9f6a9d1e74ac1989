// CompileOptions::references and extra_outputs, Model::values, load_tensor.
#include <nlohmann/json.hpp>

#include "import/model_writer.hpp"
#include "models.hpp"

namespace pando::testing {
namespace {

namespace onnx = testing_onnx;

double largest_difference(const Array& a, const Array& b) {
  double largest = 0;
  for (size_t i = 0; i < a.count(); i++)
    largest = std::max<double>(largest, std::abs(a.as<float>()[i] - b.as<float>()[i]));
  return largest;
}

TEST(References, ComputeAllOperators) {
  const Engine engine = engine_of(2);
  for (const std::string& path : {small_cnn(), small_transformer()}) {
    const Model model = Model::load(path);
    CompileOptions options;
    options.references = options.inspect = true;
    Compiled plain = model.compile(engine, options), fast = model.compile(engine);
    for (const auto& row : nlohmann::json::parse(plain.inspect_json())["operators"])
      EXPECT_EQ(row["algorithm"], "reference") << row;
    EXPECT_DOUBLE_EQ(plain.stats().reference_operations, 1);
    EXPECT_TRUE(plain.stats().passes.empty());
    const std::map<std::string, Array> inputs{{"x", random_array(plain.inputs()[0].shape, 1)}};
    const Array want = plain.run(inputs)[0], got = fast.run(inputs)[0];
    EXPECT_LT(largest_difference(want, got), 1e-3);
    const std::string file = temporary("plain.pando");
    model.save(plain, file);
    Compiled again = Model::load(file).compile(engine);
    EXPECT_TRUE(same_bits(again.run(inputs)[0], want));
  }
}

onnx::ModelWriter branches() {
  onnx::ModelWriter m;
  m.input("x", onnx::f32, {4}).output("y");
  m.node("Neg", {"d"}, {"y"});  // nodes in another order than they can be computed in
  m.node("Abs", {"a"}, {"dead"});
  m.node("Sqrt", {"b"}, {"d"}).node("Abs", {"a"}, {"b"}).node("Neg", {"x"}, {"a"});
  return m;
}

TEST(Values, AreListedProducersFirst) {
  const std::string bytes = branches().bytes();
  const Model model = Model::from_memory(std::as_bytes(std::span(bytes)));
  EXPECT_EQ(model.values(), (std::vector<std::string>{"a", "b", "d", "y"}));
  const Engine engine = engine_of(1);
  const Model source = Model::load(small_cnn());
  const std::string file = temporary("cnn.pando");
  source.save(source.compile(engine), file);
  EXPECT_TRUE(Model::load(file).values().empty());
}

TEST(Values, BecomeOutputs) {
  const Engine engine = engine_of(1);
  const std::string bytes = branches().bytes();
  const Model model = Model::from_memory(std::as_bytes(std::span(bytes)));
  Array x(DType::f32, {4});
  for (size_t i = 0; i < 4; i++) x.as<float>()[i] = static_cast<float>(i * i);
  for (bool references : {false, true}) {
    CompileOptions options;
    options.references = references;
    options.extra_outputs = {"b", "a"};
    Compiled compiled = model.compile(engine, options);
    ASSERT_EQ(compiled.outputs().size(), 3u);
    EXPECT_EQ(compiled.outputs()[1].name, "b");
    EXPECT_EQ(compiled.outputs()[2].name, "a");
    const std::vector<Array> out = compiled.run({{"x", x}});
    EXPECT_EQ(out[0].as<float>()[3], -3);
    EXPECT_EQ(out[1].as<float>()[3], 9);
    EXPECT_EQ(out[2].as<float>()[3], -9);
  }
  for (const std::vector<std::string>& bad :
       {std::vector<std::string>{"none"}, {"x"}, {"y"}, {"a", "a"}, {std::string()}}) {
    CompileOptions options;
    options.extra_outputs = bad;
    const std::string error = error_of([&] { model.compile(engine, options); }, ErrorCode::invalid_argument);
    EXPECT_TRUE(holds(error, "'" + bad.back() + "'"));
  }
}

TEST(LoadTensor, ReadsAllForms) {
  const std::string path = temporary("tensor.pb");
  write(path, onnx::raw_tensor("t", onnx::i64, {2, 1}, std::vector<int64_t>{7, -8}));
  const Array raw = load_tensor(path);
  EXPECT_EQ(raw.dtype(), DType::i64);
  EXPECT_EQ(raw.shape(), (std::vector<int64_t>{2, 1}));
  EXPECT_EQ(raw.as<int64_t>()[1], -8);
  std::string list = onnx::tensor_header("t", onnx::i32, {2});
  const std::vector<int32_t> values{3, -4};
  protozero::pbf_writer(list).add_packed_int32(5, values.begin(), values.end());
  write(path, list);
  EXPECT_EQ(load_tensor(path).as<int32_t>()[1], -4);
  write(path, onnx::raw_tensor("t", onnx::f32, {0, 3}, std::vector<float>{}));
  EXPECT_EQ(load_tensor(path).count(), 0u);
}

TEST(LoadTensor, NamesTheFileInErrors) {
  const std::string path = temporary("bad.pb");
  EXPECT_TRUE(holds(error_of([&] { load_tensor("/nowhere.pb"); }, ErrorCode::io), "/nowhere.pb"));
  write(path, "\x7f");
  EXPECT_TRUE(holds(error_of([&] { load_tensor(path); }, ErrorCode::invalid_model), "bad.pb"));
  write(path, onnx::raw_tensor("t", onnx::f32, {3}, std::vector<float>{1}));
  EXPECT_TRUE(holds(error_of([&] { load_tensor(path); }, ErrorCode::invalid_model), "bad.pb: tensor 't'"));
  write(path, onnx::external_tensor("t", onnx::f32, {3}, "weights.bin"));
  error_of([&] { load_tensor(path); }, ErrorCode::invalid_model);
}

}  // namespace
}  // namespace pando::testing
