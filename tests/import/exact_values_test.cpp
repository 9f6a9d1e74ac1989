// Attributes, fills and constants that float or double cannot hold, and statistics that 16-bit floats cannot.
#include <gtest/gtest.h>

#include <cmath>

#include "graph/ops/common.hpp"
#include "import/evaluate.hpp"
#include "import/model_writer.hpp"

namespace pando {
namespace {

using namespace testing_onnx;

constexpr int64_t past_double = (int64_t{1} << 53) + 1;

std::vector<TensorPtr> outputs_of(const ModelWriter& model, const std::map<std::string, TensorPtr>& inputs) {
  Graph g = import_model(model);
  verify(g);
  std::vector<TensorPtr> all = evaluate(g, inputs), outputs;
  for (ValueId v : g.outputs) outputs.push_back(all[v]);
  return outputs;
}

template <class T>
std::vector<T> elements_of(const Tensor& t) {
  std::vector<T> list;
  for (int64_t i = 0; i < element_count(t.shape); i++)
    list.push_back(dispatch(t.dtype, [&](auto tag) { return convert<T>(load<decltype(tag)>(t.data, i)); }));
  return list;
}

TensorPtr halves(const Shape& shape, const std::vector<float>& list) {
  auto t = make_tensor(DType::f16, shape);
  for (size_t i = 0; i < list.size(); i++) store(writable(*t), static_cast<int64_t>(i), to_half(list[i]));
  return t;
}

TEST(ExactValues, FillOfPad) {
  ModelWriter m(13);
  m.input("x", i64, {1}).output("y", i64, {2});
  m.initializer(raw_tensor<int64_t>("pads", i64, {2}, {1, 0}));
  m.initializer(raw_tensor<int64_t>("value", i64, {}, {past_double}));
  m.node("Pad", {"x", "pads", "value"}, {"y"});
  auto y = outputs_of(m, {{"x", make_constant<int64_t>(DType::i64, {1}, {7})}});
  EXPECT_EQ(elements_of<int64_t>(*y[0]), (std::vector<int64_t>{past_double, 7}));
}

TEST(ExactValues, Range) {
  ModelWriter m(13);
  m.input("x", i64, {1}).output("y", i64, {3});
  m.initializer(raw_tensor<int64_t>("start", i64, {}, {past_double}));
  m.initializer(raw_tensor<int64_t>("limit", i64, {}, {past_double + 7}));
  m.initializer(raw_tensor<int64_t>("delta", i64, {}, {3}));
  m.node("Range", {"start", "limit", "delta"}, {"r"});
  m.node("Add", {"r", "x"}, {"y"});
  auto y = outputs_of(m, {{"x", make_constant<int64_t>(DType::i64, {1}, {0})}});
  EXPECT_EQ(elements_of<int64_t>(*y[0]), (std::vector<int64_t>{past_double, past_double + 3, past_double + 6}));
}

TEST(ExactValues, MeanOfDoublesAndOfLargeHalves) {
  for (int32_t type : {f64, f16}) {
    ModelWriter m(13);
    m.input("a", type, {1}).input("b", type, {1}).input("c", type, {1}).output("y", type, {1});
    m.node("Mean", {"a", "b", "c"}, {"y"});
    auto number = [&](double x) {
      return type == f64 ? make_constant<double>(DType::f64, {1}, {x}) : halves({1}, {static_cast<float>(x)});
    };
    auto y = outputs_of(m, {{"a", number(60000)}, {"b", number(50016)}, {"c", number(55008)}});
    EXPECT_EQ(elements_of<double>(*y[0])[0], 55008);
    if (type == f16) continue;
    y = outputs_of(m, {{"a", number(0.1)}, {"b", number(0.1)}, {"c", number(0.2)}});
    EXPECT_EQ(elements_of<double>(*y[0])[0], (0.1 + 0.1 + 0.2) / 3);
  }
}

// Values of some hundreds, whose squares do not fit: normalized they are of order one.
TEST(ExactValues, StatisticsOfHalves) {
  struct Case {
    const char* op;
    int64_t opset;
    std::vector<std::string> attributes;
    bool operands;
  };
  const Case cases[] = {{"InstanceNormalization", 17, {}, true},
                        {"GroupNormalization", 21, {attr("num_groups", int64_t{2})}, true},
                        {"MeanVarianceNormalization", 13, {}, false},
                        {"LpNormalization", 13, {attr("axis", int64_t{3})}, false},
                        {"LayerNormalization", 17, {}, false}};
  std::vector<float> x;
  for (int i = 0; i < 2 * 4 * 4; i++) x.push_back(i % 2 ? 1000.0f + static_cast<float>(i) : -1000.0f);
  for (const Case& c : cases) {
    SCOPED_TRACE(c.op);
    ModelWriter m(c.opset);
    m.input("x", f16, {1, 2, 4, 4}).output("y", f16, {1, 2, 4, 4});
    std::vector<std::string> inputs{"x"};
    const bool layer = std::string(c.op) == "LayerNormalization";
    if (c.operands || layer) {
      const int64_t n = layer ? 4 : 2;
      m.initializer(raw_tensor<uint16_t>("s", f16, {n}, std::vector<uint16_t>(static_cast<size_t>(n), 0x3c00)));
      m.initializer(raw_tensor<uint16_t>("b", f16, {n}, std::vector<uint16_t>(static_cast<size_t>(n), 0)));
      inputs.insert(inputs.end(), {"s", "b"});
    }
    m.node(c.op, inputs, {"y"}, c.attributes);
    auto y = outputs_of(m, {{"x", halves({1, 2, 4, 4}, x)}});
    ASSERT_EQ(y[0]->dtype, DType::f16);
    const float unit = std::string(c.op) == "LpNormalization" ? 0.5f : 1;
    for (float v : elements_of<float>(*y[0])) EXPECT_NEAR(std::abs(v), unit, 0.02f);
  }
}

TEST(ExactValues, StatisticsHaveTheStashType) {
  for (int32_t type : {f16, f32, f64}) {
    ModelWriter m(17);
    m.input("x", type, {1, 4}).output("y", type, {1, 4}).output("mean", f32, {1, 1}).output("inverse", f32, {1, 1});
    m.initializer(type == f16   ? raw_tensor<uint16_t>("s", f16, {4}, {0x3c00, 0x3c00, 0x3c00, 0x3c00})
                  : type == f32 ? raw_tensor<float>("s", f32, {4}, {1, 1, 1, 1})
                                : raw_tensor<double>("s", f64, {4}, {1, 1, 1, 1}));
    m.node("LayerNormalization", {"x", "s"}, {"y", "mean", "inverse"}, {attr("epsilon", 0.0f)});
    TensorPtr x = type == f16   ? halves({1, 4}, {298, 302, 298, 302})
                  : type == f32 ? make_constant<float>(DType::f32, {1, 4}, {298, 302, 298, 302})
                                : make_constant<double>(DType::f64, {1, 4}, {298, 302, 298, 302});
    auto y = outputs_of(m, {{"x", x}});
    EXPECT_EQ(y[0]->dtype, x->dtype);
    EXPECT_EQ(y[1]->dtype, DType::f32);
    EXPECT_EQ(y[2]->dtype, DType::f32);
    EXPECT_EQ(elements_of<float>(*y[1])[0], 300);
    EXPECT_EQ(elements_of<float>(*y[2])[0], 0.5f);
  }
}

TEST(ExactValues, BetaKeepsIntegersAndNan) {
  ModelWriter m(13);
  m.input("c", i64, {1}).output("y", i64, {1, 1});
  m.initializer(raw_tensor<int64_t>("a", i64, {1, 1}, {0}));
  m.node("Gemm", {"a", "a", "c"}, {"y"}, {attr("beta", 3.0f)});
  auto y = outputs_of(m, {{"c", make_constant<int64_t>(DType::i64, {1}, {past_double})}});
  EXPECT_EQ(elements_of<int64_t>(*y[0])[0], 3 * past_double);
  ModelWriter zero(13);
  zero.input("c", f32, {1}).output("y", f32, {1, 1});
  zero.initializer(raw_tensor<float>("a", f32, {1, 1}, {0}));
  zero.node("Gemm", {"a", "a", "c"}, {"y"}, {attr("beta", 0.0f)});
  y = outputs_of(zero, {{"c", make_constant<float>(DType::f32, {1}, {NAN})}});
  EXPECT_TRUE(std::isnan(elements_of<float>(*y[0])[0]));
}

TEST(ExactValues, BetaOfZeroDropsALargeIntegerMatrix) {
  constexpr int64_t rows = 1 << 12, columns = 1040;  // more elements than converters may list
  ModelWriter m(13);
  m.output("y", i32, {rows, columns});
  m.initializer(raw_tensor<int32_t>("a", i32, {rows, 1}, std::vector<int32_t>(rows, 3)));
  m.initializer(raw_tensor<int32_t>("b", i32, {1, columns}, std::vector<int32_t>(columns, 5)));
  m.initializer(raw_tensor<int32_t>("c", i32, {rows, columns}, std::vector<int32_t>(rows * columns, 7)));
  m.node("Gemm", {"a", "b", "c"}, {"y"}, {attr("beta", 0.0f)});
  EXPECT_EQ(reinterpret_cast<const int32_t*>(outputs_of(m, {})[0]->data)[rows * columns - 1], 15);
}

}  // namespace
}  // namespace pando
