// conv, matmul, attention, reduce, softmax, norm, pool, lrn against plain formulas, hand values and their own rules.
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

std::vector<float> run1(const OpDef& op, const std::vector<TensorPtr>& inputs, Attributes attrs) {
  std::vector<Operand> operands;
  for (const TensorPtr& t : inputs) operands.push_back({t->dtype, t->shape});
  Graph g = single(op, operands, std::move(attrs));
  return values_of<float>(*test::evaluate(g, inputs)[0]);
}

TensorPtr floats(Shape shape, const std::vector<float>& v) { return make_constant(DType::f32, std::move(shape), v); }

struct Random {
  std::mt19937 engine;
  explicit Random(uint32_t seed) : engine(seed) {}
  int64_t operator()(int64_t lo, int64_t hi) {  // both included
    return lo + static_cast<int64_t>(engine() % static_cast<uint64_t>(hi - lo + 1));
  }
};

// ---- conv ----

struct ConvCase {
  ConvAttrs attrs;
  Shape x, w;
};

ConvCase random_conv(Random& random) {
  ConvCase c;
  int64_t group = random(0, 2) == 0 ? random(2, 3) : 1, ci = random(1, 3), spatial = random(1, 3);
  c.attrs.group = group;
  c.x = {random(1, 2)};
  c.w = {group * random(1, 4), ci};
  for (int i = 0; i < spatial; i++) {
    c.w.push_back(random(1, 3));
    c.attrs.strides.push_back(random(1, 3));
    c.attrs.dilations.push_back(random(1, 2));
    c.attrs.pads_begin.push_back(random(-1, 2));
    c.attrs.pads_end.push_back(random(-1, 2));
    c.x.push_back(random(8, 20));
  }
  c.x.push_back(ci * group);
  return c;
}

// y at (n, at, co), straight from the definition.
double conv_element(const ConvCase& c, const std::vector<float>& x, const std::vector<float>& w, int64_t n,
                    const std::vector<int64_t>& at, int64_t co) {
  int spatial = static_cast<int>(at.size());
  int64_t ci = c.w[1], taps = 1;
  for (int i = 0; i < spatial; i++) taps *= c.w[i + 2];
  double sum = 0;
  for (int64_t k = 0; k < ci; k++)
    for (int64_t t = 0; t < taps; t++) {
      int64_t rest = t, pixel = 0, below = 1;
      bool padding = false;
      for (int i = spatial - 1; i >= 0; i--) {
        int64_t p = at[i] * c.attrs.strides[i] + rest % c.w[i + 2] * c.attrs.dilations[i] - c.attrs.pads_begin[i];
        padding |= p < 0 || p >= c.x[i + 1];
        pixel += p * below;
        below *= c.x[i + 1];
        rest /= c.w[i + 2];
      }
      if (padding) continue;
      int64_t channel = co / (c.w[0] / c.attrs.group) * ci + k;
      sum += double{x[(n * below + pixel) * c.x.back() + channel]} * double{w[(co * ci + k) * taps + t]};
    }
  return sum;
}

TEST(Conv, MatchesTheDefinition) {
  Random random(1);
  for (int round = 0; round < 40; round++) {
    ConvCase c = random_conv(random);
    Graph g = single(conv_op, {{DType::f32, c.x}, {DType::f32, c.w}, {DType::f32, {c.w[0]}}, {DType::f32, {c.w[0]}}},
                     c.attrs);
    auto inputs = test::random_inputs(g, static_cast<uint32_t>(round));
    auto x = values_of<float>(*inputs[0]), w = values_of<float>(*inputs[1]), bias = values_of<float>(*inputs[2]),
         scale = values_of<float>(*inputs[3]);
    auto results = test::evaluate(g, inputs);
    auto y = values_of<float>(*results[0]);
    Shape out = results[0]->shape;
    int64_t index = 0;
    for (float actual : y) {
      std::vector<int64_t> at(out.size());
      int64_t rest = index++;
      for (size_t i = out.size(); i-- > 0; rest /= out[i]) at[i] = rest % out[i];
      size_t co = static_cast<size_t>(at.back());
      double expected = conv_element(c, x, w, at[0], {at.begin() + 1, at.end() - 1}, at.back()) * double{scale[co]} +
                        double{bias[co]};
      ASSERT_NEAR(actual, expected, 1e-5) << "round " << round << " element " << index - 1;
    }
  }
}

