// From flags to arrays.
#include "cli/inputs.hpp"

#include <numeric>

#include "api/models.hpp"
#include "cli/files.hpp"
#include "cli/npy.hpp"

namespace pando::testing {
namespace {

using cli::CommonOptions;
using cli::InputSource;

// Inputs of several kinds, one of them with '=' and ':' in its name.
std::string odd_model() {
  std::string path = temporary("odd.onnx");
  OnnxWriter w("odd", 1);
  w.input("a=b:0", Type::f32, {-1, 3});
  w.input("ids", Type::i64, {4});
  w.input("mask", Type::boolean, {2});
  w.output("y", Type::f32, {-1, 3});
  w.node("Relu", {"a=b:0"}, {}, "y");
  w.write(path);
  return path;
}

CommonOptions options_for(const std::string& model) {
  CommonOptions o;
  o.model = model;
  return o;
}

TEST(Inputs, SplitsFlagsAfterAnInputsName) {
  std::string path = odd_model(), file = temporary("a=b.npy");
  Array x = random_array({5, 3}, 1);
  cli::write_file(file, cli::npy_bytes(x));
  CommonOptions o = options_for(path);
  o.inputs = {"a=b:0=" + file};
  Model model = Model::load(path);
  InputSource source(o, model);
  EXPECT_EQ(source.shapes().at("a=b:0"), (std::vector<int64_t>{5, 3}));
  EXPECT_TRUE(same_bits(source.make({"a=b:0", DType::f32, {5, 3}}), x));

  o.inputs.clear();
  o.shapes = {"a=b:0:7x3"};
  EXPECT_EQ(InputSource(o, model).shapes().at("a=b:0"), (std::vector<int64_t>{7, 3}));
  o.inputs = {"b=" + file};
  EXPECT_TRUE(holds(error_of([&] { InputSource(o, model); }, ErrorCode::invalid_argument), "no input 'b'"));
}

TEST(Inputs, ParsesShapes) {
  EXPECT_EQ(cli::parse_shape("x:1x20x3").shape, (std::vector<int64_t>{1, 20, 3}));
  EXPECT_EQ(cli::parse_shape("a:b:0").name, "a:b");
  EXPECT_TRUE(cli::parse_shape("x:").shape.empty());
  for (const char* bad : {"x", ":1", "x:1x", "x:x1", "x:-1", "x:1,2", "x:99999999999999999999"})
    EXPECT_THROW(cli::parse_shape(bad), cli::UsageError) << bad;
}

TEST(Inputs, DrawsByTypeAndSeed) {
  std::string path = odd_model();
  Model model = Model::load(path);
  CommonOptions o = options_for(path);
  InputSource source(o, model);
  Port port{"a=b:0", DType::f32, {100, 3}};
  Array x = source.make(port);
  for (float v : x.as<float>()) EXPECT_TRUE(v >= 0 && v < 1);
  EXPECT_TRUE(same_bits(source.make(port), x));
  o.seed = 2;
  EXPECT_FALSE(same_bits(InputSource(o, model).make(port), x));
  Array ids = source.make({"ids", DType::i64, {100}});
  for (int64_t v : ids.as<int64_t>()) EXPECT_TRUE(v == 0 || v == 1);
  EXPECT_NE(ids.as<int64_t>()[0] * 100,
            std::accumulate(ids.as<int64_t>().begin(), ids.as<int64_t>().end(), int64_t{0}));
  Array mask = source.make({"mask", DType::boolean, {9}});
  for (uint8_t v : mask.as<uint8_t>()) EXPECT_EQ(v, 1);
}

TEST(Inputs, FollowsADescription) {
  std::string path = odd_model(), file = temporary("inputs.json");
  cli::write_file(temporary("mask.npy"), cli::npy_bytes(Array(DType::boolean, {2})));
  cli::write_file(file, R"({"other.onnx": {}, "odd.onnx": {"a=b:0": {"shape": [2, 3], "uniform": [5, 6]},
                            "ids": {"values": [3, 1, 4, 1]}, "mask": {"file": "mask.npy"}}})");
  CommonOptions o = options_for(path);
  o.inputs_file = file;
  Model model = Model::load(path);
  InputSource source(o, model);
  source.require_all();
  Array x = source.make({"a=b:0", DType::f32, {2, 3}});
  for (float v : x.as<float>()) EXPECT_TRUE(v >= 5 && v <= 6);
  EXPECT_EQ(source.make({"ids", DType::i64, {4}}).as<int64_t>()[2], 4);
  EXPECT_EQ(source.make({"mask", DType::boolean, {2}}).as<uint8_t>()[0], 0);
  constexpr ErrorCode code = ErrorCode::invalid_argument;
  EXPECT_TRUE(holds(error_of([&] { source.make({"ids", DType::i64, {5}}); }, code), "ids"));
  cli::write_file(file, R"({"odd.onnx": {"ids": {"values": [1e30, -1e30, 2.9, -2.9]}}})");
  Array clamped = InputSource(o, model).make({"ids", DType::i64, {4}});
  EXPECT_EQ(std::vector<int64_t>(clamped.as<int64_t>().begin(), clamped.as<int64_t>().end()),
            (std::vector<int64_t>{INT64_MAX, INT64_MIN, 2, -2}));
  // Each type's own nearest.
  auto bits = [&](DType type, const std::string& values, auto zero) {
    cli::write_file(file, R"({"odd.onnx": {"ids": {"values": [)" + values + "]}}}");
    const Array a = InputSource(o, model).make({"ids", type, {4}});
    const auto list = a.as<decltype(zero)>();
    return std::vector(list.begin(), list.end());
  };
  EXPECT_EQ(
      bits(DType::i64, "9007199254740993, -9007199254740993, 9223372036854775807, 18446744073709551615", int64_t{}),
      (std::vector<int64_t>{9007199254740993, -9007199254740993, INT64_MAX, INT64_MAX}));
  EXPECT_EQ(bits(DType::u64, "18446744073709551615, 18446744073709551614, -1, 1e30", uint64_t{}),
            (std::vector<uint64_t>{UINT64_MAX, UINT64_MAX - 1, 0, UINT64_MAX}));
  EXPECT_EQ(bits(DType::f32, "16777217, 33554435, -16777219, 1e300", float{}),
            (std::vector<float>{16777216, 33554436, -16777220, HUGE_VALF}));
  EXPECT_EQ(bits(DType::f16, "0.1, 6e-8, 65519, 65520", uint16_t{}),
            (std::vector<uint16_t>{0x2e66, 0x0001, 0x7bff, 0x7c00}));
  EXPECT_EQ(bits(DType::f16, "2.9e-8, -0.0, -2048.9, 2047.6", uint16_t{}),
            (std::vector<uint16_t>{0, 0x8000, 0xe800, 0x6800}));
  EXPECT_EQ(bits(DType::bf16, "1.00390625, 1.01171875, -3.4e38, 1e-39", uint16_t{}),
            (std::vector<uint16_t>{0x3f80, 0x3f82, 0xff80, 0x000b}));
  cli::write_file(file, R"({"odd.onnx": {"nothing": {}}})");
  EXPECT_TRUE(holds(error_of([&] { InputSource(o, model); }, code), "nothing"));
  for (const std::string entry :
       {"5", R"({"typo": 1})", R"({"shape": [2.5]})", R"({"shape": [-1]})", R"({"uniform": [1]})", R"({"values": "1"})",
        R"({"fill": "x"})", R"({"file": 1})", R"({"file": "mask.npy\u0000"})"}) {
    cli::write_file(file, R"({"odd.onnx": {"ids": )" + entry + "}}");
    EXPECT_TRUE(holds(error_of([&] { InputSource(o, model); }, code), "'ids'")) << entry;
  }
  // No deeper than a stack.
  const std::string deep = std::string(1000000, '[') + std::string(1000000, ']');
  for (const char* key : {"fill", "shape", "values", "file", "typo"}) {
    cli::write_file(file, R"({"odd.onnx": {"ids": {")" + std::string(key) + "\": [" + deep + "]}}}");
    const std::string message = error_of([&] { InputSource(o, model); }, code);
    EXPECT_TRUE(holds(message, key)) << message.substr(0, 200);
    EXPECT_LT(message.size(), 300u);
  }
  for (const char* text : {"{", "[]", R"({"odd.onnx": 5})"}) {
    cli::write_file(file, text);
    EXPECT_TRUE(holds(error_of([&] { InputSource(o, model); }, ErrorCode::io), "inputs.json")) << text;
  }
}

