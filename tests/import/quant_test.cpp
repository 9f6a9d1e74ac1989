// Converters of quantized operators, against the formulas of their definitions.
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "graph/ops/ops.hpp"
#include "import/evaluate.hpp"
#include "import/model_writer.hpp"

namespace pando {
namespace {

using namespace testing_onnx;
namespace t = testing_onnx;

using Data = std::vector<float>;
using Numbers = std::vector<double>;
// The first output of a model whose only input is bytes.
TensorPtr run_bytes(const Graph& g, const std::vector<uint8_t>& x) {
  auto t = make_tensor(DType::u8, g.shape(g.inputs[0]));
  std::memcpy(writable(*t), x.data(), x.size());
  return evaluate(g, {{g.values[g.inputs[0]].name, t}})[g.outputs[0]];
}

// Constant weights and parameters: one product of bytes, by the formula.
TEST(Quantized, QLinearConvIsOneProduct) {
  constexpr int64_t ci = 3, co = 4, h = 5;
  const std::vector<uint8_t> x = random_bytes(ci * h * h, 1), w = random_bytes(co * ci * 9, 2);
  const Data w_scale{0.02f, 0.05f, 0.001f, 0.03f};
  const std::vector<int32_t> bias{100, -5000, 123456, 0};
  constexpr float x_scale = 0.04f, y_scale = 0.9f;
  constexpr int x_zero = 100, y_zero = 7;
  ModelWriter m;
  m.input("x", t::u8, {1, ci, h, h}).output("y");
  m.floats("xs", {}, {x_scale}).floats("ws", {co}, w_scale).floats("ys", {}, {y_scale});
  m.initializer(raw_tensor<uint8_t>("xz", t::u8, {}, {x_zero}))
      .initializer(raw_tensor<uint8_t>("yz", t::u8, {}, {y_zero}));
  m.initializer(raw_tensor<uint8_t>("w", t::u8, {co, ci, 3, 3}, w));
  m.initializer(raw_tensor<uint8_t>("wz", t::u8, {}, {128})).initializer(raw_tensor<int32_t>("b", t::i32, {co}, bias));
  m.node("QLinearConv", {"x", "xs", "xz", "w", "ws", "wz", "ys", "yz", "b"}, {"y"},
         {attr("pads", std::vector<int64_t>{1, 1, 1, 1})});
  const Graph g = import_model(m);
  verify(g);
  int products = 0;
  for (const Node& node : g.nodes) products += node.op->matrix && g.values[node.inputs[0]].dtype == DType::u8;
  EXPECT_EQ(products, 1);
  const TensorPtr y = run_bytes(g, x);
  for (int64_t o = 0; o < co; o++)
    for (int64_t i = 0; i < h; i++)
      for (int64_t j = 0; j < h; j++) {
        int64_t sum = bias[static_cast<size_t>(o)];
        for (int64_t c = 0; c < ci; c++)
          for (int64_t u = 0; u < 3; u++)
            for (int64_t v = 0; v < 3; v++) {
              const int64_t row = i + u - 1, column = j + v - 1;
              if (row < 0 || column < 0 || row >= h || column >= h) continue;
              sum += int64_t{x[static_cast<size_t>((c * h + row) * h + column)] - x_zero} *
                     (w[static_cast<size_t>(((o * ci + c) * 3 + u) * 3 + v)] - 128);
            }
        const float factor = (x_scale * w_scale[static_cast<size_t>(o)]) / y_scale;
        const float q = std::nearbyint(static_cast<float>(sum) * factor) + y_zero;
        ASSERT_EQ(static_cast<uint8_t>(y->data[(o * h + i) * h + j]),
                  static_cast<uint8_t>(std::clamp(q, 0.0f, 255.0f)));
      }
}

TEST(Quantized, MatMulIntegerSubtractsAZeroPointThatIsComputed) {
  constexpr int64_t rows = 3, depth = 7, columns = 5;
  const std::vector<uint8_t> a = random_bytes(rows * depth, 3), w = random_bytes(depth * columns, 4);
  for (bool constant : {false, true}) {
    ModelWriter m;
    m.input("a", t::u8, {rows, depth}).output("y");
    m.initializer(raw_tensor<uint8_t>("w", t::u8, {depth, columns}, w));
    m.initializer(raw_tensor<uint8_t>("wz", t::u8, {columns}, {128, 127, 128, 128, 128}));
    m.initializer(raw_tensor<uint8_t>("zero", t::u8, {}, {90}));
    if (!constant) {  // the first element of a
      m.ints("first", {0}).ints("end", {1});
      m.node("Slice", {"a", "first", "end"}, {"row"}).node("Flatten", {"row"}, {"flat"}, {attr("axis", int64_t{0})});
      m.ints("axes", {1}).node("Slice", {"flat", "first", "end", "axes"}, {"az"}).ints("scalar", {});
      m.node("Squeeze", {"az"}, {"z"});
    }
    m.node("MatMulInteger", {"a", "w", constant ? "zero" : "z", "wz"}, {"y"});
    const TensorPtr y = run_bytes(import_model(m), a);
    const int zero = constant ? 90 : a[0];
    for (int64_t i = 0; i < rows; i++)
      for (int64_t o = 0; o < columns; o++) {
        int32_t sum = 0, got = 0;
        for (int64_t p = 0; p < depth; p++)
          sum += (a[static_cast<size_t>(i * depth + p)] - zero) *
                 (w[static_cast<size_t>(p * columns + o)] - (o == 1 ? 127 : 128));
        std::memcpy(&got, y->data + (i * columns + o) * 4, 4);
        ASSERT_EQ(got, sum) << i << " " << o;
      }
  }
}

TensorPtr floats(const Shape& shape, const Data& list) { return make_constant(DType::f32, shape, list); }

Numbers numbers(const Tensor& tensor) {
  Numbers list(static_cast<size_t>(element_count(tensor.shape)));
  const View view = tensor.view();
  for (size_t i = 0; i < list.size(); i++) list[i] = load_as<double>(view, static_cast<int64_t>(i));
  return list;
}

// The first output, of inputs in order.
TensorPtr result_of(const ModelWriter& model, const std::vector<TensorPtr>& inputs) {
  const Graph g = import_model(model);
  verify(g);
  std::map<std::string, TensorPtr> by_name;
  for (size_t i = 0; i < g.inputs.size(); i++) by_name[g.values[g.inputs[i]].name] = inputs[i];
  return evaluate(g, by_name)[g.outputs[0]];
}

// 8-bit elements, a scale and a zero point: operands of a model as "x", "xs", "xz".
struct Bytes {
  int32_t type;
  Shape shape;
  float scale;
  int zero;
  std::vector<uint8_t> bytes;

