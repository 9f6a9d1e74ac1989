// `pando check`.
#include <nlohmann/json.hpp>

#include "cli/command.hpp"
#include "cli/npy.hpp"
#include "import/model_writer.hpp"

namespace pando::testing {
namespace {

using nlohmann::json;
namespace onnx = testing_onnx;

std::string saved(const std::string& name, const onnx::ModelWriter& m) {
  const std::string path = temporary(name);
  write(path, m.bytes());
  return path;
}

// x [2,3] -> Mul -> a -> Mul `second` -> b -> Neg -> y, and a node that nothing needs.
std::string chain(const std::string& name, float second, int32_t type = onnx::f32, const Shape& shape = {2, 3},
                  const std::string& input = "x") {
  onnx::ModelWriter m;
  m.input(input, type, shape).output("y", type);
  if (type == onnx::f64) {
    m.initializer(onnx::raw_tensor("k", type, {1}, std::vector<double>{3}));
    m.initializer(onnx::raw_tensor("l", type, {1}, std::vector<double>{second}));
  } else {
    m.floats("k", {1}, {3}).floats("l", {1}, {second});
  }
  m.node("Mul", {input, "k"}, {"a"}).node("Mul", {"a", "l"}, {"b"}).node("Neg", {"b"}, {"y"});
  m.node("Strange", {"a"}, {"s"}, {}, "far");
  return saved(name, m);
}

json checked(const std::string& arguments, int code) {
  const Result r = pando("check --json " + arguments);
  EXPECT_EQ(r.code, code) << arguments << "\n" << r.err;
  EXPECT_EQ(std::count(r.err.begin(), r.err.end(), '\n'), code == 0 ? 0 : 1) << r.err;
  return json::parse(r.out);
}

TEST(CheckCommand, ComparesWithReferences) {
  for (const std::string& model : {small_cnn(), small_transformer()}) {
    const json all = checked(model, 0);
    ASSERT_EQ(all["outputs"].size(), 1u);
    const json& y = all["outputs"][0];
    EXPECT_EQ(y["name"], "y");
    EXPECT_LT(y["relative_error"].get<double>(), 1e-3);
    EXPECT_DOUBLE_EQ(y["relative_error"].get<double>() * y["largest"].get<double>(), y["error"].get<double>());
    EXPECT_GT(y["error"].get<double>(), 0);  // sums in another order
    EXPECT_LT(y["equal_share"].get<double>(), 1);
    EXPECT_TRUE(all["first_over"].is_null());
  }
  const Result text = pando("check " + small_cnn());
  EXPECT_EQ(text.code, 0);
  EXPECT_TRUE(text.out.starts_with("y: error ")) << text.out;
  EXPECT_TRUE(holds(text.out, " of the largest value ") && holds(text.out, " % equal\n"));
}

TEST(CheckCommand, NamesTheFirstValueOverTheLimit) {
  const json all = checked(small_cnn() + " --limit 0", 1);
  EXPECT_EQ(all["limit"], 0);
  EXPECT_FALSE(all["first_over"].is_null());
  const Result text = pando("check --limit 0 " + small_cnn());
  EXPECT_EQ(text.code, 1);
  EXPECT_TRUE(holds(text.out, "first over the limit: ")) << text.out;
  EXPECT_TRUE(holds(text.err, "pando: output 'y': the error is "));
}

// Sums of small integers are exact; the product with 1/3 is rounded once as the model is written, and per weight where
// it was folded into the convolution. The convolution's output as an output of the model keeps it from being folded.
TEST(CheckCommand, FindsWhatComesOfFusionAlone) {
  onnx::ModelWriter m;
  m.input("x", onnx::f32, {1, 8, 5, 5}).output("y");
  std::vector<float> weights(size_t{8} * 8);
  for (size_t i = 0; i < weights.size(); i++) weights[i] = static_cast<float>(i * 7 % 15) - 7;
  m.floats("w", {8, 8, 1, 1}, weights).floats("third", {1}, {1.0f / 3});
  m.node("Round", {"x"}, {"r"}).node("Conv", {"r", "w"}, {"c"}).node("Mul", {"c", "third"}, {"b"});
  m.node("Relu", {"b"}, {"y"});
  const std::string path = saved("fused.onnx", m), inputs = temporary("fused.json");
  cli::write_file(inputs, R"({"fused.onnx": {"x": {"uniform": [-50, 50]}}})");
  EXPECT_EQ(checked(path + " --limit 1e-12 --inputs " + inputs, 1)["first_over"]["name"], "b");
  EXPECT_EQ(checked(path + " --no-optimize --limit 0 --inputs " + inputs, 0)["outputs"][0]["equal_share"], 1);
}

TEST(CheckCommand, ComparesWithAnotherModel) {
  const std::string model = chain("one.onnx", 5);
  EXPECT_EQ(checked(model + " --limit 0 --against " + chain("same.onnx", 5), 0)["outputs"][0]["equal_share"], 1);
  const json all = checked(model + " --against " + chain("other.onnx", 6), 1);
  EXPECT_EQ(all["first_over"]["name"], "b");
  EXPECT_NEAR(all["first_over"]["relative_error"].get<double>(), 1.0 / 6, 1e-6);
  // Of another type, and one whose outputs are inside of the other.
  EXPECT_LT(checked(model + " --against " + chain("double.onnx", 5, onnx::f64), 0)["outputs"][0]["error"], 1e-5);
  onnx::ModelWriter inner;
  inner.input("x", onnx::f32, {2, 3}).output("a").floats("k", {1}, {3}).node("Mul", {"x", "k"}, {"a"});
  EXPECT_EQ(checked(saved("inner.onnx", inner) + " --limit 0 --against " + model, 0)["outputs"][0]["name"], "a");
}

TEST(CheckCommand, ComparesWithFolders) {
  const std::string model = chain("one.onnx", 5), folder = temporary("expected");
  ASSERT_EQ(pando("run --random-inputs " + model + " --output-dir " + folder).code, 0);
  checked(model + " --limit 0 --against " + folder, 0);
  EXPECT_TRUE(checked(model + " --seed 2 --against " + folder, 1)["first_over"].is_null());
  Array a(DType::f32, {2, 3});
  cli::write_file(folder + "/a.npy", cli::npy_bytes(a));
  EXPECT_EQ(checked(model + " --seed 2 --against " + folder, 1)["first_over"]["name"], "a");
  EXPECT_TRUE(checked(model + " --against " + folder, 0)["first_over"].is_null());
}

TEST(CheckCommand, TakesTestDataOfModels) {
  const std::string model = chain("one.onnx", 5), folder = temporary("test_data_set_0");
  cli::make_folder(folder);
  const std::vector<float> x{1, 2, 3, 4, 5, 6}, y{-15, -30, -45, -60, -75, -90};
  write(folder + "/input_0.pb", onnx::raw_tensor("x", onnx::f32, {2, 3}, x));
  write(folder + "/output_0.pb", onnx::raw_tensor("y", onnx::f32, {2, 3}, y));
  EXPECT_EQ(checked(model + " --limit 0 --against " + folder, 0)["outputs"][0]["largest"], 90);
  onnx::ModelWriter swapped;  // the number in an output's name is not its place
  swapped.input("x", onnx::f32, {2, 3}).output("output_1").output("output_0");
  swapped.node("Identity", {"x"}, {"output_1"}).node("Neg", {"x"}, {"output_0"});
  const std::string numbered = temporary("test_data_set_1");
  cli::make_folder(numbered);
  write(numbered + "/input_0.pb", onnx::raw_tensor("x", onnx::f32, {2, 3}, x));
  write(numbered + "/output_0.pb", onnx::raw_tensor("output_1", onnx::f32, {2, 3}, x));
  write(numbered + "/output_1.pb",
        onnx::raw_tensor("output_0", onnx::f32, {2, 3}, std::vector<float>{-1, -2, -3, -4, -5, -6}));
  checked(saved("swapped.onnx", swapped) + " --limit 0 --against " + numbered, 0);
  // What is given comes first; `pando run` takes such files, too.
  write(temporary("zeros.pb"), onnx::raw_tensor("x", onnx::f32, {2, 3}, std::vector<float>(6)));
  checked(model + " --input x=" + temporary("zeros.pb") + " --against " + folder, 1);
  const std::string run = temporary("run");
  ASSERT_EQ(pando("run " + model + " --input x=" + folder + "/input_0.pb --output-dir " + run).code, 0);
  EXPECT_EQ(cli::read_npy(run + "/y.npy").as<float>()[5], -90);
  std::filesystem::remove(folder + "/output_0.pb");
  write(folder + "/y.pb", onnx::raw_tensor("y", onnx::f32, {3}, std::vector<float>(3)));
  expect_error("check " + model + " --against " + folder, 1, "output 'y' is float32 [2,3], float32 [3] is expected");
  write(folder + "/y.pb", "no tensor");
  expect_error("check " + model + " --against " + folder, 1, "/y.pb");
}

TEST(CheckCommand, SaysWhatIsWrong) {
  const std::string model = chain("one.onnx", 5), against = "check " + model + " --against ";
  expect_error("check /nowhere.onnx", 1, "/nowhere.onnx");
  expect_error(against + "/nowhere.onnx", 1, "/nowhere.onnx");
  expect_error("check " + model + " --limit -1", 2, "--limit");
  expect_error("check " + model + " --against ''", 2, "expected a value, not an empty text");
  const std::string empty = temporary("empty");
  cli::make_folder(empty);
  expect_error(against + empty, 1, "empty: nothing in it to compare output 'y' with");
  expect_error(against + chain("z.onnx", 5, onnx::f32, {2, 3}, "z"), 1, "z.onnx: its input 'z' is no input");
  expect_error(against + chain("wide.onnx", 5, onnx::f32, {4, 3}), 1, "'x'");
  expect_error(against + chain("integer.onnx", 5, onnx::i64), 1, "integer.onnx");
  onnx::ModelWriter integers;
  integers.input("x", onnx::i64, {2, 3}).output("y", onnx::i64).node("Neg", {"x"}, {"y"});
  expect_error(against + saved("int.onnx", integers), 1, "int.onnx: its input 'x' is int64, that of the model");
  const std::string made = temporary("made.pando");
  ASSERT_EQ(pando("compile " + model + " -o " + made).code, 0);
  expect_error("check " + made, 1, "made.pando");
  checked(made + " --limit 0 --against " + model, 0);
}

}  // namespace
}  // namespace pando::testing