TEST(Inputs, RefusesFilesThatDoNotFit) {
  std::string path = odd_model(), file = temporary("x.npy");
  Model model = Model::load(path);
  CommonOptions o = options_for(path);
  constexpr ErrorCode code = ErrorCode::invalid_argument;
  auto error_with = [&](const std::string& name, const Array& array) {
    cli::write_file(file, cli::npy_bytes(array));
    o.inputs = {name + "=" + file};
    return error_of([&] { InputSource(o, model); }, code);
  };
  EXPECT_TRUE(holds(error_with("a=b:0", Array(DType::f64, {1, 3})), "float64"));
  EXPECT_TRUE(holds(error_with("a=b:0", Array(DType::f32, {1, 4})), "[1,4]"));
  EXPECT_TRUE(holds(error_with("ids", Array(DType::i64, {1, 4})), "int64 [4]"));
  cli::write_file(file, cli::npy_bytes(Array(DType::f32, {2, 3})));
  o.inputs = {"a=b:0=" + file};
  o.shapes = {"a=b:0:1x3"};
  EXPECT_TRUE(holds(error_of([&] { InputSource(o, model); }, code), "--shape"));
  o.shapes.clear();
  std::string missing = error_of([&] { InputSource(o, model).require_all(); }, code);
  EXPECT_TRUE(holds(missing, "'ids' int64 [4], 'mask' bool [2]"));
}

}  // namespace
}  // namespace pando::testing