  Bytes(int32_t of, Shape dims, float s, int z, uint32_t seed)
      : type(of), shape(std::move(dims)), scale(s), zero(z), bytes(random_bytes(element_count(shape), seed)) {}
  int at(size_t i) const { return type == t::i8 ? static_cast<int8_t>(bytes[i]) : bytes[i]; }
  int whole(size_t i) const { return at(i) - zero; }
  float real(size_t i) const { return static_cast<float>(whole(i)) * scale; }
  DType dtype() const { return type == t::i8 ? DType::i8 : DType::u8; }
  TensorPtr tensor() const { return make_constant(dtype(), shape, bytes); }
  void parameters(ModelWriter& m, const std::string& name) const { parameters_of(m, name, type, scale, zero); }
  static void parameters_of(ModelWriter& m, const std::string& name, int32_t type, float scale, int zero) {
    m.floats(name + "s", {}, {scale});
    m.initializer(raw_tensor<uint8_t>(name + "z", type, {}, {static_cast<uint8_t>(zero)}));
  }
  void weights(ModelWriter& m, const std::string& name) const { m.initializer(raw_tensor(name, type, shape, bytes)); }
  // What the result's element is for a value in units of its scale, with its zero point in.
  double saturated(double v) const { return type == t::i8 ? std::clamp(v, -128.0, 127.0) : std::clamp(v, 0.0, 255.0); }
};

// y = op(x, w), element by element, both of one shape, and y's scale 0.07 and zero point 9; `expected(i)` without the
// saturation.
constexpr float y_scale = 0.07f;
constexpr int y_zero = 9;
template <class F>
void check_elements(const std::string& op, const std::vector<std::string>& inputs, const Bytes& x, const Bytes* w,
                    F&& expected, const std::vector<std::string>& attributes = {}) {
  ModelWriter m;
  m.input("x", x.type, x.shape).output("y");
  x.parameters(m, "x");
  if (w) w->parameters(m, "w"), w->weights(m, "w");
  Bytes::parameters_of(m, "y", x.type, y_scale, y_zero);
  m.node(op, inputs, {"y"}, attributes, microsoft);
  const TensorPtr y = result_of(m, {x.tensor()});
  EXPECT_EQ(y->dtype, x.dtype());
  const Numbers got = numbers(*y);
  ASSERT_EQ(got.size(), x.bytes.size());
  for (size_t i = 0; i < got.size(); i++) ASSERT_EQ(got[i], x.saturated(expected(i))) << op << " " << i;
}

double in_units(float v) { return std::nearbyint(v / y_scale) + y_zero; }

TEST(Quantized, ElementsFollowTheFormula) {
  for (int32_t type : {t::u8, t::i8}) {
    const Bytes x(type, {400}, 0.05f, 11, 1), w(type, {400}, 0.03f, -3 + 20 * (type == t::u8), 2);
    const std::vector<std::string> binary{"x", "xs", "xz", "w", "ws", "wz", "ys", "yz"},
        unary{"x", "xs", "xz", "ys", "yz"};
    check_elements("QLinearAdd", binary, x, &w, [&](size_t i) { return in_units(x.real(i) + w.real(i)); });
    // The exact product, rounded with the zero point in.
    check_elements("QLinearMul", binary, x, &w, [&](size_t i) {
      const float factor = x.scale * w.scale / y_scale;
      return std::nearbyint(static_cast<float>(x.whole(i) * w.whole(i)) * factor + y_zero);
    });
    check_elements("QLinearLeakyRelu", unary, x, nullptr,
                   [&](size_t i) { return in_units(x.real(i) < 0 ? x.real(i) * 0.25f : x.real(i)); },
                   {attr("alpha", 0.25f)});
    check_elements("QLinearLeakyRelu", unary, x, nullptr,
                   [&](size_t i) { return in_units(x.real(i) < 0 ? x.real(i) * 0.01f : x.real(i)); });
    check_elements("QLinearSigmoid", unary, x, nullptr,
                   [&](size_t i) { return in_units(static_cast<float>(1 / (1 + std::exp(-double{x.real(i)})))); });
  }
}

TEST(Quantized, AbsentZeroPointsAreZero) {
  const Bytes x(t::i8, {100}, 0.05f, 0, 1);
  ModelWriter m;
  m.input("x", t::i8, x.shape).output("y").floats("xs", {1}, {x.scale}).floats("ys", {1}, {0.1f});
  m.node("QLinearLeakyRelu", {"x", "xs", "", "ys", ""}, {"y"}, {}, microsoft);
  const Numbers y = numbers(*result_of(m, {x.tensor()}));
  for (size_t i = 0; i < y.size(); i++)
    ASSERT_EQ(y[i], std::nearbyint((x.at(i) < 0 ? x.real(i) * 0.01f : x.real(i)) / 0.1f));
}

// Operands in the units of the result are moved as they are.
TEST(Quantized, ConcatAndWhereChangeUnits) {
  const Bytes x(t::u8, {2, 5}, 0.05f, 11, 1), w(t::u8, {2, 5}, y_scale, y_zero, 2);
  for (bool where : {false, true}) {
    ModelWriter m;
    m.input("x", t::u8, x.shape).output("y");
    x.parameters(m, "x"), w.parameters(m, "y"), w.weights(m, "w");
    m.initializer(raw_tensor<uint8_t>("c", t::boolean, {5}, {1, 0, 0, 1, 1}));
    if (where) m.node("QLinearWhere", {"c", "x", "xs", "xz", "w", "ys", "yz", "ys", "yz"}, {"y"}, {}, microsoft);
    else
      m.node("QLinearConcat", {"ys", "yz", "x", "xs", "xz", "w", "ys", "yz"}, {"y"}, {attr("axis", int64_t{1})},
             microsoft);
    const Graph g = import_model(m);
    int maps = 0;
    for (const Node& node : g.nodes) maps += node.op == &map_op;
    EXPECT_EQ(maps, where ? 3 : 2);  // from bytes and to bytes, of x alone
    const Numbers y = numbers(*result_of(m, {x.tensor()}));
    const auto moved = [&](size_t i) { return x.saturated(in_units(x.real(i))); };
    for (size_t r = 0; r < 2; r++)
      for (size_t c = 0; c < 5; c++) {
        const size_t i = r * 5 + c;
        if (where) ASSERT_EQ(y[i], c % 3 == 0 || c == 4 ? moved(i) : w.at(i));
        else ASSERT_EQ(std::pair(y[r * 10 + c], y[r * 10 + 5 + c]), std::pair(moved(i), double(w.at(i))));
      }
  }
}

// x as [channels, pixels] whatever its layout.
TEST(Quantized, PoolsFollowTheFormula) {
  constexpr int64_t channels = 3, side = 4;
  for (int32_t type : {t::u8, t::i8})
    for (bool last : {false, true})
      for (bool global : {false, true}) {
        const Shape shape = last ? Shape{1, side, side, channels} : Shape{1, channels, side, side};
        const Bytes x(type, shape, 0.0625f, 11, 3);  // sums are exact
        ModelWriter m;
        m.input("x", type, shape).output("y");
        x.parameters(m, "x");
        Bytes::parameters_of(m, "y", type, global ? 0.02f : x.scale, y_zero);
        std::vector<std::string> attributes{attr("channels_last", int64_t{last})};
        if (!global) {
          attributes.push_back(attr("kernel_shape", std::vector<int64_t>{2, 2}));
          attributes.push_back(attr("strides", std::vector<int64_t>{2, 2}));
        }
        m.node(global ? "QLinearGlobalAveragePool" : "QLinearAveragePool", {"x", "xs", "xz", "ys", "yz"}, {"y"},
               attributes, microsoft);
        const TensorPtr y = result_of(m, {x.tensor()});
        const int64_t out = global ? 1 : side / 2, taps = side / out;
        EXPECT_EQ(y->shape, last ? (Shape{1, out, out, channels}) : (Shape{1, channels, out, out}));
        const Numbers got = numbers(*y);
        for (int64_t c = 0; c < channels; c++)
          for (int64_t i = 0; i < out; i++)
            for (int64_t j = 0; j < out; j++) {
              int whole = 0;
              float real = 0;
              for (int64_t u = 0; u < taps; u++)
                for (int64_t v = 0; v < taps; v++) {
                  const int64_t p = (i * taps + u) * side + j * taps + v;
                  const auto at = static_cast<size_t>(last ? p * channels + c : c * side * side + p);
                  whole += x.whole(at);
                  real += x.real(at);
                }
              const float factor = x.scale / (0.02f * (side * side));
              const double expected = global ? std::nearbyint(static_cast<float>(whole) * factor) + y_zero
                                             : std::nearbyint(real / 4 / x.scale + y_zero);
              const int64_t at = last ? (i * out + j) * channels + c : (c * out + i) * out + j;
              ASSERT_EQ(got[static_cast<size_t>(at)], x.saturated(expected)) << c << " " << i << " " << j;
            }
      }
}

TEST(Quantized, NhwcMaxPoolTakesBytes) {
  const Bytes x(t::i8, {1, 5, 2, 3}, 1, 0, 4);
  ModelWriter m;
  m.input("x", t::i8, x.shape).output("y");
  m.node("NhwcMaxPool", {"x"}, {"y"},
         {attr("kernel_shape", std::vector<int64_t>{2, 1}), attr("pads", std::vector<int64_t>{1, 0, 0, 0}),
          attr("strides", std::vector<int64_t>{2, 1})},
         microsoft);
  const TensorPtr y = result_of(m, {x.tensor()});
  EXPECT_EQ(y->shape, (Shape{1, 3, 2, 3}));
  const Numbers got = numbers(*y);
  for (size_t i = 0; i < 3; i++)
    for (size_t c = 0; c < 6; c++) {
      const int here = x.at(2 * i * 6 + c), above = i == 0 ? -128 : x.at((2 * i - 1) * 6 + c);
      ASSERT_EQ(got[i * 6 + c], std::max(here, above));
    }
}

// Probabilities count in floor(1 / scale) parts of 1.
TEST(Quantized, SoftmaxCountsWholeParts) {
  for (bool old : {false, true}) {
    const Bytes x(t::u8, {3, 2, 4}, 0.02f, 77, 5);
    ModelWriter m;
    m.input("x", t::u8, x.shape).output("y");
    x.parameters(m, "x");
    Bytes::parameters_of(m, "y", t::u8, 1 / 254.5f, 1);
    m.node("QLinearSoftmax", {"x", "xs", "xz", "ys", "yz"}, {"y"}, {attr("opset", int64_t{old ? 12 : 13})}, microsoft);
    const Numbers y = numbers(*result_of(m, {x.tensor()}));
    const size_t row = old ? 8 : 4;
    for (size_t i = 0; i < y.size(); i++) {
      double sum = 0;
      for (size_t j = 0; j < row; j++) sum += std::exp(double{x.real(i / row * row + j)});
      ASSERT_NEAR(y[i], std::exp(double{x.real(i)}) / sum * 254 + 1, 0.501);
    }
  }
}

// a [m, k], w [k, n], perhaps transposed.
TEST(Quantized, QGemmFollowsTheFormula) {
  constexpr int64_t rows = 3, depth = 9, columns = 5;
  for (bool transposed : {false, true})
    for (Shape c : {Shape{columns}, Shape{rows, columns}, Shape{}})
      for (bool bytes : {false, true}) {
        const Bytes a(t::u8, transposed ? Shape{depth, rows} : Shape{rows, depth}, 0.05f, 101, 6);
        const Bytes w(t::i8, transposed ? Shape{columns, depth} : Shape{depth, columns}, 0.01f, 0, 7);
        const Data w_scale = random_floats(columns, 8, 0.01f, 0.05f);
        std::vector<int32_t> bias(static_cast<size_t>(element_count(c)));
        for (size_t i = 0; i < bias.size(); i++) bias[i] = static_cast<int32_t>(i) * 1000 - 3000;
        ModelWriter m;
        m.input("x", t::u8, a.shape).output("y");
        a.parameters(m, "x"), w.weights(m, "w");
        m.floats("ws", {columns}, w_scale).initializer(raw_tensor<int8_t>("wz", t::i8, {columns}, {0, 1, 0, -2, 0}));
        m.initializer(raw_tensor("c", t::i32, c, bias));
        Bytes::parameters_of(m, "y", t::u8, y_scale, y_zero);
        std::vector<std::string> inputs{"x", "xs", "xz", "w", "ws", "wz", "c"};
        if (bytes) inputs.insert(inputs.end(), {"ys", "yz"});
        m.node("QGemm", inputs, {"y"},
               {attr("alpha", 0.5f), attr("transA", int64_t{transposed}), attr("transB", int64_t{transposed})},
               microsoft);
        const Numbers y = numbers(*result_of(m, {a.tensor()}));
        for (int64_t i = 0; i < rows; i++)
          for (int64_t o = 0; o < columns; o++) {
            int sum = bias[static_cast<size_t>(c.empty() ? 0 : c.size() == 1 ? o : i * columns + o)];
            const int zero = o == 1 ? 1 : o == 3 ? -2 : 0;
            for (int64_t p = 0; p < depth; p++)
              sum += a.whole(static_cast<size_t>(transposed ? p * rows + i : i * depth + p)) *
                     (w.at(static_cast<size_t>(transposed ? o * depth + p : p * columns + o)) - zero);
            float factor = 0.5f * a.scale * w_scale[static_cast<size_t>(o)];
            if (bytes) factor /= y_scale;
            const float real = static_cast<float>(sum) * factor;
            ASSERT_EQ(y[static_cast<size_t>(i * columns + o)],
                      bytes ? a.saturated(std::nearbyint(real) + y_zero) : real);
          }
      }
}

// Both scale sums to float32: one of bytes, one of float32 that is quantized first.
TEST(Quantized, ProductsOfBytesAsFloats) {
  constexpr int64_t rows = 4, depth = 9, columns = 5;
  const Bytes a(t::u8, {rows, depth}, 0.05f, 101, 6), w(t::u8, {depth, columns}, 0.02f, 128, 7);
  const Data bias = random_floats(columns, 8), real = random_floats(rows * depth, 9, -2, 3);
  const auto expect = [&](const Numbers& y, float scale, auto&& whole) {
    for (int64_t i = 0; i < rows; i++)
      for (int64_t o = 0; o < columns; o++) {
        int sum = 0;
        for (int64_t p = 0; p < depth; p++)
          sum += whole(static_cast<size_t>(i * depth + p)) * w.whole(static_cast<size_t>(p * columns + o));
        ASSERT_EQ(static_cast<float>(y[static_cast<size_t>(i * columns + o)]),
                  static_cast<float>(sum) * (scale * w.scale) + bias[static_cast<size_t>(o)]);
      }
  };
  ModelWriter m;
  m.input("x", t::u8, a.shape).output("y").floats("b", {columns}, bias);
  a.parameters(m, "x"), w.parameters(m, "w"), w.weights(m, "w");
  m.node("MatMulIntegerToFloat", {"x", "w", "xs", "ws", "xz", "wz", "b"}, {"y"}, {}, microsoft);
  expect(numbers(*result_of(m, {a.tensor()})), a.scale, [&](size_t i) { return a.whole(i); });

  ModelWriter d;
  d.input("x", t::f32, a.shape).output("y").floats("b", {columns}, bias);
  w.parameters(d, "w"), w.weights(d, "w");
  d.node("DynamicQuantizeMatMul", {"x", "w", "ws", "wz", "b"}, {"y"}, {}, microsoft);
  const auto [lo, hi] = std::minmax_element(real.begin(), real.end());
  const float scale = (*hi - *lo) / 255, zero = std::nearbyint(-*lo / scale);
  expect(numbers(*result_of(d, {floats(a.shape, real)})), scale,
         [&](size_t i) { return static_cast<int>(std::nearbyint(real[i] / scale)); });
  EXPECT_GT(zero, 0);
}

// One that is all zeros has the scale 1.
TEST(Quantized, DynamicScaleIsNeverZero) {
  for (float v : {0.0f, 2.55f}) {
    ModelWriter m;
    m.input("x", t::f32, {2}).output("s").node("DynamicQuantizeLinear", {"x"}, {"y", "s", "z"});
    EXPECT_EQ(numbers(*result_of(m, {floats({2}, {0, v})})), Numbers{v == 0 ? 1.0f : v / 255});
  }
}

// One query at a time, in double.
struct Attention {
  static constexpr int64_t batch = 2, queries = 4, features = 6, heads = 2, width = 3, past = 2;
  Bytes x{t::u8, {batch, queries, features}, 0.02f, 120, 1}, w{t::i8, {features, 3 * heads*width}, 0.01f, 0, 2};
  Data bias = random_floats(3 * heads * width, 3), old = random_floats(2 * batch * heads * past * width, 4);
  Shape mask_shape;
  std::vector<int32_t> mask;
  bool causal = false, with_past = false;

