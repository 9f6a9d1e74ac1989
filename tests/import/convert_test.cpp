// Converters that the standard's test models leave out or touch only lightly, against plain references.
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <random>

#include "graph/ops/ops.hpp"
#include "import/evaluate.hpp"
#include "import/model_writer.hpp"

namespace pando {
namespace {

using namespace testing_onnx;
namespace t = testing_onnx;

using Data = std::vector<float>;

Data random_data(int64_t n, uint32_t seed) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> uniform(-1, 1);
  Data d(static_cast<size_t>(n));
  for (float& x : d) x = uniform(random);
  return d;
}

struct Result {
  Shape shape;
  Data data;
};

// Imports a model with float inputs, in order, and computes its first output.
Result run(const ModelWriter& model, const std::vector<Data>& inputs) {
  Graph g = import_model(model);
  verify(g);
  std::map<std::string, TensorPtr> by_name;
  for (size_t i = 0; i < g.inputs.size(); i++)
    by_name[g.values[g.inputs[i]].name] = make_constant(DType::f32, g.shape(g.inputs[i]), inputs[i]);
  TensorPtr output = evaluate(g, by_name)[g.outputs[0]];
  const Tensor& y = *output;
  EXPECT_EQ(y.dtype, DType::f32);
  Result r{y.shape, Data(static_cast<size_t>(element_count(y.shape)))};
  if (!r.data.empty()) std::memcpy(r.data.data(), y.data, y.bytes());
  return r;
}

void expect_near(const Data& actual, const Data& expected, float tolerance = 1e-4f) {
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < actual.size(); i++) ASSERT_NEAR(actual[i], expected[i], tolerance) << "element " << i;
}

// ---- ConvTranspose ----

struct TransposeCase {
  int64_t group, co_per_group;
  std::vector<int64_t> in, kernel, strides, dilations, pads, extra;
};

// Scatters every input element times the kernel.
Data conv_transpose_reference(const TransposeCase& c, const Data& x, const Data& w, const Data& bias, int64_t ci,
                              const Shape& out) {
  int d = static_cast<int>(c.in.size());
  int64_t co = c.group * c.co_per_group, in_count = element_count(c.in), taps = element_count(c.kernel);
  int64_t out_count = element_count(std::span(out).subspan(2));
  Data y(static_cast<size_t>(co * out_count));
  for (int64_t o = 0; o < co; o++) std::fill_n(y.begin() + o * out_count, out_count, bias[o]);
  for (int64_t i = 0; i < ci; i++)
    for (int64_t oc = 0; oc < c.co_per_group; oc++)
      for (int64_t p = 0; p < in_count; p++)
        for (int64_t k = 0; k < taps; k++) {
          int64_t at = 0, rest_p = p, rest_k = k, step = 1;
          bool inside = true;
          for (int q = d - 1; q >= 0; q--) {
            int64_t pos = rest_p % c.in[q] * c.strides[q] + rest_k % c.kernel[q] * c.dilations[q] - c.pads[q];
            inside = inside && pos >= 0 && pos < out[q + 2];
            at += pos * step;
            step *= out[q + 2];
            rest_p /= c.in[q];
            rest_k /= c.kernel[q];
          }
          int64_t channel = i / (ci / c.group) * c.co_per_group + oc;
          if (inside) y[channel * out_count + at] += x[i * in_count + p] * w[(i * c.co_per_group + oc) * taps + k];
        }
  return y;
}

class ConvTranspose : public ::testing::TestWithParam<TransposeCase> {};

