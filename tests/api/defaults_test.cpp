// Inputs with a default value: constants, ports, or given by name; and values that do not fit the declaration.
#include <atomic>
#include <fstream>
#include <thread>

#include "import/model_writer.hpp"
#include "models.hpp"
#include "pando/pando.h"

namespace pando::testing {
namespace {

namespace onnx = testing_onnx;

// y = x * scale, z = Reshape(x, shape), both with defaults; "unused" has one, too.
std::string model_bytes(int64_t ir = 8) {
  return onnx::ModelWriter()
      .ir(ir)
      .input("scale", onnx::f32, {})
      .input("x", onnx::f32, {2, 3})
      .input("shape", onnx::i64, {2})
      .input("unused", onnx::f32, {-1})
      .floats("scale", {}, {2})
      .ints("shape", {3, 2})
      .floats("unused", {1}, {0})
      .output("y")
      .output("z")
      .node("Mul", {"x", "scale"}, {"y"})
      .node("Reshape", {"x", "shape"}, {"z"})
      .bytes();
}

Model load(const std::string& bytes) { return Model::from_memory(onnx::as_span(bytes)); }

template <class T>
Array array_of(DType dtype, std::vector<int64_t> shape, std::vector<T> values) {
  Array a(dtype, std::move(shape));
  std::memcpy(a.data(), values.data(), a.bytes());
  return a;
}
Array scalar(float v) { return array_of<float>(DType::f32, {}, {v}); }

class Defaults : public ::testing::Test {
 protected:
  Engine engine_{EngineOptions{1}};
  Model model_ = load(model_bytes());
  Array x_ = random_array({2, 3}, 1);
  void expect_scaled(const Array& y, float by) {
    for (size_t i = 0; i < 6; i++) EXPECT_EQ(y.as<float>()[i], x_.as<float>()[i] * by);
  }
};

TEST_F(Defaults, AreListedApart) {
  ASSERT_EQ(model_.inputs().size(), 1u);
  ASSERT_EQ(model_.defaults().size(), 3u);
  EXPECT_EQ(model_.defaults()[0].name, "scale");
  EXPECT_EQ(model_.defaults()[2].shape, std::vector<int64_t>{-1});
  const Compiled net = model_.compile(engine_);
  ASSERT_EQ(net.inputs().size(), 1u);
  EXPECT_EQ(net.inputs()[0].name, "x");
}

TEST_F(Defaults, AreTakenByNameWhenGiven) {
  Compiled net = model_.compile(engine_);
  for (int round = 0; round < 2; round++) {
    expect_scaled(net.run({{"x", x_}})[0], 2);
    expect_scaled(net.run({{"x", x_}, {"scale", scalar(10)}})[0], 10);
    expect_scaled(net.run({{"x", x_}, {"scale", scalar(-1)}})[0], -1);
    expect_scaled(net.run({{"x", x_}, {"unused", random_array({5}, 1)}})[0], 2);
  }
  // A shape hangs on this one.
  const Array flat = array_of<int64_t>(DType::i64, {2}, {1, 6}), tall = array_of<int64_t>(DType::i64, {2}, {6, 1});
  EXPECT_EQ(net.run({{"x", x_}, {"shape", flat}})[1].shape(), (std::vector<int64_t>{1, 6}));
  std::vector<Array> both = net.run({{"x", x_}, {"shape", tall}, {"scale", scalar(3)}});
  EXPECT_EQ(both[1].shape(), (std::vector<int64_t>{6, 1}));
  expect_scaled(both[0], 3);
  EXPECT_EQ(net.run({{"x", x_}})[1].shape(), (std::vector<int64_t>{3, 2}));
  constexpr ErrorCode code = ErrorCode::invalid_argument;
  EXPECT_TRUE(holds(error_of([&] { net.run({{"x", x_}, {"scale", random_array({2}, 1)}}); }, code), "'scale'"));
  EXPECT_TRUE(holds(error_of([&] { net.run({{"x", x_}, {"nope", x_}}); }, code), "'nope'"));
}

// More shapes than are kept, in turn and from several threads, two of which need the same at once.
TEST_F(Defaults, ManyShapesInTurnAndAtOnce) {
  Compiled net = model_.compile(engine_);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; t++)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 24; i++) {
        const float by = static_cast<float>(1 + t);
        const auto extra = static_cast<int64_t>(1 + (i + t / 2 * 5) % 12);
        std::vector<Array> y = net.run({{"x", x_}, {"scale", scalar(by)}, {"unused", random_array({extra}, 1)}});
        expect_scaled(y[0], by);
      }
    });
  for (std::thread& t : threads) t.join();
}

TEST_F(Defaults, AForkMayComeWhileAnotherThreadCompiles) {
  Compiled net = model_.compile(engine_);
  const Array scale = scalar(3);
  net.run({{"x", x_}, {"scale", scale}});
  std::atomic<bool> stop{false};
  std::thread other([&] {
    for (int64_t n = 1; !stop; n++) net.run({{"x", x_}, {"unused", random_array({1 + n % 20}, 1)}});
  });
  for (int i = 0; i < 10; i++) {
    net.run({{"x", x_}, {"scale", scale}});
    usleep(static_cast<useconds_t>(300 * i));
    EXPECT_EQ(status_of_child(
                  [&] {
                    expect_scaled(net.run({{"x", x_}, {"scale", scale}})[0], 3);
                  },
                  [] { _exit(::testing::Test::HasFailure() ? 1 : 0); }),
              0);
  }
  stop = true;
  other.join();
}