TEST(Conv, ReadsNoMoreThanItsRules) {
  Random random(2);
  for (uint32_t round = 0; round < 40; round++) {
    ConvCase c = random_conv(random);
    check_rules(single(conv_op, {{DType::f32, c.x}, {DType::f32, c.w}, {DType::f32, {c.w[0]}}}, c.attrs), round);
  }
}

TEST(Conv, DepthwiseReadsExactlyItsChannels) {
  ConvAttrs attrs{{1, 1}, {1, 1}, {1, 1}, {1, 1}, 4};
  Graph g = single(conv_op, {{DType::f32, {1, 5, 5, 4}}, {DType::f32, {8, 1, 3, 3}}}, attrs);
  NodeView node{g, g.nodes[0]};
  Box box = whole(conv_op.domain(node));
  box[1] = {2, 4};
  box[3] = {2, 5};
  EXPECT_EQ(to_string(apply(conv_op.reads(node, 0), box, node.in_shape(0))), "[0:1,1:5,0:5,1:3]");
  EXPECT_EQ(conv_op.operations(node, box), 2.0 * 2 * 5 * 3 * 9);
}

TEST(Conv, RunsItsEpilogue) {
  ConvAttrs attrs{{1}, {1}, {0}, {0}, 1};
  attrs.epilogue.program = {{{MapOp::add, 0, 1}, {MapOp::relu, 2}}, 2};
  Graph g = single(conv_op,
                   {{DType::f32, {1, 3, 1}},
                    {DType::f32, {2, 1, 1}},
                    test::absent_operand,
                    test::absent_operand,
                    {DType::f32, {3, 2}}},
                   attrs);
  auto y = test::evaluate(
      g, {floats({1, 3, 1}, {1, 2, 3}), floats({2, 1, 1}, {1, -1}), floats({3, 2}, {0, 2, 0.5f, 1, -4, 9})});
  EXPECT_EQ(values_of<float>(*y[0]), (std::vector<float>{1, 1, 2.5f, 0, 0, 6}));
  check_rules(g, 3);
}

TEST(Conv, TakesEmptyExtents) {
  ConvAttrs attrs{{1}, {1}, {1}, {1}, 1};
  Graph g = single(conv_op, {{DType::f32, {0, 3, 2}}, {DType::f32, {4, 2, 3}}}, attrs);
  EXPECT_EQ(g.shape(g.outputs[0]), (Shape{0, 3, 4}));
  test::evaluate(g, test::random_inputs(g));
  g = single(conv_op, {{DType::f32, {1, 3, 0}}, {DType::f32, {4, 0, 3}}}, attrs);
  EXPECT_EQ(values_of<float>(*test::evaluate(g, test::random_inputs(g))[0]), std::vector<float>(12, 0.f));
}

TEST(Conv, NamesWhatIsWrong) {
  auto message = [](Shape x, Shape w, ConvAttrs a) {
    return error_of(conv_op, {{DType::f32, std::move(x)}, {DType::f32, std::move(w)}}, std::move(a));
  };
  ConvAttrs good{{1, 1}, {1, 1}, {0, 0}, {0, 0}, 1};
  EXPECT_EQ(message({1, 4, 4, 3}, {8, 3, 3, 3}, good), "");
  EXPECT_NE(message({1, 4, 4, 3}, {8, 4, 3, 3}, good).find("3 channels"), std::string::npos);
  EXPECT_NE(message({1, 4, 4, 3}, {8, 3, 5, 5}, good).find("covers 5 is larger than the padded input, 4"),
            std::string::npos);
  EXPECT_NE(message({1, 4, 4, 3}, {8, 3, 3}, good).find("expected rank 4"), std::string::npos);
  EXPECT_NE(message({4, 3}, {8, 3}, good).find("expected rank 3 to 7"), std::string::npos);
  ConvAttrs bad = good;
  bad.strides = {0, 1};
  EXPECT_NE(message({1, 4, 4, 3}, {8, 3, 3, 3}, bad).find("strides are [0,1]"), std::string::npos);
  bad = good;
  bad.group = 0;
  EXPECT_NE(message({1, 4, 4, 3}, {8, 3, 3, 3}, bad).find("group is 0"), std::string::npos);
  bad = good;
  bad.group = 3;
  EXPECT_NE(message({1, 4, 4, 3}, {8, 1, 3, 3}, bad).find("8 output channels"), std::string::npos);
  bad = good;
  bad.dilations = {INT64_MAX, 1};
  EXPECT_NE(message({1, 4, 4, 3}, {8, 3, 3, 3}, bad).find("dilations"), std::string::npos);
  bad = good;
  bad.pads_begin = bad.pads_end = {INT32_MAX, INT32_MAX};
  EXPECT_NE(message({1, 4, 4, 3}, {8, 3, 3, 3}, bad).find("too many elements"), std::string::npos);
  bad.pads_begin = {1};
  EXPECT_NE(message({1, 4, 4, 3}, {8, 3, 3, 3}, bad).find("expected 2 entries"), std::string::npos);
}

