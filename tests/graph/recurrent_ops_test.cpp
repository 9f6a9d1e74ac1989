// lstm against the textbook's formulas, hand values and its own rules.
#include <gtest/gtest.h>

#include <cmath>

#include "op_check.hpp"

namespace pando {
namespace {

using test::check_rules;
using test::error_of;
using test::Operand;
using test::single;
using test::values_of;

struct Sizes {
  int64_t batch, steps, features, hidden;
};

std::vector<Operand> operands(const Sizes& s, bool all = true) {
  std::vector<Operand> list{{DType::f32, {s.batch, s.steps, s.features}},
                            {DType::f32, {4, s.hidden, s.features}},
                            {DType::f32, {4, s.hidden, s.hidden}}};
  if (all)
    list.insert(list.end(), {{DType::f32, {2, 4, s.hidden}},
                             {DType::f32, {s.batch, s.hidden}},
                             {DType::f32, {s.batch, s.hidden}},
                             {DType::f32, {3, s.hidden}}});
  return list;
}

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

TEST(Lstm, MatchesTheFormulas) {
  for (const Sizes& s : {Sizes{1, 1, 1, 1}, Sizes{2, 3, 4, 5}, Sizes{3, 4, 1, 2}}) {
    Graph g = single(recurrent_op, operands(s), RecurrentAttrs{});
    auto inputs = test::random_inputs(g, 7);
    auto results = test::evaluate(g, inputs);
    std::vector<float> x = values_of<float>(*inputs[0]), w = values_of<float>(*inputs[1]),
                       r = values_of<float>(*inputs[2]), bias = values_of<float>(*inputs[3]),
                       p = values_of<float>(*inputs[6]);
    auto H = static_cast<size_t>(s.hidden), I = static_cast<size_t>(s.features);
    std::vector<float> first_h = values_of<float>(*inputs[4]), first_c = values_of<float>(*inputs[5]);
    for (size_t b = 0; b < static_cast<size_t>(s.batch); b++) {
      std::vector<double> h(first_h.begin() + static_cast<long>(b * H),
                            first_h.begin() + static_cast<long>((b + 1) * H));
      std::vector<double> c(first_c.begin() + static_cast<long>(b * H),
                            first_c.begin() + static_cast<long>((b + 1) * H));
      for (size_t t = 0; t < static_cast<size_t>(s.steps); t++) {
        std::vector<double> next_h(H), next_c(H);
        for (size_t u = 0; u < H; u++) {
          double z[4];
          for (size_t q = 0; q < 4; q++) {
            z[q] = double{bias[q * H + u]} + double{bias[4 * H + q * H + u]};
            size_t row = b * static_cast<size_t>(s.steps) + t;
            for (size_t k = 0; k < I; k++) z[q] += double{x[row * I + k]} * double{w[(q * H + u) * I + k]};
            for (size_t k = 0; k < H; k++) z[q] += h[k] * double{r[(q * H + u) * H + k]};
          }
          double in = sigmoid(z[0] + double{p[u]} * c[u]), forget = sigmoid(z[2] + double{p[2 * H + u]} * c[u]);
          next_c[u] = forget * c[u] + in * std::tanh(z[3]);
          next_h[u] = sigmoid(z[1] + double{p[H + u]} * next_c[u]) * std::tanh(next_c[u]);
          auto at = static_cast<int64_t>((b * static_cast<size_t>(s.steps) + t) * H + u);
          ASSERT_NEAR(test::element(*results[0], at), next_h[u], 1e-6);
          ASSERT_NEAR(test::element(*results[1], at), next_c[u], 1e-6);
        }
        h = next_h;
        c = next_c;
      }
    }
  }
}

TEST(Lstm, HandValue) {
  Graph g = single(recurrent_op, {{DType::f32, {1, 2, 1}}, {DType::f32, {4, 1, 1}}, {DType::f32, {4, 1, 1}}},
                   RecurrentAttrs{});
  auto floats = [](Shape shape, std::vector<float> v) { return make_constant(DType::f32, std::move(shape), v); };
  // Only the cell gate sees the input: the others are 1/2 throughout.
  auto out =
      test::evaluate(g, {floats({1, 2, 1}, {1, 1}), floats({4, 1, 1}, {0, 0, 0, 1}), floats({4, 1, 1}, {0, 0, 0, 0})});
  double c1 = 0.5 * std::tanh(1.0), c2 = 0.5 * c1 + c1;
  EXPECT_NEAR(test::element(*out[1], 0), c1, 1e-7);
  EXPECT_NEAR(test::element(*out[1], 1), c2, 1e-7);
  EXPECT_NEAR(test::element(*out[0], 1), 0.5 * std::tanh(c2), 1e-7);
}

TEST(Lstm, ReadsNoMoreThanItsRules) {
  for (uint32_t seed = 0; seed < 6; seed++) {
    check_rules(single(recurrent_op, operands({4, 3, 5, 6}, seed % 2 == 0), RecurrentAttrs{}), seed);
    check_rules(single(recurrent_op, operands({3, 1, 4, 7}), RecurrentAttrs{}),
                seed);  // one step: the units may be cut
  }
}

// What the rule says is carried, and only that, makes the later steps equal to a run of all.
TEST(Lstm, ChunksCarryTheirState) {
  const Sizes s{2, 5, 3, 4};
  Graph g = single(recurrent_op, operands(s), RecurrentAttrs{});
  NodeView node{g, g.nodes[0]};
  auto inputs = test::random_inputs(g, 3);
  auto all = test::evaluate(g, inputs);
  Box box = whole(recurrent_op.domain(node));
  EXPECT_EQ(recurrent_op.domain(node)[1].tag, Tag::sequential);
  box[1] = {2, 5};
  EXPECT_EQ(to_string(apply(recurrent_op.reads(node, 0), box, node.in_shape(0))), "[0:2,2:5,0:3]");
  EXPECT_EQ(to_string(apply(recurrent_op.carries(node, 0), box, node.out_shape())), "[0:2,1:4,0:4]");
  auto step = [&](const Tensor& t, Interval at) {
    auto part = make_tensor(DType::f32, {s.batch, at.size(), t.shape[2]});
    for (int64_t b = 0; b < s.batch; b++)
      std::memcpy(writable(*part) + b * at.size() * t.shape[2] * 4, t.data + (b * s.steps + at.lo) * t.shape[2] * 4,
                  static_cast<size_t>(at.size() * t.shape[2] * 4));
    return part;
  };
  Graph tail = single(recurrent_op, operands({s.batch, 3, s.features, s.hidden}), RecurrentAttrs{});
  auto h = step(*all[0], {1, 2}), c = step(*all[1], {1, 2});
  h->shape = c->shape = {s.batch, s.hidden};
  auto rest = test::evaluate(tail, {step(*inputs[0], {2, 5}), inputs[1], inputs[2], inputs[3], h, c, inputs[6]});
  test::expect_close(*rest[0], *step(*all[0], {2, 5}), 1e-6);
  test::expect_close(*rest[1], *step(*all[1], {2, 5}), 1e-6);
}

TEST(Lstm, Work) {
  Graph g = single(recurrent_op, operands({2, 3, 5, 7}), RecurrentAttrs{});
  NodeView node{g, g.nodes[0]};
  EXPECT_EQ(recurrent_op.operations(node, whole(recurrent_op.domain(node))), 2.0 * 4 * 2 * 3 * 7 * (5 + 7));
}

TEST(Lstm, RefusesOperandsThatDoNotFit) {
  auto wrong = operands({2, 3, 5, 7});
  wrong[1].shape = {4, 7, 6};
  EXPECT_NE(error_of(recurrent_op, wrong, RecurrentAttrs{}).find("[4,7,6]"), std::string::npos);
  auto ints = operands({2, 3, 5, 7}, false);
  for (Operand& o : ints) o.dtype = DType::i32;
  EXPECT_NE(error_of(recurrent_op, ints, RecurrentAttrs{}).find("recurrent of int32 is not supported"),
            std::string::npos);
}

// ---- rnn and gru ----

std::vector<Operand> few(const Sizes& s, CellKind cell) {
  const int64_t gates = gates_of(cell);
  return {{DType::f32, {s.batch, s.steps, s.features}},
          {DType::f32, {gates, s.hidden, s.features}},
          {DType::f32, {gates, s.hidden, s.hidden}},
          {DType::f32, {2, gates, s.hidden}},
          {DType::f32, {s.batch, s.hidden}}};
}

RecurrentAttrs gru(bool linear_before_reset) {
  RecurrentAttrs a;
  a.cell = CellKind::gru;
  a.linear_before_reset = linear_before_reset;
  return a;
}
RecurrentAttrs rnn() {
  RecurrentAttrs a;
  a.cell = CellKind::rnn;
  return a;
}

// One unit, one feature: every product is a number.
TEST(Recurrent, HandValues) {
  auto floats = [](Shape shape, std::vector<float> v) { return make_constant(DType::f32, std::move(shape), v); };
  const Sizes one{1, 1, 1, 1};
  const double x = 0.5, h = -0.75;
  for (bool linear : {false, true}) {
    auto out = test::evaluate(single(recurrent_op, few(one, CellKind::gru), gru(linear)),
                              {floats({1, 1, 1}, {0.5f}), floats({3, 1, 1}, {1, 2, 3}), floats({3, 1, 1}, {4, 5, 6}),
                               floats({2, 3, 1}, {0.25f, 0.5f, 0.75f, -0.5f, 1, 0.125f}), floats({1, 1}, {-0.75f})});
    const double z = sigmoid(x + 4 * h + 0.25 - 0.5), r = sigmoid(2 * x + 5 * h + 0.5 + 1);
    const double n = std::tanh(3 * x + 0.75 + (linear ? r * (6 * h + 0.125) : 6 * (r * h) + 0.125));
    EXPECT_NEAR(test::element(*out[0], 0), (1 - z) * n + z * h, 1e-6);
    ASSERT_EQ(out.size(), linear ? 1u : 2u);
  }
  auto out = test::evaluate(single(recurrent_op, few(one, CellKind::rnn), rnn()),
                            {floats({1, 1, 1}, {0.5f}), floats({1, 1, 1}, {3}), floats({1, 1, 1}, {2}),
                             floats({2, 1, 1}, {0.25f, 0.5f}), floats({1, 1}, {-0.75f})});
  EXPECT_NEAR(test::element(*out[0], 0), std::tanh(3 * x + 2 * h + 0.75), 1e-6);
}

TEST(Recurrent, ReadsNoMoreThanItsRules) {
  for (uint32_t seed = 0; seed < 4; seed++) {
    for (const Sizes& s : {Sizes{4, 3, 5, 6}, Sizes{3, 1, 4, 7}}) {
      check_rules(single(recurrent_op, few(s, CellKind::rnn), rnn()), seed);
      for (bool linear : {false, true}) check_rules(single(recurrent_op, few(s, CellKind::gru), gru(linear)), seed);
    }
  }
}

// Each activation and the clip before it, by a cell of which nothing else is left.
TEST(Recurrent, Activations) {
  struct Case {
    ActivationKind kind;
    double (*expected)(double);
  };
  const Case cases[] = {
      {ActivationKind::relu, [](double x) { return x < 0 ? 0 : x; }},
      {ActivationKind::tanh, [](double x) { return std::tanh(x); }},
      {ActivationKind::sigmoid, sigmoid},
      {ActivationKind::affine, [](double x) { return 0.5 * x + 0.25; }},
      {ActivationKind::leaky_relu, [](double x) { return x < 0 ? 0.5 * x : x; }},
      {ActivationKind::thresholded_relu, [](double x) { return x < 0.5 ? 0 : x; }},
      {ActivationKind::scaled_tanh, [](double x) { return 0.5 * std::tanh(0.25 * x); }},
      {ActivationKind::hard_sigmoid, [](double x) { return std::fmax(0, std::fmin(1, 0.5 * x + 0.25)); }},
      {ActivationKind::elu, [](double x) { return x < 0 ? 0.5 * (std::exp(x) - 1) : x; }},
      {ActivationKind::softsign, [](double x) { return x / (1 + std::fabs(x)); }},
      {ActivationKind::softplus, [](double x) { return std::log(1 + std::exp(x)); }}};
  const std::vector<float> x{-3, -1, -0.25f, 0, 0.25f, 1, 3};
  const auto batch = static_cast<int64_t>(x.size());
  const std::vector<float> weight{1}, zero{0};
  for (const Case& c : cases) {
    for (float clip : {0.0f, 2.0f}) {
      RecurrentAttrs attrs = rnn();
      attrs.activations = {{c.kind, 0.5f, 0.25f}};
      attrs.clip = clip;
      Graph g =
          single(recurrent_op, {{DType::f32, {batch, 1, 1}}, {DType::f32, {1, 1, 1}}, {DType::f32, {1, 1, 1}}}, attrs);
      auto out =
          test::evaluate(g, {make_constant(DType::f32, {batch, 1, 1}, x), make_constant(DType::f32, {1, 1, 1}, weight),
                             make_constant(DType::f32, {1, 1, 1}, zero)});
      for (size_t i = 0; i < x.size(); i++) {
        const double at = clip > 0 ? std::fmax(-2, std::fmin(2, x[i])) : double{x[i]};
        EXPECT_NEAR(test::element(*out[0], static_cast<int64_t>(i)), c.expected(at), 1e-6)
            << static_cast<int>(c.kind) << " of " << x[i];
      }
    }
  }
}

TEST(Recurrent, RefusesWrongNumbersOfActivations) {
  RecurrentAttrs attrs = rnn();
  attrs.activations.resize(2);
  EXPECT_NE(error_of(recurrent_op, few({2, 3, 5, 7}, CellKind::rnn), attrs).find("2 activations, expected 1"),
            std::string::npos);
}

}  // namespace
}  // namespace pando