TEST_P(ConvTranspose, AgreesWithScatter) {
  const TransposeCase& c = GetParam();
  int64_t ci = 2 * c.group, co = c.group * c.co_per_group;
  Shape x_shape{1, ci}, w_shape{ci, c.co_per_group}, out{1, co};
  x_shape.insert(x_shape.end(), c.in.begin(), c.in.end());
  w_shape.insert(w_shape.end(), c.kernel.begin(), c.kernel.end());
  for (size_t i = 0; i < c.in.size(); i++)
    out.push_back((c.in[i] - 1) * c.strides[i] + (c.kernel[i] - 1) * c.dilations[i] + 1 + c.extra[i] - c.pads[i] -
                  c.pads[c.in.size() + i]);
  Data x = random_data(element_count(x_shape), 1), w = random_data(element_count(w_shape), 2),
       bias = random_data(co, 3);
  ModelWriter m;
  m.input("x", t::f32, x_shape).output("y").floats("w", w_shape, w).floats("b", {co}, bias);
  m.node("ConvTranspose", {"x", "w", "b"}, {"y"},
         {attr("strides", c.strides), attr("dilations", c.dilations), attr("pads", c.pads),
          attr("output_padding", c.extra), attr("group", c.group)});
  Result y = run(m, {x});
  EXPECT_EQ(y.shape, out);
  expect_near(y.data, conv_transpose_reference(c, x, w, bias, ci, out));
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, ConvTranspose,
    ::testing::Values(TransposeCase{1, 3, {5}, {4}, {2}, {1}, {1, 1}, {0}},
                      TransposeCase{1, 1, {7}, {16}, {8}, {1}, {4, 4}, {0}},
                      TransposeCase{2, 3, {5, 4}, {3, 2}, {2, 3}, {1, 1}, {1, 0, 0, 1}, {1, 0}},
                      TransposeCase{1, 2, {4, 5}, {3, 3}, {1, 1}, {2, 3}, {1, 2, 2, 1}, {0, 0}},
                      TransposeCase{3, 1, {4, 4}, {2, 2}, {2, 2}, {1, 1}, {0, 0, 0, 0}, {0, 0}},
                      TransposeCase{1, 2, {3, 3}, {1, 1}, {3, 2}, {1, 1}, {0, 0, 0, 0}, {2, 1}},
                      TransposeCase{1, 2, {3, 2, 4}, {3, 2, 3}, {2, 1, 2}, {1, 2, 1}, {1, 0, 1, 0, 1, 1}, {1, 0, 0}},
                      TransposeCase{2, 2, {3, 3}, {5, 4}, {2, 3}, {1, 1}, {2, 1, 2, 1}, {1, 2}}));

TEST(Convert, ConvTransposeWithWeightsFromAnInput) {
  Data x = random_data(2 * 3 * 3, 1), w = random_data(2 * 2 * 4, 2);
  ModelWriter by_input, by_constant;
  for (ModelWriter* m : {&by_input, &by_constant}) {
    m->input("x", t::f32, {1, 2, 3, 3});
    if (m == &by_input) m->input("w", t::f32, {2, 2, 2, 2});
    else m->floats("w", {2, 2, 2, 2}, w);
    m->output("y").node("ConvTranspose", {"x", "w"}, {"y"}, {attr("strides", std::vector<int64_t>{2, 2})});
  }
  expect_near(run(by_input, {x, w}).data, run(by_constant, {x}).data, 0);
}

// ---- Einsum ----

Result einsum(const std::string& equation, const std::vector<Shape>& shapes, const std::vector<Data>& data) {
  ModelWriter m;
  std::vector<std::string> names;
  for (size_t i = 0; i < shapes.size(); i++) {
    names.push_back("x" + std::to_string(i));
    m.input(names.back(), t::f32, shapes[i]);
  }
  m.output("y").node("Einsum", names, {"y"}, {attr("equation", equation.c_str())});
  return run(m, data);
}

// Sums over all assignments of the letters; equations without an ellipsis only.
Data einsum_reference(const std::vector<std::string>& terms, const std::string& output,
                      const std::map<char, int64_t>& extents, const std::vector<Data>& data) {
  auto offset = [&](const std::string& letters, const std::map<char, int64_t>& at) {
    int64_t o = 0;
    for (char c : letters) o = o * extents.at(c) + at.at(c);
    return static_cast<size_t>(o);
  };
  int64_t out_count = 1;
  for (char c : output) out_count *= extents.at(c);
  Data y(static_cast<size_t>(out_count));
  std::map<char, int64_t> at;
  for (auto [c, n] : extents) at[c] = 0;
  while (true) {
    float product = 1;
    for (size_t i = 0; i < terms.size(); i++) product *= data[i][offset(terms[i], at)];
    y[offset(output, at)] += product;
    auto c = at.begin();
    while (c != at.end() && ++c->second == extents.at(c->first)) (c++)->second = 0;
    if (c == at.end()) return y;
  }
}