TEST_F(Defaults, AreInputsOfABoundRunWhenShapesNameThem) {
  CompileOptions options;
  options.shapes["scale"] = {};
  Compiled net = model_.compile(engine_, options);
  ASSERT_EQ(net.inputs().size(), 2u);  // in the file's order
  EXPECT_EQ(net.inputs()[0].name, "scale");
  EXPECT_EQ(net.inputs()[1].name, "x");
  Array scale = scalar(5), y(DType::f32, {2, 3}), z(DType::f32, {3, 2});
  const void* in[] = {scale.data(), x_.data()};
  void* out[] = {y.data(), z.data()};
  net.run(in, out);
  expect_scaled(y, 5);
  error_of([&] { net.run({{"x", x_}}); }, ErrorCode::invalid_argument);
  options.shapes["scale"] = {2};
  EXPECT_TRUE(holds(error_of([&] { model_.compile(engine_, options); }, ErrorCode::invalid_argument), "'scale'"));
}

TEST_F(Defaults, AreReplacedByValues) {
  CompileOptions options;
  options.values["scale"] = scalar(4);
  Compiled net = model_.compile(engine_, options);
  ASSERT_EQ(net.inputs().size(), 1u);
  expect_scaled(net.run({{"x", x_}})[0], 4);
  expect_scaled(net.run({{"x", x_}, {"scale", scalar(6)}})[0], 6);
}

// Up to IR version 3 every weight had to be listed as an input.
TEST_F(Defaults, WeightsOfOldFilesAreNone) {
  const Model old = load(model_bytes(3));
  EXPECT_TRUE(old.defaults().empty());
  Compiled net = old.compile(engine_);
  expect_scaled(net.run({{"x", x_}})[0], 2);
  error_of([&] { net.run({{"x", x_}, {"scale", scalar(6)}}); }, ErrorCode::invalid_argument);
  CompileOptions options;
  options.values["scale"] = scalar(4);
  EXPECT_TRUE(holds(error_of([&] { old.compile(engine_, options); }, ErrorCode::invalid_argument), "weight"));
}

TEST_F(Defaults, InC) {
  const std::string bytes = model_bytes();
  pando_model* model = nullptr;
  pando_engine* engine = nullptr;
  pando_options* options = nullptr;
  pando_compiled* net = nullptr;
  ASSERT_EQ(pando_model_load_memory(bytes.data(), bytes.size(), nullptr, &model), PANDO_OK);
  ASSERT_EQ(pando_engine_create(1, &engine), PANDO_OK);
  ASSERT_EQ(pando_options_create(&options), PANDO_OK);
  EXPECT_EQ(pando_model_input_count(model), 1u);
  ASSERT_EQ(pando_model_default_count(model), 3u);
  pando_port port;
  ASSERT_EQ(pando_model_default(model, 0, &port), PANDO_OK);
  EXPECT_STREQ(port.name, "scale");
  EXPECT_EQ(pando_model_default(model, 3, &port), PANDO_INVALID_ARGUMENT);
  ASSERT_EQ(pando_options_set_shape(options, "scale", nullptr, 0), PANDO_OK);
  ASSERT_EQ(pando_compile(model, engine, options, &net), PANDO_OK) << pando_last_error();
  EXPECT_EQ(pando_compiled_input_count(net), 2u);
  const float scale = 7;
  float y[6], z[6];
  const void* in[] = {&scale, x_.data()};
  void* out[] = {y, z};
  ASSERT_EQ(pando_run(net, in, out, nullptr), PANDO_OK) << pando_last_error();
  EXPECT_EQ(y[5], x_.as<float>()[5] * 7);
  // Values that do not fit the declaration.
  const std::vector<int64_t> ones(100, 1);
  const int64_t value[4] = {3, 2, 1, 1};
  EXPECT_EQ(pando_options_set_value(options, "shape", PANDO_INT64, ones.data(), 100, value), PANDO_INVALID_ARGUMENT);
  EXPECT_EQ(pando_options_set_shape(options, "scale", ones.data(), 100), PANDO_INVALID_ARGUMENT);
  for (size_t rank : {size_t{0}, size_t{2}, size_t{20}, size_t{64}}) {
    ASSERT_EQ(pando_options_set_value(options, "shape", PANDO_INT64, ones.data(), rank, value), PANDO_OK);
    pando_compiled* none = nullptr;
    EXPECT_EQ(pando_compile(model, engine, options, &none), PANDO_INVALID_ARGUMENT) << rank;
    EXPECT_NE(std::string(pando_last_error()).find("'shape'"), std::string::npos) << pando_last_error();
  }
  pando_compiled_destroy(net);
  pando_options_destroy(options);
  pando_model_destroy(model);
  pando_engine_destroy(engine);
}

TEST_F(Defaults, ValuesMustFitTheDeclaration) {
  auto refused = [&](const std::string& name, const Array& value) {
    CompileOptions options;
    options.values[name] = value;
    return error_of([&] { model_.compile(engine_, options); }, ErrorCode::invalid_argument);
  };
  EXPECT_TRUE(holds(refused("x", random_array({3, 2}, 1)), "[2,3]"));
  EXPECT_TRUE(holds(refused("x", random_array({6}, 1)), "[2,3]"));
  EXPECT_TRUE(holds(refused("x", random_array({1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 3}, 1)), "[2,3]"));
  EXPECT_TRUE(holds(refused("x", Array(DType::f64, {2, 3})), "float64"));
  EXPECT_TRUE(holds(refused("shape", Array(DType::i64, {3})), "'shape'"));
  EXPECT_TRUE(holds(refused("scale", Array(DType::f32, {1})), "'scale'"));
  CompileOptions options;
  options.values["unused"] = random_array({9}, 1);  // its extent is left open
  model_.compile(engine_, options);
}

}  // namespace
}  // namespace pando::testing