// ---- matmul ----

TEST(MatMul, MatchesTheDefinition) {
  Random random(3);
  for (uint32_t round = 0; round < 40; round++) {
    MatMulAttrs attrs{random(0, 1) == 1, random(0, 1) == 1, random(0, 1) ? 1.0f : 0.5f, {}};
    int64_t m = random(1, 9), k = random(1, 20), n = random(1, 40), batch = random(1, 3);
    Shape a = attrs.trans_a ? Shape{k, m} : Shape{m, k}, b = attrs.trans_b ? Shape{n, k} : Shape{k, n};
    if (random(0, 1)) a.insert(a.begin(), batch);
    if (random(0, 1)) b.insert(b.begin(), {random(1, 2), random(0, 1) ? batch : 1});
    Graph g = single(matmul_op, {{DType::f32, a}, {DType::f32, b}, {DType::f32, {n}}}, attrs);
    auto inputs = test::random_inputs(g, round);
    auto av = values_of<float>(*inputs[0]), bv = values_of<float>(*inputs[1]), bias = values_of<float>(*inputs[2]);
    auto result = test::evaluate(g, inputs)[0];
    auto y = values_of<float>(*result);
    int64_t inner = result->shape.size() > 2 ? result->shape[result->shape.size() - 3] : 1;
    for (int64_t i = 0; i < static_cast<int64_t>(y.size()); i++) {
      int64_t col = i % n, row = i / n % m, at = i / (n * m);
      int64_t ba = a.size() == 3 && a[0] > 1 ? at % inner : 0;
      int64_t bb = b.size() == 4 ? (b[0] > 1 ? at / inner : 0) * b[1] + (b[1] > 1 ? at % inner : 0) : 0;
      double sum = 0;
      for (int64_t j = 0; j < k; j++)
        sum += double{av[ba * m * k + (attrs.trans_a ? j * m + row : row * k + j)]} *
               double{bv[bb * k * n + (attrs.trans_b ? col * k + j : j * n + col)]};
      ASSERT_NEAR(y[i], sum * double{attrs.alpha} + double{bias[col]}, 1e-5) << "round " << round;
    }
    check_rules(g, round);
  }
}

TEST(MatMul, RunsItsEpilogueByBox) {
  MatMulAttrs attrs;
  attrs.epilogue.program = {{{MapOp::mul, 0, 1}, {MapOp::add, 3, 2}, {MapOp::gelu_erf, 4}}, 3};
  Graph g = single(matmul_op,
                   {{DType::f32, {2, 7, 5}},
                    {DType::f32, {5, 19}},
                    test::absent_operand,
                    {DType::f32, {19}},
                    {DType::f32, {2, 7, 1}}},
                   attrs);
  check_rules(g, 5, 20);
}

TEST(MatMul, WrapsIntegersAndTakesEveryType) {
  Graph g = single(matmul_op, {{DType::i32, {1, 2}}, {DType::i32, {2, 1}}}, MatMulAttrs{});
  auto a = make_constant<int32_t>(DType::i32, {1, 2}, {INT32_MAX, 3}),
       b = make_constant<int32_t>(DType::i32, {2, 1}, {2, 5});
  EXPECT_EQ(values_of<int32_t>(*test::evaluate(g, {a, b})[0]), (std::vector<int32_t>{13}));
  for (DType t : {DType::f64, DType::f16, DType::bf16, DType::u32, DType::i64, DType::u64})
    check_rules(single(matmul_op, {{t, {3, 4}}, {t, {4, 5}}, {t, {5}}}, MatMulAttrs{}), 7);
  EXPECT_NE(error_of(matmul_op, {{DType::u16, {1, 1}}, {DType::u16, {1, 1}}}, MatMulAttrs{}).find("not supported"),
            std::string::npos);
  EXPECT_NE(error_of(matmul_op, {{DType::u8, {1, 1}}, {DType::u8, {1, 1}}}, MatMulAttrs{}).find("expected int8"),
            std::string::npos);
}

