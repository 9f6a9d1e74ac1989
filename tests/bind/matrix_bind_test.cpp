// Convolutions by GEMM and matrix products, cut into tiles, against the operators' references.
#include <gtest/gtest.h>

#include "bind/run_program.hpp"
#include "graph/ops/ops.hpp"

namespace pando::test {
namespace {

// Tiles of several sizes agree with the reference, and with each other to the bit.
void check(const Model& model) {
  verify(model.graph);
  const auto inputs = random_inputs(model.graph);
  const auto expected = evaluate(model.graph, inputs);
  TensorPtr first;
  for (double tile_us : {0.0, 1.0, 20.0, 1e6}) {
    const auto actual = run_graph(model.graph, inputs, {.tile_us = tile_us, .winograd = false});
    expect_close(*actual[0], *expected[0]);
    if (!first) first = actual[0];
    ASSERT_EQ(std::memcmp(first->data, actual[0]->data, first->bytes()), 0) << "tile_us " << tile_us;
  }
}

Epilogue residual_relu() { return {{{{MapOp::add, 0, 1}, {MapOp::relu, 2}}, 2}}; }

ValueId conv(Model& m, ValueId x, int64_t co, int64_t kernel, int64_t stride, ConvAttrs attrs,
             std::vector<ValueId> operands = {}, bool scale = false) {
  const Shape shape = m.graph.shape(x);
  const size_t spatial = shape.size() - 2;
  Shape w{co, shape.back() / attrs.group};
  for (size_t i = 0; i < spatial; i++) w.push_back(kernel);
  attrs.strides.resize(spatial, stride);
  if (attrs.dilations.empty()) attrs.dilations.resize(spatial, 1);
  attrs.pads_begin.resize(spatial, kernel / 2);
  attrs.pads_end.resize(spatial, kernel / 2);
  std::vector<ValueId> inputs{x, m.constant(w), m.constant({co}), scale ? m.constant({co}) : none};
  inputs.insert(inputs.end(), operands.begin(), operands.end());
  return m.graph.add(conv_op, "conv", inputs, attrs);
}

TEST(BindConvGemm, ImagesOfManyShapes) {
  struct {
    Shape x;
    int64_t co, kernel, stride, group, dilation;
  } cases[] = {{{1, 14, 14, 64}, 96, 1, 1, 1, 1}, {{2, 9, 9, 20}, 40, 3, 1, 1, 1},   {{1, 30, 31, 3}, 48, 7, 2, 1, 1},
               {{3, 8, 9, 512}, 33, 1, 1, 1, 1},  {{1, 12, 12, 24}, 48, 3, 2, 3, 1}, {{1, 13, 13, 16}, 32, 3, 1, 1, 3},
               {{2, 50, 12}, 40, 5, 1, 1, 1},     {{1, 400, 1}, 17, 25, 10, 1, 1},   {{1, 7, 7, 8}, 8, 9, 1, 1, 1}};
  for (const auto& c : cases) {
    Model m;
    ConvAttrs attrs;
    attrs.group = c.group;
    attrs.dilations.assign(c.x.size() - 2, c.dilation);
    m.finish(conv(m, m.input(c.x), c.co, c.kernel, c.stride, attrs, {}, c.co % 3 == 0));
    check(m);
  }
}

TEST(BindConvGemm, EpiloguesOfEveryBroadcast) {
  const Shape operand_shapes[] = {{2, 10, 10, 40}, {40}, {1, 1, 1, 40}, {2, 1, 1, 40}, {1}};
  for (const Shape& shape : operand_shapes) {
    Model m;
    ConvAttrs attrs;
    attrs.epilogue = residual_relu();
    ValueId x = m.input({2, 10, 10, 24});
    m.finish(conv(m, x, 40, 3, 1, attrs, {m.input(shape)}));
    check(m);
  }
  Model m;  // not a residual and an activation: the general path
  ConvAttrs attrs;
  attrs.epilogue = {{{{MapOp::sigmoid, 0}, {MapOp::mul, 0, 3}, {MapOp::mul, 4, 1}, {MapOp::add, 5, 2}}, 3}};
  ValueId x = m.input({2, 10, 10, 24});
  m.finish(conv(m, x, 72, 1, 1, attrs, {m.input({2, 1, 1, 72}), m.input({2, 10, 10, 72})}));
  check(m);
}

ValueId matmul(Model& m, ValueId a, ValueId b, MatMulAttrs attrs, int64_t bias, std::vector<ValueId> operands = {}) {
  std::vector<ValueId> inputs{a, b, bias ? m.constant({bias}) : none};
  inputs.insert(inputs.end(), operands.begin(), operands.end());
  return m.graph.add(matmul_op, "matmul", inputs, attrs);
}

TEST(BindMatMul, ConstantWeights) {
  struct {
    Shape a, b;
    bool trans_a, trans_b;
    int64_t n;
    float alpha;
  } cases[] = {{{128, 96}, {96, 200}, false, false, 200, 1},  {{130, 97}, {70, 97}, false, true, 70, 0.5f},
               {{1, 512}, {1000, 512}, false, true, 1000, 1}, {{3, 100}, {100, 65}, false, false, 65, 2},
               {{2, 40, 64}, {64, 96}, false, false, 96, 1},  {{2, 3, 17, 64}, {64, 40}, false, false, 40, 1},
               {{64, 50}, {64, 33}, true, false, 33, 1},      {{2, 2, 2, 5, 24}, {24, 33}, false, false, 33, 1},
               {{4, 1, 48}, {48, 64}, false, false, 64, 1},   {{64, 2}, {64, 96}, true, false, 96, 1}};
  for (const auto& c : cases) {
    Model m;
    ValueId a = m.input(c.a);
    m.finish(matmul(m, a, m.constant(c.b), {c.trans_a, c.trans_b, c.alpha, {}}, c.n));
    check(m);
  }
}

TEST(BindMatMul, OperandsThatChange) {
  struct {
    Shape a, b;
    bool trans_a, trans_b;
  } cases[] = {{{2, 3, 20, 16}, {2, 3, 16, 50}, false, false},
               {{2, 3, 20, 16}, {2, 3, 50, 16}, false, true},
               {{5, 33, 40}, {40, 64}, false, false},
               {{1, 3, 20, 16}, {4, 1, 16, 30}, false, false},
               {{7, 9}, {9, 40}, false, false},
               {{3, 9, 20}, {3, 9, 33}, true, false}};
  for (const auto& c : cases) {
    Model m;
    ValueId a = m.input(c.a), b = m.input(c.b);
    m.finish(matmul(m, a, b, {c.trans_a, c.trans_b, 0.25f, {}}, 0));
    check(m);
  }
}

TEST(BindMatMul, EpilogueOperandsFollowBatchDimensions) {
  const Shape shapes[] = {{2, 3, 20, 50}, {3, 1, 50}, {2, 1, 20, 1}, {50}};
  for (const Shape& shape : shapes)
    for (bool constant : {false, true}) {
      Model m;
      ValueId a = m.input({2, 3, 20, 16}), b = constant ? m.constant({16, 50}) : m.input({2, 3, 16, 50});
      MatMulAttrs attrs;
      attrs.epilogue = residual_relu();
      m.finish(matmul(m, a, b, attrs, 50, {m.input(shape)}));
      check(m);
    }
}

TEST(BindMatMul, GemvGivesTheBitsOfGemm) {
  Model few, many;
  const TensorPtr w = random_tensor(DType::f32, {300, 77}, 9), bias = random_tensor(DType::f32, {77}, 10);
  const TensorPtr x = random_tensor(DType::f32, {8, 300}, 11);
  auto x2 = make_tensor(DType::f32, {2, 300});
  std::memcpy(writable(*x2), x->data, x2->bytes());
  for (Model* m : {&few, &many}) {
    ValueId a = m->input({m == &few ? 2 : 8, 300});
    m->finish(
        m->graph.add(matmul_op, "", {a, m->graph.add_constant("", w), m->graph.add_constant("", bias)}, MatMulAttrs{}));
  }
  auto y2 = run_graph(few.graph, {x2}), y8 = run_graph(many.graph, {x});
  EXPECT_EQ(std::memcmp(y2[0]->data, y8[0]->data, y2[0]->bytes()), 0);
}

// What each instruction set computes agrees with the reference; the two with fma agree to the bit.
TEST(BindConvGemm, EveryInstructionSet) {
  Model m;
  ConvAttrs attrs;
  attrs.epilogue = residual_relu();
  ValueId x = m.input({2, 15, 15, 40});
  m.finish(conv(m, conv(m, x, 72, 3, 1, attrs, {m.input({2, 15, 15, 72})}), 24, 1, 2, {}));
  const auto inputs = random_inputs(m.graph);
  const auto expected = evaluate(m.graph, inputs);
  TensorPtr fused;
  for (Isa isa : {Isa::portable, Isa::avx2, Isa::avx512}) {
    limit_isa(isa);
    const auto actual = run_graph(m.graph, inputs, {.winograd = false});
    expect_close(*actual[0], *expected[0]);
    if (active_isa() == Isa::portable) continue;
    if (fused) {
      EXPECT_EQ(std::memcmp(fused->data, actual[0]->data, fused->bytes()), 0) << name_of(isa);
    }
    fused = actual[0];
  }
}

// Results without elements, and results of operands without any.
TEST(BindEmpty, ExtentsOfZero) {
  struct Pair {
    Shape a, b;
    bool constant;
  };
  for (const auto& [a, b, constant] :
       {Pair{{0, 8}, {8, 5}, true}, Pair{{0, 8}, {8, 5}, false}, Pair{{3, 0}, {0, 5}, true},
        Pair{{3, 0}, {0, 5}, false}, Pair{{2, 3, 8}, {2, 8, 0}, false}, Pair{{0, 3, 8}, {8, 40}, true}}) {
    Model m;
    ValueId x = m.input(a), w = constant ? m.constant(b) : m.input(b);
    m.finish(m.graph.add(matmul_op, "matmul", {x, w}, MatMulAttrs{}));
    check(m);
  }
  Model attention;
  ValueId q = attention.input({1, 0, 2, 8}), k = attention.input({1, 5, 2, 8});
  attention.finish(attention.graph.add(attention_op, "attention", {q, k, k}, AttentionAttrs{}));
  check(attention);
  for (Shape shape : {Shape{0, 14, 14, 32}, Shape{0, 8, 8, 4}}) {
    Model m;
    ConvAttrs attrs;
    attrs.group = shape[3] == 4 ? 4 : 1;  // one depthwise
    m.finish(conv(m, m.input(shape), 32, 3, 1, attrs));
    check(m);
  }
  Model joined;
  ValueId none_here = joined.input({0, 3}), two = joined.input({2, 3});
  joined.finish(joined.graph.add(concat_op, "concat", {none_here, two, none_here}, ConcatAttrs{0}));
  check(joined);
  Model sum;
  sum.finish(sum.graph.add(reduce_op, "reduce", {sum.input({3, 0, 4})}, ReduceAttrs{ReduceKind::sum, {1}}));
  check(sum);
}

}  // namespace
}  // namespace pando::test