TEST(Convert, Einsum) {
  std::map<char, int64_t> extents{{'a', 2}, {'b', 3}, {'c', 4}, {'d', 5}, {'e', 2}};
  struct Case {
    std::vector<std::string> terms;
    std::string output;
  };
  for (const Case& c :
       {Case{{"ab", "bc"}, "ac"}, Case{{"ab", "bc"}, "ca"}, Case{{"abc", "adc"}, "abd"}, Case{{"abcd", "acbd"}, "abc"},
        Case{{"abc"}, "b"}, Case{{"abc"}, "cab"}, Case{{"ab", "cd"}, "adcb"}, Case{{"ab", "ab"}, ""},
        Case{{"ab", "bc", "cd"}, "ad"}, Case{{"aab", "b"}, "a"}, Case{{"abd", "c"}, "dc"}}) {
    std::map<char, int64_t> used;
    std::vector<Shape> shapes;
    std::vector<Data> data;
    std::string equation;
    for (const std::string& term : c.terms) {
      Shape shape;
      for (char l : term) {
        shape.push_back(extents[l]);
        used[l] = extents[l];
      }
      data.push_back(random_data(element_count(shape), static_cast<uint32_t>(data.size() + 1)));
      shapes.push_back(shape);
      equation += (equation.empty() ? "" : ", ") + term;
    }
    SCOPED_TRACE(equation + "->" + c.output);
    Result y = einsum(equation + "->" + c.output, shapes, data);
    Shape expected;
    for (char l : c.output) expected.push_back(extents[l]);
    EXPECT_EQ(y.shape, expected);
    expect_near(y.data, einsum_reference(c.terms, c.output, used, data));
  }
}

TEST(Convert, EinsumEllipsis) {
  Data a = random_data(2 * 3 * 4 * 5, 1), b = random_data(3 * 5 * 2, 2);
  Result y = einsum("...ij,...jk->...ik", {{2, 3, 4, 5}, {3, 5, 2}}, {a, b});
  EXPECT_EQ(y.shape, (Shape{2, 3, 4, 2}));
  Data full;
  for (int i = 0; i < 2; i++) full.insert(full.end(), b.begin(), b.end());
  std::map<char, int64_t> extents{{'n', 2}, {'h', 3}, {'i', 4}, {'j', 5}, {'k', 2}};
  expect_near(y.data, einsum_reference({"nhij", "nhjk"}, "nhik", extents, {a, full}));
  EXPECT_EQ(einsum("...ij", {{2, 3, 4}}, {random_data(24, 1)}).shape, (Shape{2, 3, 4}));  // implicit output
}

TEST(Convert, EinsumRefusesNonsense) {
  for (const char* equation : {"ab,bc->ad", "a,bc->ac", "ab,bc,cd->ad", "ab->aa", "a..b,bc->ac", ",,", "ab,bc->aa"})
    EXPECT_THROW(einsum(equation, {{2, 3}, {3, 4}}, {Data(6), Data(12)}), Error) << equation;
}

// ---- older and newer versions of operators ----

Result unary(int64_t opset, const std::string& op, const Shape& shape, const Data& x,
             const std::vector<std::string>& attributes) {
  ModelWriter m(opset);
  m.input("x", t::f32, shape).output("y").node(op, {"x"}, {"y"}, attributes);
  return run(m, {x});
}