TEST(MatMul, NamesWhatIsWrong) {
  auto message = [](Shape a, Shape b) {
    return error_of(matmul_op, {{DType::f32, std::move(a)}, {DType::f32, std::move(b)}}, MatMulAttrs{});
  };
  EXPECT_NE(message({2, 3}, {4, 5}).find("differ: 3 and 4"), std::string::npos);
  EXPECT_NE(message({3}, {3, 5}).find("rank 2 to 7"), std::string::npos);
  EXPECT_NE(message({2, 2, 3}, {3, 3, 5}).find("[2] and [3] do not broadcast"), std::string::npos);
  EXPECT_EQ(message({0, 3}, {3, 5}), "");
  EXPECT_EQ(run1(matmul_op, {floats({1, 0}, {}), floats({0, 2}, {}), floats({2}, {3, 4})}, MatMulAttrs{}),
            (std::vector<float>{3, 4}));
}

// ---- attention ----

TEST(Attention, MatchesTheDefinition) {
  Random random(4);
  for (uint32_t round = 0; round < 30; round++) {
    int64_t b = random(1, 2), s = random(1, 6), t = random(1, 6), h = random(1, 3), d = random(1, 5),
            e = random(1, 200);
    AttentionAttrs attrs{0.5f, random(0, 1) == 1};
    bool per_head = random(0, 1) == 1;
    Shape mask = per_head ? Shape{h, s, t} : Shape{b, 1, s, t};
    Graph g =
        single(attention_op,
               {{DType::f32, {b, s, h, d}}, {DType::f32, {b, t, h, d}}, {DType::f32, {b, t, h, e}}, {DType::f32, mask}},
               attrs);
    auto in = test::random_inputs(g, round);
    auto q = values_of<float>(*in[0]), k = values_of<float>(*in[1]), v = values_of<float>(*in[2]),
         m = values_of<float>(*in[3]);
    auto y = values_of<float>(*test::evaluate(g, in)[0]);
    for (int64_t i = 0; i < static_cast<int64_t>(y.size()); i++) {
      int64_t col = i % e, head = i / e % h, query = i / (e * h) % s, batch = i / (e * h * s);
      double sum = 0, total = 0;
      for (int64_t key = 0; key < t; key++) {
        if (attrs.causal && key > query + t - s) continue;
        double score = 0;
        for (int64_t c = 0; c < d; c++)
          score +=
              double{q[((batch * s + query) * h + head) * d + c]} * double{k[((batch * t + key) * h + head) * d + c]};
        score = score * 0.5 + double{m[((per_head ? head : batch) * s + query) * t + key]};
        total += std::exp(score);
        sum += std::exp(score) * double{v[((batch * t + key) * h + head) * e + col]};
      }
      ASSERT_NEAR(y[i], total > 0 ? sum / total : 0, 1e-5) << "round " << round;
    }
    check_rules(g, round);
  }
}

TEST(Attention, CausalBoxesReadThePastOnly) {
  Graph g = single(attention_op, {{DType::f32, {1, 4, 1, 2}}, {DType::f32, {1, 6, 1, 2}}, {DType::f32, {1, 6, 1, 2}}},
                   AttentionAttrs{1, true});
  NodeView node{g, g.nodes[0]};
  Box box = whole(attention_op.domain(node));
  box[1] = {1, 2};
  EXPECT_EQ(to_string(apply(attention_op.reads(node, 1), box, node.in_shape(1))), "[0:1,0:4,0:1,0:2]");
  EXPECT_EQ(attention_op.operations(node, box), 2.0 * 4 * (2 + 2));
}

// ---- reduce, softmax, norm, lrn ----

