// Graphs on float16 and bfloat16: what is computed becomes float32, what is only stored stays.
#include "optimize/widen_halves.hpp"

#include <gtest/gtest.h>

#include "optimize/models.hpp"
#include "optimize/rewriter.hpp"

namespace pando::test {
namespace {

struct Halves : Builder {
  DType type;
  uint32_t seed = 100;
  explicit Halves(DType t) : type(t) {}
  ValueId half(Shape shape) { return g.add_constant("", random_tensor(type, std::move(shape), seed++, -0.5f, 0.5f)); }
  ValueId map(MapOp op, std::vector<ValueId> inputs) { return Builder::map(op, std::move(inputs), 0, 0, type); }
};

int count(const Graph& g, const OpDef& op, DType weights) {
  return static_cast<int>(std::count_if(g.nodes.begin(), g.nodes.end(), [&](const Node& n) {
    return n.op == &op && g.values[n.inputs[1]].dtype == weights;
  }));
}

class WidenHalves : public testing::TestWithParam<DType> {
 protected:
  double tolerance() const { return GetParam() == DType::f16 ? 4e-3 : 4e-2; }
  void expect_equal(const Graph& before, const Graph& after) const {
    const auto inputs = random_inputs(before);
    const auto expected = evaluate(before, inputs), actual = evaluate(after, inputs);
    ASSERT_EQ(expected.size(), actual.size());
    for (size_t i = 0; i < expected.size(); i++) {
      expect_close(*actual[i], *expected[i], tolerance());
      EXPECT_EQ(after.values[after.outputs[i]].name, before.values[before.outputs[i]].name);
    }
  }
};
INSTANTIATE_TEST_SUITE_P(Types, WidenHalves, testing::Values(DType::f16, DType::bf16),
                         [](const auto& each) { return each.param == DType::f16 ? "f16" : "bf16"; });

TEST_P(WidenHalves, ComputesInFloat32AndKeepsWeights) {
  Halves b(GetParam());
  const ValueId x = b.input({1, 8, 6, 6}, b.type);
  const ValueId conv = b.g.add(conv_op, "conv", {b.nhwc(x), b.half({16, 8, 3, 3}), b.half({16})},
                               ConvAttrs{{1, 1}, {1, 1}, {1, 1}, {1, 1}, 1, {}});
  const ValueId rows = b.reshape(b.map(MapOp::relu, {conv}), {36, 16});
  const ValueId product = b.g.add(matmul_op, "matmul", {rows, b.transpose(b.half({5, 16}), {1, 0})}, MatMulAttrs{});
  const ValueId sum = b.map(MapOp::add, {product, b.half({5})});
  const Graph before = b.done({b.g.add(softmax_op, "softmax", {sum}, SoftmaxAttrs{1}), product});
  CompileContext context;
  const Graph after = widen_halves(before, context);
  verify(after);
  EXPECT_EQ(count(after, conv_op, GetParam()), 1);
  EXPECT_EQ(count(after, matmul_op, GetParam()), 1);
  for (const Node& node : after.nodes) {
    const MapInstr* in = single_instr(&node);
    const bool moves = node.op == &transpose_op || (in && in->op == MapOp::cast);
    for (ValueId v : node.outputs) EXPECT_TRUE(moves || after.values[v].dtype == DType::f32) << node.name;
  }
  expect_equal(before, after);
}

// Rows of a table, results of other types, casts between all of them, products of two computed matrices.
TEST_P(WidenHalves, OtherOperators) {
  Halves b(GetParam());
  const ValueId rows = b.g.add(gather_op, "gather", {b.half({8, 12}), b.input({3}, DType::i64)}, GatherAttrs{});
  const ValueId real = b.relu(b.input({3, 12}));
  const ValueId cast = b.map(MapOp::cast, {real});
  const ValueId top =
      b.g.nodes[b.g.add_node(topk_op, "topk", {b.map(MapOp::add, {rows, cast})}, TopKAttrs{1, 4})].outputs[0];
  const ValueId indices = b.g.nodes.back().outputs[1];
  const ValueId back = b.Builder::map(MapOp::cast, {top});
  const ValueId less = b.Builder::map(MapOp::less, {top, b.half({1})}, 0, 0, DType::boolean);
  const ValueId product = b.g.add(matmul_op, "matmul", {top, b.transpose(top, {1, 0})}, MatMulAttrs{});
  const ValueId moved = b.transpose(b.input({2, 3}, b.type), {1, 0});
  const Graph before = b.done({rows, cast, top, indices, back, less, product, moved});
  CompileContext context;
  const Graph after = widen_halves(before, context);
  verify(after);
  EXPECT_EQ(count(after, matmul_op, DType::f32), 1);
  expect_equal(before, after);
}

TEST(WidenHalves, LeavesOtherGraphsAlone) {
  Builder b;
  const ValueId x = b.input({2, 3});
  const Graph before = b.done({b.relu(x)});
  CompileContext context;
  EXPECT_EQ(widen_halves(before, context).nodes.size(), 1u);
}

}  // namespace
}  // namespace pando::test