TEST(Convert, SoftmaxBeforeOpset13TakesAllThatFollows) {
  Data x = random_data(2 * 3 * 4, 1);
  Result y = unary(11, "Softmax", {2, 3, 4}, x, {});
  EXPECT_EQ(y.shape, (Shape{2, 3, 4}));
  for (int row = 0; row < 2; row++)
    EXPECT_NEAR(std::accumulate(y.data.begin() + row * 12, y.data.begin() + row * 12 + 12, 0.0f), 1, 1e-5);
  y = unary(13, "Softmax", {2, 3, 4}, x, {});
  EXPECT_NEAR(std::accumulate(y.data.begin(), y.data.begin() + 4, 0.0f), 1, 1e-5);
}

TEST(Convert, OldBroadcastFollowsTheAxis) {
  ModelWriter m(6);
  m.input("a", t::f32, {2, 3, 2}).input("b", t::f32, {3}).output("y");
  m.node("Add", {"a", "b"}, {"y"}, {attr("broadcast", int64_t{1}), attr("axis", int64_t{1})});
  Result y = run(m, {Data(12, 1), {10, 20, 30}});
  expect_near(y.data, {11, 11, 21, 21, 31, 31, 11, 11, 21, 21, 31, 31}, 0);
}

TEST(Convert, SplitIntoUnevenParts) {
  ModelWriter m(18);
  m.input("x", t::f32, {7}).output("c").node("Split", {"x"}, {"a", "b", "c"}, {attr("num_outputs", int64_t{3})});
  expect_near(run(m, {{0, 1, 2, 3, 4, 5, 6}}).data, {6}, 0);
}

TEST(Convert, SliceClampsAndReverses) {
  ModelWriter m;
  m.input("x", t::f32, {5}).output("y");
  m.ints("starts", {INT64_MAX}).ints("ends", {INT64_MIN}).ints("axes", {-1}).ints("steps", {-2});
  m.node("Slice", {"x", "starts", "ends", "axes", "steps"}, {"y"});
  expect_near(run(m, {{0, 1, 2, 3, 4}}).data, {4, 2, 0}, 0);
  ModelWriter none_left;
  none_left.input("x", t::f32, {5}).output("y").ints("starts", {4}).ints("ends", {2});
  none_left.node("Slice", {"x", "starts", "ends"}, {"y"});
  EXPECT_EQ(run(none_left, {{0, 1, 2, 3, 4}}).shape, (Shape{0}));
}

TEST(Convert, ResizeOfOpset10AndUpsample) {
  Data x{1, 2, 3, 4};
  for (const char* op : {"Resize", "Upsample"}) {
    ModelWriter m(op[0] == 'R' ? 10 : 9);
    m.input("x", t::f32, {1, 1, 2, 2}).output("y").floats("s", {4}, {1, 1, 2, 1.5f});
    m.node(op, {"x", "s"}, {"y"});
    Result y = run(m, {x});
    EXPECT_EQ(y.shape, (Shape{1, 1, 4, 3}));
    expect_near(y.data, {1, 1, 2, 1, 1, 2, 3, 3, 4, 3, 3, 4}, 0);
  }
}

TEST(Convert, ReductionAxesAsInput) {
  ModelWriter m(18);
  m.input("x", t::f32, {2, 3}).output("y").ints("axes", {-1});
  m.node("ReduceMax", {"x", "axes"}, {"y"}, {attr("keepdims", int64_t{0})});
  Result y = run(m, {{1, 5, 2, 7, 3, 4}});
  EXPECT_EQ(y.shape, (Shape{2}));
  expect_near(y.data, {5, 7}, 0);
  ModelWriter noop(18);
  noop.input("x", t::f32, {2}).output("y").node("ReduceSum", {"x"}, {"y"}, {attr("noop_with_empty_axes", int64_t{1})});
  expect_near(run(noop, {{3, 4}}).data, {3, 4}, 0);
}

