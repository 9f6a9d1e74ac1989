// Single rewrites: what must happen, what must not, and that values stay.
#include "optimize/fold_constants.hpp"
#include "optimize/merge_equal.hpp"
#include "optimize/models.hpp"
#include "optimize/move_transposes.hpp"

namespace pando::test {
namespace {

using Counts = std::map<std::string, int>;

// The instructions of the only node, a map.
std::vector<MapOp> instructions(const Graph& g) {
  std::vector<MapOp> ops;
  EXPECT_EQ(g.nodes.size(), 1u);
  if (g.nodes.size() == 1 && g.nodes[0].op == &map_op)
    for (const MapInstr& in : g.nodes[0].as<MapAttrs>().program.code) ops.push_back(in.op);
  return ops;
}

TEST(FoldConstants, WholeSubgraphVanishes) {
  Builder b;
  ValueId x = b.input({2, 3});
  ValueId c = b.add(b.weights({2, 3}), b.relu(b.weights({3})));
  Graph g = check_optimize(b.done({b.add(x, b.transpose(b.transpose(c, {1, 0}), {1, 0}))}));
  EXPECT_EQ(count_ops(g), (Counts{{"map", 1}}));
}

TEST(FoldConstants, ReshapedConstantSharesItsBytes) {
  Builder b;
  ValueId x = b.input({6}), w = b.weights({2, 3});
  const std::byte* bytes = b.g.values[w].constant->data;
  CompileContext context;
  Graph g = fold_constants(b.done({b.add(x, b.reshape(w, {6}))}), true, context);
  ASSERT_EQ(g.nodes.size(), 1u);
  EXPECT_EQ(g.values[g.nodes[0].inputs[1]].constant->data, bytes);
}

TEST(FoldConstants, UnalignedBytesAreRead) {
  auto bytes = std::make_shared<std::vector<std::byte>>(33);
  float values[8];
  for (int i = 0; i < 8; i++) values[i] = static_cast<float>(i);
  std::memcpy(bytes->data() + 1, values, 32);
  auto t = std::make_shared<Tensor>();
  *t = {DType::f32, {8}, bytes->data() + 1, bytes};
  Builder b;
  ValueId x = b.input({8}), c = b.g.add_constant("", t);
  CompileContext context;
  Graph g = fold_constants(b.done({b.add(x, b.relu(c))}), true, context);
  ASSERT_EQ(g.nodes.size(), 1u);
  EXPECT_EQ(element(*g.values[g.nodes[0].inputs[1]].constant, 7), 7);
}

TEST(Outputs, KeepNamesWhenTheirNodesVanish) {
  Builder b;
  ValueId x = b.input({2, 3});
  ValueId y = b.relu(x);
  ValueId same = b.reshape(x, {2, 3}), twice = b.reshape(y, {2, 3}), known = b.relu(b.weights({4}));
  Graph before = b.done({same, twice, known, y});
  Graph g = check_optimize(before);
  for (size_t i = 0; i < g.outputs.size(); i++) EXPECT_EQ(g.values[g.outputs[i]].name, "out" + std::to_string(i));
  EXPECT_EQ(g.values[g.inputs[0]].name, "in0");
  EXPECT_EQ(count_ops(g), (Counts{{"map", 4}}));  // one of them does something
}

TEST(Movement, IdentitiesVanish) {
  Builder b;
  ValueId x = b.input({2, 3, 4});
  ValueId y = b.transpose(b.transpose(x, {2, 0, 1}), {1, 2, 0});
  y = b.reshape(b.reshape(y, {24}), {2, 3, 4});
  y = b.slice(y, 1, 0, 3);
  y = b.g.add(expand_op, "", {y}, ExpandAttrs{{2, 3, 4}});
  y = b.g.add(pad_op, "", {y}, PadAttrs{{0, 0, 0}, {0, 0, 0}, PadMode::constant, 0});
  y = b.map(MapOp::sub, {b.add(b.mul(y, b.scalar(1)), b.scalar(-0.0f)), b.scalar(0)});
  y = b.map(MapOp::copy, {y});
  Graph g = check_optimize(b.done({b.relu(y)}));
  EXPECT_EQ(instructions(g), (std::vector{MapOp::relu}));
}

TEST(Movement, EveryElementOfAnIdentityIsLookedAt) {
  for (float last : {1.0f, 2.0f}) {
    Builder b;
    ValueId x = b.input({2, 3});
    ValueId factors = b.g.add_constant("", make_constant<float>(DType::f32, {3}, {1, 1, last}));
    Graph g = check_optimize(b.done({b.g.add(softmax_op, "", {b.mul(x, factors)}, SoftmaxAttrs{1})}));
    EXPECT_EQ(g.nodes.size(), last == 1 ? 1u : 2u);
  }
}

TEST(Movement, AddingZeroIsNoIdentity) {  // of -0
  Builder b;
  ValueId x = b.add(b.input({3}), b.scalar(0));
  Graph g = check_optimize(b.done({b.map(MapOp::sub, {x, b.scalar(-0.0f)})}));
  EXPECT_EQ(instructions(g), (std::vector{MapOp::add_imm, MapOp::add_imm}));
}

TEST(Movement, SlicesConcatsReshapesJoin) {
  Builder b;
  ValueId x = b.input({4, 12});
  ValueId y = b.slice(b.slice(x, 1, 1, 5, 2), 1, 4, 2, -2);
  ValueId z = b.concat({b.concat({y, x}, 1), y}, 1);
  Graph g = check_optimize(b.done({z}));
  EXPECT_EQ(count_ops(g), (Counts{{"slice", 1}, {"concat", 1}}));
}

TEST(Movement, StepsOfOneElementDoNotMultiply) {
  Builder b;
  ValueId x = b.input({4, 12});
  int64_t far = int64_t{1} << 62;
  ValueId one = b.slice(b.slice(x, 1, 3, 1, far), 1, 0, 1, -far);
  ValueId none = b.slice(b.slice(x, 1, 1, 5, 2), 1, far, 0, far);
  Graph g = check_optimize(b.done({one, none}));
  EXPECT_LE(count_ops(g)["slice"], 2);
}

TEST(Movement, GatherOfOneIndexIsASlice) {
  Builder b;
  ValueId x = b.input({3, 5, 2});
  ValueId i = b.g.add_constant("", make_constant<int64_t>(DType::i64, {}, {-2}));
  Graph g = check_optimize(b.done({b.relu(b.g.add(gather_op, "", {x, i}, GatherAttrs{1}))}));
  EXPECT_EQ(count_ops(g)["gather"], 0);
  EXPECT_EQ(count_ops(g)["slice"], 1);
}

// Sums of 64 MiB in turn: the memory of two, and arithmetic only as far as the budget reaches.
TEST(FoldConstants, KeepsToTheBudget) {
  Builder b;
  ValueId x = b.input({1});
  ValueId c = b.add(b.weights({4096, 1}), b.weights({1, 4096}));
  for (int i = 0; i < 30; i++) c = b.map(i % 2 ? MapOp::abs : MapOp::neg, {c});
  ValueId m = b.g.add(reduce_op, "max", {c}, ReduceAttrs{ReduceKind::max, {0, 1}});
  Graph before = b.done({b.add(x, b.reshape(m, {1}))});
  CompileContext context;
  const int64_t bytes = context.bytes_left();
  Graph g = fold_constants(std::move(before), true, context);
  EXPECT_GE(context.bytes_left(), bytes - (int64_t{64} << 20));  // one is left, whose reader is not folded
  EXPECT_GT(count_ops(g)["map"], 10);
  EXPECT_LT(count_ops(g)["map"], 31);
}

TEST(MergeEqual, OneOfTwo) {
  Builder b;
  ValueId x = b.input({4});
  ValueId y = b.add(b.map(MapOp::mul, {x, b.scalar(3)}), b.map(MapOp::mul, {x, b.scalar(3)}));
  CompileContext context;
  Graph g = merge_equal(b.done({b.add(y, b.mul(x, b.scalar(4)))}), context);
  EXPECT_EQ(g.nodes.size(), 4u);
}

TEST(Maps, ScalarsBecomeParameters) {
  Builder b;
  ValueId x = b.input({3, 5});
  ValueId y = b.map(MapOp::sub, {b.scalar(2), b.mul(x, b.scalar(3))});
  y = b.map(MapOp::div, {y, b.scalar(4)});
  y = b.map(MapOp::max, {b.scalar(-1), b.map(MapOp::min, {y, b.scalar(1)})});
  Graph g = check_optimize(b.done({y}));
  EXPECT_EQ(instructions(g), (std::vector{MapOp::mul_imm, MapOp::affine, MapOp::mul_imm, MapOp::clip}));
  EXPECT_EQ(g.nodes[0].inputs.size(), 1u);
}

TEST(Maps, DivisionByOtherThanPowersOfTwoStaysExact) {
  Builder b;
  ValueId x = b.input({100});
  Graph g = check_optimize(b.done({b.map(MapOp::div, {x, b.scalar(3)})}), 0);
  EXPECT_EQ(instructions(g), (std::vector{MapOp::div}));
}

TEST(Maps, PowersAreProducts) {
  Builder b;
  ValueId x = b.input({7});
  ValueId y = b.map(MapOp::pow, {x, b.scalar(2)}), z = b.map(MapOp::pow, {x, b.scalar(3)});
  Graph g = check_optimize(b.done({b.add(y, z)}));
  for (const Node& node : g.nodes)
    for (const MapInstr& in : node.as<MapAttrs>().program.code) EXPECT_NE(in.op, MapOp::pow);
  // A square root would give -0 for -0, and NaN for -infinity.
  Builder c;
  g = check_optimize(c.done({c.map(MapOp::pow, {c.relu(c.input({7})), c.scalar(0.5f)})}));
  EXPECT_EQ(instructions(g), (std::vector{MapOp::relu, MapOp::pow}));
}

TEST(Maps, ScalarThatBroadcastsUpStaysAnOperand) {
  Builder b;
  ValueId x = b.input({4});
  ValueId c = b.g.add_constant("", make_constant<float>(DType::f32, {1, 1}, {2}));
  Graph g = check_optimize(b.done({b.add(x, c)}));
  EXPECT_EQ(g.shape(g.outputs[0]), (Shape{1, 4}));
}

TEST(Maps, IntegersAreLeftAlone) {
  Builder b;
  ValueId x = b.input({4}, DType::i64);
  ValueId two = b.g.add_constant("", make_constant<int64_t>(DType::i64, {}, {2}));
  ValueId y = b.map(MapOp::mul, {x, two}, 0, 0, DType::i64);
  y = b.map(MapOp::add, {y, two}, 0, 0, DType::i64);
  Graph g = check_optimize(b.done({b.map(MapOp::cast, {y}, 0, 0, DType::f32)}));
  EXPECT_EQ(g.nodes.size(), 3u);
}

TEST(Maps, BroadcastProducersAreNotInlined) {
  Builder b;
  ValueId x = b.input({1, 8}), y = b.input({16, 8});
  Graph g = check_optimize(b.done({b.add(b.map(MapOp::exp, {x}), y)}));
  EXPECT_EQ(g.nodes.size(), 2u);
}

TEST(Maps, LongChainsAreCutAtTheLimit) {
  Builder b;
  ValueId x = b.input({8}), y = x;
  for (int i = 0; i < 60; i++) y = b.map(i % 2 ? MapOp::tanh : MapOp::neg, {y});
  Graph g = check_optimize(b.done({y}));
  EXPECT_EQ(g.nodes.size(), 3u);
  Builder c;
  ValueId sum = c.input({8});
  for (int i = 0; i < 30; i++) sum = c.add(c.relu(sum), c.input({8}));
  g = check_optimize(c.done({sum}));
  for (const Node& node : g.nodes) EXPECT_LE(node.inputs.size(), static_cast<size_t>(max_map_inputs));
}

TEST(Activations, GeluInEveryOrder) {
  for (int form = 0; form < 6; form++) {
    SCOPED_TRACE(form);
    Builder b;
    ValueId x = b.input({3, 7}), y;
    ValueId e = b.add(b.scalar(1), b.map(MapOp::erf, {b.mul(x, b.scalar(0.70710678f))})), half = b.scalar(0.5f);
    switch (form) {
      case 0: y = b.mul(b.mul(x, half), e); break;
      case 1: y = b.mul(half, b.mul(x, e)); break;
      case 2: y = b.mul(x, b.mul(e, half)); break;
      case 3: y = b.map(MapOp::div, {b.mul(e, x), b.scalar(2)}); break;
      case 4: y = b.gelu_tanh(x); break;
      default: {
        ValueId u = b.mul(x, b.add(b.mul(b.mul(x, x), b.scalar(0.044715f)), b.scalar(1)));
        u = b.map(MapOp::tanh, {b.mul(u, b.scalar(0.79788456f))});
        y = b.mul(x, b.mul(half, b.add(u, b.scalar(1))));
      }
    }
    Graph g = check_optimize(b.done({y}));
    EXPECT_EQ(instructions(g), (std::vector{form < 4 ? MapOp::gelu_erf : MapOp::gelu_tanh}));
  }
}

TEST(Activations, OtherFactorsAreNotGelu) {
  Builder b;
  ValueId x = b.input({9}), z = b.input({9});
  ValueId e = b.add(b.map(MapOp::erf, {b.mul(x, b.scalar(0.70710678f))}), b.scalar(1));
  ValueId wrong_x = b.mul(b.mul(z, b.scalar(0.5f)), e), wrong_half = b.mul(b.mul(x, b.scalar(0.4f)), e);
  Graph g = check_optimize(b.done({wrong_x, wrong_half}));
  for (const Node& node : g.nodes)
    for (const MapInstr& in : node.as<MapAttrs>().program.code) EXPECT_NE(in.op, MapOp::gelu_erf);
}

TEST(Activations, HardSwishAndHardSigmoid) {
  Builder b;
  ValueId x = b.input({5, 9});
  auto ramp = [&](ValueId v) { return b.map(MapOp::clip3, {b.add(v, b.scalar(3)), b.scalar(0), b.scalar(6)}); };
  ValueId y = b.map(MapOp::div, {b.mul(x, ramp(x)), b.scalar(6)});
  EXPECT_EQ(instructions(check_optimize(b.done({y}))), (std::vector{MapOp::hard_swish}));
  b = Builder();
  x = b.input({5, 9});
  y = b.mul(ramp(x), b.scalar(1.0f / 6));
  EXPECT_EQ(instructions(check_optimize(b.done({y}))), (std::vector{MapOp::hard_sigmoid}));
  b = Builder();
  x = b.input({5, 9});
  y = b.map(MapOp::clip3, {b.add(b.mul(x, b.scalar(0.2f)), b.scalar(0.5f)), b.scalar(0), b.scalar(1)});
  EXPECT_EQ(instructions(check_optimize(b.done({y}))), (std::vector{MapOp::hard_sigmoid}));
}

TEST(Norm, VariantsOfLayerNorm) {
  for (int form = 0; form < 4; form++) {
    SCOPED_TRACE(form);
    Builder b;
    ValueId x = b.input({2, 3, 10});
    ValueId d = b.map(MapOp::sub, {x, b.mean(x, {2})});
    ValueId d2 = form == 1 ? b.map(MapOp::sub, {x, b.mean(x, {2})}) : d;  // written twice
    ValueId variance = b.add(b.mean(b.mul(d2, d2), {2}), b.scalar(1e-5f));
    ValueId y;
    if (form == 2) y = b.mul(d, b.map(MapOp::div, {b.scalar(1), b.map(MapOp::sqrt, {variance})}));
    else y = b.map(MapOp::div, {d, b.map(MapOp::pow, {variance, b.scalar(0.5f)})});
    if (form != 3) y = b.add(b.weights({1, 1, 10}), b.mul(b.weights({10}), y));
    Graph g = check_optimize(b.done({y}));
    EXPECT_EQ(count_ops(g), (Counts{{"norm", 1}}));
    EXPECT_EQ(g.nodes[0].inputs.size(), form == 3 ? 1u : 3u);
  }
}

TEST(Norm, RootMeanSquare) {
  Builder b;
  ValueId x = b.input({2, 10});
  ValueId r = b.map(MapOp::sqrt, {b.add(b.mean(b.mul(x, x), {1}), b.scalar(1e-6f))});
  Graph g = check_optimize(b.done({b.mul(b.map(MapOp::div, {x, r}), b.weights({10}))}));
  ASSERT_EQ(count_ops(g), (Counts{{"norm", 1}}));
  EXPECT_TRUE(g.nodes[0].as<NormAttrs>().rms);
}

TEST(Softmax, SpelledOut) {
  Builder b;
  ValueId x = b.input({2, 10});
  ValueId m = b.g.add(reduce_op, "", {x}, ReduceAttrs{ReduceKind::max, {1}});
  ValueId e = b.map(MapOp::exp, {b.map(MapOp::sub, {x, m})});
  ValueId y = b.map(MapOp::div, {e, b.g.add(reduce_op, "", {e}, ReduceAttrs{ReduceKind::sum, {1}})});
  EXPECT_EQ(count_ops(check_optimize(b.done({y}))), (Counts{{"softmax", 1}}));
}

struct AttentionCase {
  bool scale_operands, mask, causal_add, three_dims;
};
Graph attention(const AttentionCase& c) {
  Builder b;
  Shape q{2, 3, 5, 4}, kt{2, 3, 4, 7}, v{2, 3, 7, 6};
  int64_t rows = 5, cols = 7;
  if (c.three_dims)
    for (Shape* s : {&q, &kt, &v}) s->erase(s->begin());
  ValueId a = b.input(q), k = b.input(kt), x = b.input(v);
  if (c.scale_operands) a = b.mul(a, b.scalar(0.6f)), k = b.mul(k, b.scalar(0.6f));
  ValueId s = b.matmul(a, k);
  if (!c.scale_operands) s = b.map(MapOp::div, {s, b.scalar(2)});
  if (c.mask) s = b.add(b.input(c.three_dims ? Shape{3, 5, 7} : Shape{2, 1, 1, 7}), s);
  if (c.causal_add) {
    std::vector<float> mask;
    for (int64_t i = 0; i < rows * cols; i++) mask.push_back(i % cols <= i / cols + cols - rows ? 0 : -INFINITY);
    s = b.add(s, b.g.add_constant("", make_constant(DType::f32, {rows, cols}, mask)));
  }
  return b.done({b.matmul(b.softmax(s), x)});
}

TEST(Attention, Variants) {
  for (int bits = 0; bits < 16; bits++) {
    SCOPED_TRACE(bits);
    AttentionCase c{(bits & 1) != 0, (bits & 2) != 0, (bits & 4) != 0, (bits & 8) != 0};
    Graph g = check_optimize(attention(c));
    EXPECT_EQ(count_ops(g)["attention"], 1);
    EXPECT_EQ(count_ops(g)["softmax"] + count_ops(g)["matmul"], 0);
    EXPECT_EQ(count_ops(g)["map"], c.mask && c.causal_add ? 1 : 0);  // the sum of two masks
    // What a mask is added to may be NaN, which no key may hide.
    for (const Node& node : g.nodes) EXPECT_FALSE(node.op == &attention_op && node.as<AttentionAttrs>().causal);
  }
}

TEST(Attention, AMaskBeforeTheScaleIsNotTakenAsAfterIt) {
  Builder b;
  ValueId q = b.input({1, 2, 3, 4}), k = b.input({1, 2, 4, 3}), v = b.input({1, 2, 3, 4}), m = b.input({1, 1, 3, 3});
  ValueId s = b.mul(b.add(b.matmul(q, k), m), b.scalar(0.3f));
  check_optimize(b.done({b.matmul(b.softmax(s), v)}));
}

TEST(Attention, AWhereReplaces) {
  Builder b;
  ValueId q = b.input({1, 2, 3, 4}), k = b.input({1, 2, 4, 3}), v = b.input({1, 2, 3, 4});
  std::vector<uint8_t> keep{1, 0, 1, 1, 1, 0, 0, 1, 1};
  ValueId mask = b.g.add_constant("", make_constant(DType::boolean, {3, 3}, keep));
  ValueId s = b.map(MapOp::where, {mask, b.matmul(q, k), b.scalar(-1e30f)});
  Graph g = check_optimize(b.done({b.matmul(b.softmax(s), v)}));
  EXPECT_EQ(count_ops(g)["attention"], 1);
  EXPECT_EQ(count_ops(g)["map"], 0);
}

TEST(Scales, BiasBeforeScaleIsScaledToo) {
  Builder b;
  ValueId x = b.input({1, 4, 5, 3});
  ConvAttrs a{{1, 1}, {1, 1}, {0, 0}, {0, 0}, 1, {}};
  ValueId y = b.g.add(conv_op, "", {x, b.weights({6, 3, 2, 2}), b.weights({6})}, a);
  y = b.add(b.mul(y, b.weights({6})), b.weights({1, 1, 1, 6}));
  y = b.mul(b.map(MapOp::sub, {y, b.weights({6})}), b.scalar(3));
  EXPECT_EQ(count_ops(check_optimize(b.done({y}))), (Counts{{"conv", 1}}));
}

TEST(Scales, MatMulTakesBiasAndScale) {
  for (bool transposed : {false, true}) {
    Builder b;
    ValueId x = b.input({3, 4});
    MatMulAttrs a;
    a.trans_b = transposed;
    ValueId y = b.matmul(x, b.weights(transposed ? Shape{5, 4} : Shape{4, 5}), a);
    y = b.add(b.mul(b.mul(y, b.weights({5})), b.scalar(0.3f)), b.weights({5}));
    Graph g = check_optimize(b.done({b.mul(y, b.weights({5}))}));
    ASSERT_EQ(count_ops(g), (Counts{{"matmul", 1}}));
    EXPECT_TRUE(g.nodes[0].as<MatMulAttrs>().epilogue.empty());
  }
}

TEST(Scales, OnlyFiniteOnesAreFolded) {
  for (float c : {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN(), 1e30f}) {
    Builder b;
    ValueId y = b.matmul(b.input({3, 4}), b.weights({4, 5}));
    Graph g = optimize(b.done({b.mul(y, b.scalar(c))}), {});
    ASSERT_EQ(count_ops(g)["matmul"], 1);
    for (const Node& node : g.nodes)
      if (node.op == &matmul_op) {
        EXPECT_EQ(node.as<MatMulAttrs>().alpha, 1);
      }
  }
}

TEST(Scales, OnlyZeroPaddingGoesIntoConv) {
  for (double value : {0.0, 1.0}) {
    Builder b;
    ValueId x = b.input({1, 4, 5, 3});
    x = b.g.add(pad_op, "", {x}, PadAttrs{{0, 1, 2, 0}, {0, 0, 1, 0}, PadMode::constant, value});
    ConvAttrs a{{1, 1}, {1, 1}, {0, 1}, {1, 0}, 1, {}};
    Graph g = check_optimize(b.done({b.g.add(conv_op, "", {x, b.weights({2, 3, 3, 3})}, a)}));
    EXPECT_EQ(g.nodes.size(), value == 0 ? 1u : 2u);
  }
}

TEST(Epilogues, SharedResultsStay) {
  Builder b;
  ValueId x = b.input({4, 6});
  ValueId y = b.matmul(x, b.weights({6, 6}));
  Graph g = check_optimize(b.done({y, b.relu(y)}));
  EXPECT_EQ(count_ops(g), (Counts{{"matmul", 1}, {"map", 1}}));
}

TEST(Epilogues, SwishReadsTheElementTwice) {
  Builder b;
  ValueId x = b.input({4, 6});
  ValueId y = b.matmul(x, b.weights({6, 6}));
  Graph g = check_optimize(b.done({b.mul(y, b.map(MapOp::sigmoid, {y}))}));
  ASSERT_EQ(count_ops(g), (Counts{{"matmul", 1}}));
  EXPECT_EQ(g.nodes[0].as<MatMulAttrs>().epilogue.program.inputs, 1);
}

TEST(Epilogues, ResidualThatComesLaterIsWaitedFor) {
  Builder b;
  ValueId x = b.input({4, 6});
  ValueId y = b.matmul(x, b.weights({6, 6}));
  ValueId late = b.softmax(b.map(MapOp::exp, {x}));
  Graph g = check_optimize(b.done({b.relu(b.add(y, late))}));
  EXPECT_EQ(count_ops(g), (Counts{{"matmul", 1}, {"softmax", 1}, {"map", 1}}));
}

TEST(Epilogues, AcrossReshapesAndTransposes) {
  Builder b;  // a transposed convolution of stride 2, as four convolutions in one, with its bias and scale
  ValueId x = b.input({1, 3, 4, 6});
  ConvAttrs a{{1, 1}, {1, 1}, {0, 0}, {0, 0}, 1, {}};
  ValueId y = b.g.add(conv_op, "", {x, b.weights({20, 6, 1, 1})}, a);
  y = b.transpose(b.reshape(y, {1, 3, 4, 2, 2, 5}), {0, 1, 3, 2, 4, 5});
  y = b.reshape(y, {1, 6, 8, 5});
  y = b.relu(b.add(b.mul(y, b.weights({5})), b.weights({1, 1, 1, 5})));
  EXPECT_EQ(count_ops(check_optimize(b.done({y}))), (Counts{{"conv", 1}, {"reshape", 2}, {"transpose", 1}}));
}

TEST(Transposes, NeverMoreBytes) {
  Builder b;  // one branch as it is, one transposed, with nothing to gain
  ValueId x = b.input({2, 3, 4, 5}), y = b.input({2, 4, 5, 3});
  Graph before = b.done({b.add(b.relu(x), b.transpose(y, {0, 3, 1, 2}))});
  Graph g = check_optimize(before);
  EXPECT_EQ(count_ops(g)["transpose"], 1);
}

TEST(Transposes, OperatorsWithAxes) {
  Builder b;
  ValueId x = b.input({1, 4, 6, 5});  // NHWC
  ValueId y = b.nchw(x);
  y = b.slice(y, 1, 4, 2, -3);
  y = b.concat({y, b.slice(b.nchw(x), 1, 1, 3)}, 1);
  y = b.g.add(pad_op, "", {y}, PadAttrs{{0, 1, 0, 2}, {0, 0, 3, -1}, PadMode::edge, 0});
  y = b.g.add(softmax_op, "", {y}, SoftmaxAttrs{1, false});
  y = b.g.add(cumsum_op, "", {y}, CumSumAttrs{3, true, false});
  y = b.add(y, b.weights({6, 1, 1}));
  y = b.mul(y, b.weights({1, 1, 7, 7}));
  ValueId reduced = b.g.add(reduce_op, "", {y}, ReduceAttrs{ReduceKind::max, {1, 3}});
  ValueId index = b.g.add(arg_reduce_op, "", {y}, ArgReduceAttrs{2, true, false});
  y = b.add(y, reduced);
  Graph g = check_optimize(b.done({b.nhwc(y), b.nhwc(index)}));
  EXPECT_EQ(count_ops(g)["transpose"], 0);
}

TEST(Transposes, ThroughRegroupingReshapes) {
  Builder b;  // [N, C, H, W] -> [N, C, HW] -> [N, HW, C], and pixel shuffle
  ValueId x = b.nchw(b.input({2, 4, 6, 12}));
  ValueId y = b.transpose(b.reshape(x, {2, 12, 24}), {0, 2, 1});
  ValueId z = b.transpose(b.reshape(x, {2, 3, 4, 4, 6}), {0, 3, 4, 1, 2});
  ValueId w = b.reshape(b.mean(x, {2, 3}), {2, 12});
  Graph g = check_optimize(b.done({y, z, w}));
  EXPECT_EQ(count_ops(g)["transpose"], 0);
}

TEST(Transposes, RandomGraphs) {
  std::mt19937 random(5);
  for (int round = 0; round < 150; round++) {
    SCOPED_TRACE(round);
    Builder b;
    const Shape first = round % 5 == 4 ? Shape{2, 3, 0, 4} : Shape{2, 3, 1, 4};
    std::vector<ValueId> values{b.input(first), b.input(first)};
    for (int step = 0; step < 14; step++) {
      ValueId x = values[random() % values.size()], y = x;
      Shape s = b.g.shape(x);
      std::vector<int64_t> perm(s.size());
      for (size_t i = 0; i < perm.size(); i++) perm[i] = static_cast<int64_t>(i);
      std::shuffle(perm.begin(), perm.end(), random);
      int64_t axis = static_cast<int64_t>(random() % s.size());
      switch (random() % 9) {
        case 0:
        case 1: y = b.transpose(x, perm); break;
        case 2: y = b.map(MapOp::tanh, {x}); break;
        case 3: {
          for (ValueId other : values)
            if (b.g.shape(other) == s) y = b.add(x, other);
          break;
        }
        case 4: y = b.softmax(x); break;
        case 5: y = b.g.add(reduce_op, "", {x}, ReduceAttrs{ReduceKind::mean, {axis}}); break;
        case 6: {
          Shape r = s;
          std::shuffle(r.begin(), r.end(), random);
          if (random() % 2) r.insert(r.begin() + axis, 1);
          if (r.size() > 5) r = {element_count(s)};
          y = b.reshape(x, r);
          break;
        }
        case 7: y = b.add(x, b.weights({s.back()})); break;
        default: {
          Shape r;  // joins two neighbours
          for (size_t i = 0; i < s.size(); i++) {
            if (static_cast<int64_t>(i) == axis && i > 0) r.back() *= s[i];
            else r.push_back(s[i]);
          }
          y = b.reshape(x, r);
        }
      }
      values.push_back(y);
    }
    Graph g = check_optimize(b.done({values[values.size() - 1], values[values.size() - 3]}));
    if (::testing::Test::HasFailure()) return;
  }
}

TEST(Transposes, MatMulReadsItsOperandsTransposed) {
  Builder b;
  ValueId x = b.input({2, 5, 3}), y = b.input({2, 4, 5});
  ValueId z = b.matmul(b.transpose(x, {0, 2, 1}), b.transpose(y, {0, 2, 1}));
  EXPECT_EQ(count_ops(check_optimize(b.done({z}))), (Counts{{"matmul", 1}}));
}

TEST(Transposes, ReshapesWithoutElementsStay) {
  for (const Shape& out : {Shape{2, 2}, Shape{2}, Shape{}, Shape{3, 1, 2, 2}, Shape{2, 2, 3, 7}})
    for (size_t at = 0; at <= out.size(); at++) {
      Builder b;
      ValueId x = b.input({2, 2, 3, 0});
      Shape empty = out;
      empty.insert(empty.begin() + static_cast<int64_t>(at), 0);
      check_optimize(b.done({b.relu(b.reshape(b.transpose(x, {0, 3, 1, 2}), empty))}));
    }
}

TEST(Optimize, EmptyTensorsPassThrough) {
  Builder b;
  ValueId x = b.input({0, 3, 4, 4});
  ValueId y = b.reshape(b.nchw(b.nhwc(b.relu(x))), {0, 48});
  check_optimize(b.done({b.softmax(b.add(y, b.weights({48})))}));
}

}  // namespace
}  // namespace pando::test