  int64_t keys() const { return queries + (with_past ? past : 0); }
  double part(int64_t b, int64_t s, int64_t which, int64_t h, int64_t d) const {
    if (which > 0 && with_past) {
      if (s < past) return old[static_cast<size_t>(((((which - 1) * batch + b) * heads + h) * past + s) * width + d)];
      s -= past;
    }
    const int64_t o = (which * heads + h) * width + d;
    int sum = 0;
    for (int64_t p = 0; p < features; p++)
      sum += x.whole(static_cast<size_t>((b * queries + s) * features + p)) *
             w.at(static_cast<size_t>(p * 3 * heads * width + o));
    return static_cast<float>(sum) * (x.scale * w.scale) + bias[static_cast<size_t>(o)];
  }
  bool sees(int64_t b, int64_t s, int64_t k) const {
    if (mask.empty()) return true;
    if (mask_shape.size() == 1)
      return k < mask[static_cast<size_t>(b)] && (mask_shape[0] == batch || k >= mask[static_cast<size_t>(batch + b)]);
    if (mask_shape.size() == 2) return mask[static_cast<size_t>(b * keys() + k)] > 0;
    return mask[static_cast<size_t>((b * queries + s) * keys() + k)] > 0;
  }
  void check() const {
    ModelWriter m;
    m.input("x", t::u8, x.shape);
    x.parameters(m, "x"), w.weights(m, "w");
    m.floats("ws", {}, {w.scale}).floats("b", {3 * heads * width}, bias).output("y");
    std::vector<std::string> inputs{"x", "w", "b", "xs", "ws", mask.empty() ? "" : "m", "xz", ""};
    if (!mask.empty()) m.initializer(raw_tensor("m", t::i32, mask_shape, mask));
    if (with_past) inputs.emplace_back("p"), m.floats("p", {2, batch, heads, past, width}, old).output("present");
    std::vector<std::string> outputs{"y"};
    if (with_past) outputs.emplace_back("present");
    m.node("QAttention", inputs, outputs, {attr("num_heads", heads), attr("unidirectional", int64_t{causal})},
           microsoft);
    const Graph g = import_model(m);
    const auto values = evaluate(g, {{"x", x.tensor()}});
    const Numbers y = numbers(*values[g.outputs[0]]);
    for (int64_t b = 0; b < batch; b++)
      for (int64_t h = 0; h < heads; h++)
        for (int64_t s = 0; s < queries; s++) {
          std::vector<double> weight;
          double sum = 0;
          for (int64_t k = 0; k < keys(); k++) {
            double score = 0;
            for (int64_t d = 0; d < width; d++) score += part(b, s, 0, h, d) * part(b, k, 1, h, d);
            const bool hidden = causal && k > s + keys() - queries;
            weight.push_back(hidden || !sees(b, s, k) ? 0 : std::exp(score / std::sqrt(double{width})));
            sum += weight.back();
          }
          for (int64_t d = 0; d < width; d++) {
            double expected = 0;
            for (int64_t k = 0; k < keys(); k++) expected += weight[static_cast<size_t>(k)] / sum * part(b, k, 2, h, d);
            ASSERT_NEAR(y[static_cast<size_t>(((b * queries + s) * heads + h) * width + d)], expected, 1e-5);
          }
        }
    if (!with_past) return;
    const Numbers present = numbers(*values[g.outputs[1]]);
    auto next = present.begin();
    for (int64_t which : {1, 2})
      for (int64_t b = 0; b < batch; b++)
        for (int64_t h = 0; h < heads; h++)
          for (int64_t k = 0; k < keys(); k++)
            for (int64_t d = 0; d < width; d++) ASSERT_NEAR(*next++, part(b, k, which, h, d), 1e-6);
  }
};

TEST(Quantized, QAttentionFollowsTheFormula) {
  for (bool causal : {false, true})
    for (bool with_past : {false, true}) {
      Attention a;
      a.causal = causal;
      a.with_past = with_past;
      a.check();
      a.mask_shape = {2};
      a.mask = {2, 4};
      a.check();
      a.mask_shape = {4};
      a.mask = {3, 4, 0, 1};
      if (!causal) a.check();
      a.mask_shape = {2, a.keys()};
      a.mask.assign(static_cast<size_t>(2 * a.keys()), 1);
      a.mask[1] = a.mask[5] = 0;
      a.check();
      a.mask_shape = {2, 4, a.keys()};
      a.mask.assign(static_cast<size_t>(8 * a.keys()), 1);
      a.mask[2] = a.mask[9] = a.mask[11] = 0;
      a.check();
    }
}

template <class T>
void check_blocks(DType type, int32_t onnx_type, int64_t columns, int64_t block) {
  constexpr int64_t rows = 3;
  const int64_t blocks = (columns + block - 1) / block;
  const Data x = random_floats(rows * columns, 1, -3, 3), scale = random_floats(rows * blocks, 2, 0.01f, 0.02f);
  std::vector<T> zero(static_cast<size_t>(rows * blocks));
  for (size_t i = 0; i < zero.size(); i++) zero[i] = static_cast<T>(100 - 3 * i);
  ModelWriter q(21), d(21);
  q.input("x", t::f32, {rows, columns}).output("y").floats("s", {rows, blocks}, scale);
  q.initializer(raw_tensor("z", onnx_type, {rows, blocks}, zero));
  q.node("QuantizeLinear", {"x", "s", "z"}, {"y"}, {attr("block_size", block)});
  const TensorPtr y = result_of(q, {floats({rows, columns}, x)});
  EXPECT_EQ(y->dtype, type);
  d.input("x", onnx_type, {rows, columns}).output("y").floats("s", {rows, blocks}, scale);
  d.initializer(raw_tensor("z", onnx_type, {rows, blocks}, zero));
  d.node("DequantizeLinear", {"x", "s", "z"}, {"y"}, {attr("block_size", block)});
  const Numbers got = numbers(*y), real = numbers(*result_of(d, {y}));
  for (int64_t i = 0; i < rows; i++)
    for (int64_t j = 0; j < columns; j++) {
      const auto at = static_cast<size_t>(i * columns + j), of = static_cast<size_t>(i * blocks + j / block);
      const double lo = std::numeric_limits<T>::min(), hi = std::numeric_limits<T>::max();
      ASSERT_EQ(got[at], std::clamp<double>(std::nearbyint(x[at] / scale[of]) + zero[of], lo, hi));
      ASSERT_EQ(real[at], static_cast<float>(got[at] - zero[of]) * scale[of]);
    }
}

TEST(Quantized, BlocksAnd16Bits) {
  for (int64_t columns : {12, 10}) {  // a whole number of blocks, and not
    check_blocks<uint8_t>(DType::u8, t::u8, columns, 4);
    check_blocks<int8_t>(DType::i8, t::i8, columns, 4);
    check_blocks<uint16_t>(DType::u16, t::u16, columns, 4);
    check_blocks<int16_t>(DType::i16, t::i16, columns, 4);
  }
  ModelWriter m;
  m.input("x", t::f32, {2}).output("y").floats("s", {}, {0.5f}).initializer(raw_tensor<uint16_t>("z", t::u16, {}, {7}));
  m.node("QuantizeLinear", {"x", "s", "z"}, {"y"}, {}, microsoft);
  EXPECT_EQ(numbers(*result_of(m, {floats({2}, {1.5f, 40000})})), (Numbers{10, 65535}));
}

TEST(Quantized, ToFloatsOf8Bits) {
  const auto there_and_back = [](int32_t onnx_type, const Data& x) {
    ModelWriter m(21);
    m.input("x", t::f32, {static_cast<int64_t>(x.size())}).output("y").floats("s", {}, {0.5f});
    m.initializer(raw_tensor<uint8_t>("z", onnx_type, {}, {0}));
    m.node("QuantizeLinear", {"x", "s", "z"}, {"q"}).node("DequantizeLinear", {"q", "s", "z"}, {"y"});
    return numbers(*result_of(m, {floats({static_cast<int64_t>(x.size())}, x)}));
  };
  EXPECT_EQ(there_and_back(t::f8e4m3fn, {0.52f, 1e6f, -1e6f, 0, 9.3f}), (Numbers{0.5, 224, -224, 0, 9}));
  EXPECT_EQ(there_and_back(t::f8e5m2, {0.52f, 1e6f, -1e6f, 0, 9.3f}), (Numbers{0.5, 28672, -28672, 0, 10}));
  ModelWriter m(21);
  m.input("x", t::f32, {2}).output("y").floats("s", {}, {0.5f});
  m.initializer(raw_tensor<uint8_t>("z", t::f8e5m2, {}, {0x3c}));
  m.node("QuantizeLinear", {"x", "s", "z"}, {"y"});
  EXPECT_THROW(import_model(m), Error);
}

TEST(Quantized, WhatDoesNotFitIsRefused) {
  const auto refuses = [](const ModelWriter& m, const char* what) {
    try {
      import_model(m);
      ADD_FAILURE() << "expected: " << what;
    } catch (const Error& e) {
      EXPECT_NE(std::string(e.what()).find(what), std::string::npos) << e.what();
    }
  };
  ModelWriter list;
  list.input("x", t::u8, {4}).output("y").floats("s", {4}, {1, 2, 3, 4}).floats("ys", {}, {1});
  list.node("QLinearSigmoid", {"x", "s", "", "ys", ""}, {"y"}, {}, microsoft);
  refuses(list, "a scale or zero point of shape [4] is not supported");
  ModelWriter blocks(21);
  blocks.input("x", t::u8, {4, 6}).output("y").floats("s", {4, 4}, Data(16, 1));
  blocks.node("DequantizeLinear", {"x", "s"}, {"y"}, {attr("block_size", int64_t{3})});
  refuses(blocks, "[4,2] for blocks of 3");
  ModelWriter unknown;
  unknown.input("x", t::u8, {4}).output("y").node("QSomething", {"x"}, {"y"}, {}, microsoft);
  refuses(unknown, "operator com.microsoft.QSomething is not supported");
}

// The optimizer folds them where it does not multiply integers.
TEST(Quantized, QuantizedWeightsStayIntegers) {
  ModelWriter m;
  m.input("x", t::f32, {1, 2}).output("y");
  m.initializer(raw_tensor<int8_t>("w", t::i8, {2, 3}, {1, 2, 3, -4, -5, -128}));
  m.floats("scale", {3}, {0.5f, 1, 2}).initializer(raw_tensor<int8_t>("zero", t::i8, {3}, {0, 1, 2}));
  m.node("DequantizeLinear", {"w", "scale", "zero"}, {"d"}, {attr("axis", int64_t{1})});
  m.node("MatMul", {"x", "d"}, {"y"});
  EXPECT_EQ(import_model(m).nodes.size(), 2u);
  EXPECT_EQ(numbers(*result_of(m, {floats({1, 2}, {1, 10})})), (Numbers{0.5 - 20, 1 - 60, 2 - 2600}));
}

}  // namespace
}  // namespace pando