TEST(Convert, GroupNormalization) {
  const int64_t c = 4, pixels = 6, groups = 2;
  Data x = random_data(2 * c * pixels, 1), scale{1, 2, 3, 4}, bias{4, 3, 2, 1};
  ModelWriter m(21);
  m.input("x", t::f32, {2, c, 2, 3}).output("y").floats("s", {c}, scale).floats("b", {c}, bias);
  m.node("GroupNormalization", {"x", "s", "b"}, {"y"}, {attr("num_groups", groups)});
  Data expected(x.size());
  const int64_t row = c / groups * pixels;
  for (int64_t r = 0; r < 2 * groups; r++) {
    double mean = 0, square = 0;
    for (int64_t i = 0; i < row; i++) mean += x[r * row + i] / static_cast<double>(row);
    for (int64_t i = 0; i < row; i++) square += std::pow(x[r * row + i] - mean, 2) / static_cast<double>(row);
    for (int64_t i = 0; i < row; i++) {
      int64_t channel = (r * row + i) / pixels % c;
      expected[r * row + i] =
          static_cast<float>((x[r * row + i] - mean) / std::sqrt(square + 1e-5)) * scale[channel] + bias[channel];
    }
  }
  expect_near(run(m, {x}).data, expected);
}

TEST(Convert, RmsNormalizationAndGelu) {
  Data x = random_data(12, 1), expected;
  for (int r = 0; r < 3; r++) {
    double square = 0;
    for (int i = 0; i < 4; i++) square += x[r * 4 + i] * x[r * 4 + i] / 4.0;
    for (int i = 0; i < 4; i++) expected.push_back(static_cast<float>(2 * x[r * 4 + i] / std::sqrt(square + 1e-5)));
  }
  ModelWriter m(23);
  m.input("x", t::f32, {3, 4}).output("y").floats("s", {1}, {2}).node("RMSNormalization", {"x", "s"}, {"y"});
  expect_near(run(m, {x}).data, expected);
  Data gelu;
  for (float v : x) gelu.push_back(0.5f * v * (1 + std::erf(v / std::sqrt(2.0f))));
  expect_near(unary(20, "Gelu", {12}, x, {}).data, gelu, 1e-6f);
}

TEST(Convert, BatchNormalizationIsScaleAndShift) {
  ModelWriter m;
  m.input("x", t::f32, {1, 2, 2, 2}).output("y").floats("s", {2}, {1, 2}).floats("b", {2}, {0, 1});
  m.floats("m", {2}, {1, 2}).floats("v", {2}, {4, 1});
  m.node("BatchNormalization", {"x", "s", "b", "m", "v"}, {"y"}, {attr("epsilon", 0.0f)});
  EXPECT_EQ(import_model(m).nodes.size(), 2u);
  expect_near(run(m, {{1, 3, 5, 7, 2, 3, 4, 5}}).data, {0, 1, 2, 3, 1, 3, 5, 7});
}

TEST(Convert, DimensionsStayWithinLimits) {
  ModelWriter m;
  m.input("x", t::f32, {1, 1, 1, 1, 1, 1, 1, 1}).output("y").ints("axes", {0});
  m.node("Unsqueeze", {"x", "axes"}, {"y"});
  EXPECT_THROW(import_model(m), Error);
}

// ---- losses ----

TEST(Losses, EveryScoreHasALabelAndEveryClassAWeight) {
  const auto loss = [](const char* op, const Shape& scores, const Shape& labels, int64_t weights) {
    ModelWriter m;
    m.input("x", f32, scores).input("labels", i64, labels).input("w", f32, {weights}).output("y");
    import_model(m.node(op, {"x", "labels", "w"}, {"y"}));
  };
  for (const char* op : {"SoftmaxCrossEntropyLoss", "NegativeLogLikelihoodLoss"}) {
    EXPECT_NO_THROW(loss(op, {5, 4}, {5}, 4)) << op;
    EXPECT_NO_THROW(loss(op, {5, 4, 2}, {5, 2}, 4)) << op;
    EXPECT_THROW(loss(op, {5, 4}, {3}, 4), Error) << op;
    EXPECT_THROW(loss(op, {5, 4, 2}, {5, 1}, 4), Error) << op;
    EXPECT_THROW(loss(op, {5, 4}, {5}, 3), Error) << op;
  }
}

}  // namespace
}  // namespace pando