TEST(Reduce, HandValues) {
  TensorPtr x = floats({2, 3}, {1, -2, 4, 0.5f, 8, -1});
  auto reduce = [&](ReduceKind kind, std::vector<int64_t> axes) {
    return run1(reduce_op, {x}, ReduceAttrs{kind, std::move(axes)});
  };
  EXPECT_EQ(reduce(ReduceKind::sum, {1}), (std::vector<float>{3, 7.5f}));
  EXPECT_EQ(reduce(ReduceKind::mean, {0, 1}), (std::vector<float>{1.75f}));
  EXPECT_EQ(reduce(ReduceKind::max, {0}), (std::vector<float>{1, 8, 4}));
  EXPECT_EQ(reduce(ReduceKind::min, {0}), (std::vector<float>{0.5f, -2, -1}));
  EXPECT_EQ(reduce(ReduceKind::prod, {1}), (std::vector<float>{-8, -4}));
  EXPECT_EQ(reduce(ReduceKind::sum, {}), values_of<float>(*x));
}

TEST(Reduce, OfNothing) {
  auto reduce = [&](ReduceKind kind) { return run1(reduce_op, {floats({0, 1}, {})}, ReduceAttrs{kind, {0}})[0]; };
  EXPECT_EQ(reduce(ReduceKind::sum), 0);
  EXPECT_EQ(reduce(ReduceKind::prod), 1);
  EXPECT_EQ(reduce(ReduceKind::max), -test::infinity);
  EXPECT_EQ(reduce(ReduceKind::min), test::infinity);
  EXPECT_TRUE(std::isnan(reduce(ReduceKind::mean)));
  Graph g = single(reduce_op, {{DType::i32, {0}}}, ReduceAttrs{ReduceKind::max, {0}});
  EXPECT_EQ(values_of<int32_t>(*test::evaluate(g, test::random_inputs(g))[0])[0], INT32_MIN);
}

TEST(Reduce, EveryTypeByBox) {
  for (int t = 0; t <= static_cast<int>(DType::u64); t++)
    for (auto kind : {ReduceKind::sum, ReduceKind::mean, ReduceKind::max, ReduceKind::min, ReduceKind::prod})
      for (auto axes : {std::vector<int64_t>{1}, {0, 2}, {2}})
        check_rules(single(reduce_op, {{static_cast<DType>(t), {3, 4, 5}}}, ReduceAttrs{kind, axes}), 11, 3);
  Graph g = single(reduce_op, {{DType::i8, {2}}}, ReduceAttrs{ReduceKind::sum, {0}});
  EXPECT_EQ(values_of<int8_t>(*test::evaluate(g, {make_constant<int8_t>(DType::i8, {2}, {100, 100})})[0])[0], -56);
  float nan = std::nanf("");
  EXPECT_TRUE(std::isnan(run1(reduce_op, {floats({3}, {1, nan, 2})}, ReduceAttrs{ReduceKind::max, {0}})[0]));
  EXPECT_NE(error_of(reduce_op, {{DType::f32, {2, 2}}}, ReduceAttrs{ReduceKind::sum, {2}}).find("axis 2"),
            std::string::npos);
  EXPECT_NE(error_of(reduce_op, {{DType::f32, {2, 2}}}, ReduceAttrs{ReduceKind::sum, {1, 1}}).find("[1,1]"),
            std::string::npos);
}

TEST(Softmax, SumsToOneAlongItsAxis) {
  for (DType t : {DType::f32, DType::f64, DType::f16, DType::bf16})
    for (int64_t axis = 0; axis < 3; axis++)
      for (bool log : {false, true}) check_rules(single(softmax_op, {{t, {3, 4, 5}}}, SoftmaxAttrs{axis, log}), 13, 3);
  auto y = run1(softmax_op, {floats({2, 2}, {0, 1000, std::log(3.f), -test::infinity})}, SoftmaxAttrs{0});
  EXPECT_NEAR(y[0], 0.25, 1e-6);
  EXPECT_NEAR(y[2], 0.75, 1e-6);
  EXPECT_EQ(y[1], 1);
  EXPECT_EQ(y[3], 0);
  y = run1(softmax_op, {floats({2}, {1, 1})}, SoftmaxAttrs{0, true});
  EXPECT_NEAR(y[1], -std::log(2.0), 1e-6);
  EXPECT_NE(error_of(softmax_op, {{DType::f32, {2}}}, SoftmaxAttrs{1}).find("axis 1"), std::string::npos);
}

TEST(Norm, HandValuesAndRules) {
  NormAttrs attrs{1, 0, false};
  auto y = run1(norm_op, {floats({1, 2}, {1, 5}), floats({2}, {2, 3}), floats({2}, {10, 20})}, attrs);
  EXPECT_EQ(y, (std::vector<float>{8, 23}));
  attrs.rms = true;
  y = run1(norm_op, {floats({1, 2}, {3, 4})}, attrs);
  EXPECT_NEAR(y[0], 3 / std::sqrt(12.5), 1e-6);
  for (DType t : {DType::f32, DType::f64, DType::f16})
    for (int64_t axis = 0; axis < 3; axis++) {
      Shape x{3, 4, 5}, tail(x.begin() + axis, x.end());
      check_rules(single(norm_op, {{t, x}, {t, tail}, {t, tail}}, NormAttrs{axis}), 17, 3);
      check_rules(single(norm_op, {{t, x}, test::absent_operand, {t, tail}}, NormAttrs{axis, 1e-5f, true}), 17, 3);
    }
  EXPECT_NE(error_of(norm_op, {{DType::f32, {2, 3}}, {DType::f32, {2}}}, NormAttrs{1}).find("shape [2], expected [3]"),
            std::string::npos);
}

TEST(Lrn, HandValuesAndRules) {
  auto y = run1(lrn_op, {floats({1, 4}, {1, 2, 3, 4})}, LrnAttrs{4, 4, 1, 1});  // one before, two after
  EXPECT_EQ(y, (std::vector<float>{1 / 15.f, 2 / 31.f, 3 / 30.f, 4 / 26.f}));
  for (DType t : {DType::f32, DType::f64, DType::f16})
    check_rules(single(lrn_op, {{t, {2, 3, 4, 7}}}, LrnAttrs{3, 0.1f, 0.75f, 1}), 19);
}

// ---- pool ----

TEST(Pool, HandValues) {
  TensorPtr x = floats({1, 4, 1}, {1, 5, -2, 3});
  PoolAttrs attrs{PoolKind::max, {3}, {2}, {1}, {1}, {1}, {2}, false, 2};
  EXPECT_EQ(run1(pool_op, {x}, attrs), (std::vector<float>{5, 5}));
  attrs.kind = PoolKind::average;
  EXPECT_EQ(run1(pool_op, {x}, attrs), (std::vector<float>{3, 2}));
  attrs.count_include_pad = true;
  EXPECT_EQ(run1(pool_op, {x}, attrs), (std::vector<float>{2, 2}));
  attrs.pads_begin = {0};
  attrs.pads_end = {1};
  EXPECT_EQ(run1(pool_op, {x}, attrs), (std::vector<float>{4 / 3.f, 1 / 3.f}));
  attrs.pads_end = {0};  // ceil mode: what hangs over does not count as padding
  EXPECT_EQ(run1(pool_op, {x}, attrs), (std::vector<float>{4 / 3.f, 0.5f}));
  attrs.kind = PoolKind::lp;
  EXPECT_NEAR(run1(pool_op, {x}, attrs)[1], std::sqrt(13.0), 1e-6);
  attrs.out_spatial = {3};
  EXPECT_NE(error_of(pool_op, {{DType::f32, {1, 4, 1}}}, attrs).find("output extent 3, expected 0 to 2"),
            std::string::npos);
}

TEST(Pool, ReadsNoMoreThanItsRules) {
  Random random(6);
  for (uint32_t round = 0; round < 60; round++) {
    PoolAttrs a;
    a.kind = static_cast<PoolKind>(random(0, 2));
    a.count_include_pad = random(0, 1) == 1;
    Shape x{random(1, 2)};
    for (int64_t i = 0, n = random(1, 3); i < n; i++) {
      int64_t k = random(1, 3), s = random(1, 3), d = random(1, 2), b = random(0, k - 1), e = random(0, k - 1);
      x.push_back(random(6, 9));
      a.kernel.push_back(k);
      a.strides.push_back(s);
      a.dilations.push_back(d);
      a.pads_begin.push_back(b);
      a.pads_end.push_back(e);
      a.out_spatial.push_back((x.back() + b + e - (k - 1) * d - 1 + random(0, s - 1)) / s + 1);
    }
    x.push_back(3);
    DType type = a.kind == PoolKind::max && random(0, 1) ? DType::u8 : DType::f32;
    check_rules(single(pool_op, {{type, x}}, a), round);
  }
}

}  // namespace
}  // namespace pando
