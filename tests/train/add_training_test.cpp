// Gradients' rules against the operators' own, element by element: an element of the gradient's domain box must be read
// or written by exactly the derived boxes.
#include "train/add_training.hpp"

#include <gtest/gtest.h>

#include <random>

#include "graph/ops/ops.hpp"

namespace pando {
namespace {

bool contains(const Box& outer, const Box& inner) { return inner.empty() || intersect(outer, inner) == inner; }

// For every small box of the forward domain: where it touches a box of the operand, the gradient of that box must read
// the output's gradient there, and the other operands that the forward box reads.
void check_gradient(const Graph& g, const Node& gradient) {
  NodeView gv{g, gradient};
  const auto& a = gv.as<GradientAttrs>();
  Node forward{a.op, "", {}, {}, a.attrs};
  forward.inputs.assign(gradient.inputs.begin(), gradient.inputs.begin() + a.inputs);
  forward.outputs.assign(gradient.inputs.begin() + a.inputs, gradient.inputs.begin() + a.inputs + a.outputs);
  NodeView fv{g, forward};
  Domain fd = a.op->domain(fv), gd = gradient_op.domain(gv);
  auto map = forward_dims(gv);
  std::mt19937 random(7);
  auto pick = [&](int64_t n) { return static_cast<int64_t>(random() % static_cast<uint64_t>(n)); };
  for (int round = 0; round < 300; round++) {
    Box gb, fb;
    gb.rank = gd.rank;
    for (int i = 0; i < gd.rank; i++) {
      int64_t lo = pick(gd[i].extent);
      gb[i] = {lo, lo + 1 + pick(gd[i].extent - lo)};
    }
    fb.rank = fd.rank;
    for (int i = 0; i < fd.rank; i++) {
      int64_t at = pick(fd[i].extent);
      fb[i] = {at, at + 1};
      for (int j = static_cast<int>(gv.out_shape().size()); j < gd.rank; j++)  // reductions are the forward's own
        if (map[j] == i && (at < gb[j].lo || at >= gb[j].hi)) fb[i] = {gb[j].lo, gb[j].lo + 1};
    }
    Box touched = apply(a.op->reads(fv, a.wrt), fb, gv.in_shape(a.wrt));
    Box wanted = gb;
    wanted.rank = touched.rank;
    if (intersect(touched, wanted).empty()) continue;
    int dy = a.inputs + a.outputs;
    EXPECT_TRUE(contains(apply(gradient_op.reads(gv, dy), gb, gv.in_shape(dy)),
                         apply(a.op->writes(fv, 0), fb, gv.in_shape(dy))))
        << a.op->name << " wrt " << a.wrt << " " << to_string(gb) << " " << to_string(fb);
    for (int i = 0; i < a.inputs; i++) {
      if (!gv.has(i)) continue;
      Access rule = gradient_op.reads(gv, i);
      if (rule.kind == Access::Kind::none) continue;
      EXPECT_TRUE(contains(apply(rule, gb, gv.in_shape(i)), apply(a.op->reads(fv, i), fb, gv.in_shape(i))))
          << a.op->name << " wrt " << a.wrt << " operand " << i;
    }
  }
}

TensorPtr weights(Shape shape) { return make_tensor(DType::f32, std::move(shape)); }

Graph small_net() {
  Graph g;
  g.name = "net";
  ValueId x = g.add_value("x", DType::f32, {4, 9, 9, 6});
  g.inputs = {x};
  ConvAttrs conv{{2, 2}, {1, 1}, {1, 1}, {1, 1}, 1, {}};
  ValueId c =
      g.add(conv_op, "conv", {x, g.add_constant("w", weights({8, 6, 3, 3})), g.add_constant("b", weights({8})), none},
            conv, "c");
  ConvAttrs grouped{{1, 1}, {2, 2}, {2, 2}, {2, 2}, 4, {}};
  ValueId d = g.add(conv_op, "grouped", {c, g.add_constant("w2", weights({8, 2, 3, 3})), none, none}, grouped, "d");
  MapAttrs add;
  add.program.inputs = 2;
  add.program.code = {{MapOp::add, 0, 1}};
  ValueId s = g.add(map_op, "add", {c, d}, add, "s");
  PoolAttrs pool{PoolKind::max, {3, 3}, {2, 2}, {1, 1}, {1, 1}, {1, 1}, {3, 3}};
  ValueId p = g.add(pool_op, "pool", {s}, pool, "p");
  ValueId r = g.add(reshape_op, "flat", {p}, ReshapeAttrs{{4, 72}}, "r");
  MatMulAttrs dense;
  dense.trans_b = true;
  ValueId y = g.add(matmul_op, "dense",
                    {r, g.add_constant("w3", weights({10, 72})), g.add_constant("b3", weights({10}))}, dense, "y");
  g.outputs = {y};
  return g;
}

TEST(Training, RulesOfGradientsAreTheOperatorsTurnedAround) {
  Graph g = add_training(small_net(), Loss::cross_entropy, Optimizer::adam);
  verify(g);
  int gradients = 0;
  for (const Node& node : g.nodes)
    if (node.op == &gradient_op) {
      gradients++;
      check_gradient(g, node);
    }
  // conv w, b; grouped x, w; add 2; pool; dense a, w, b.
  EXPECT_EQ(gradients, 10);
}

TEST(Training, EveryParameterIsExchangedAndUpdated) {
  Graph g = add_training(small_net(), Loss::cross_entropy, Optimizer::adam);
  int exchanges = 0, updates = 0, sums = 0;
  for (const Node& node : g.nodes) {
    exchanges += node.op == &exchange_op;
    updates += node.op == &update_op;
    sums += node.op == &sum_op;
  }
  EXPECT_EQ(exchanges, 5);
  EXPECT_EQ(updates, 5);
  EXPECT_EQ(sums, 1);                       // c feeds grouped and add
  EXPECT_EQ(g.outputs.size(), 1u + 5 * 3);  // the model's, and per parameter its new value and two states
  EXPECT_EQ(g.inputs.size(), 1u + 1 + 5 * 2);
}

TEST(Training, WorkOfGradientsEqualsTheForwardWork) {
  Graph g = add_training(small_net());
  for (const Node& node : g.nodes) {
    if (node.op != &gradient_op || node.as<GradientAttrs>().op != &conv_op) continue;
    NodeView view{g, node};
    double expected = node.as<GradientAttrs>().wrt > 1 ? 4.0 * 5 * 5 * 8 : 0;
    if (node.as<GradientAttrs>().wrt <= 1) {
      const Shape& w = view.in_shape(1);
      expected = 2.0 * 4 * 5 * 5 * 8 * static_cast<double>(w[1] * w[2] * w[3]);
    }
    EXPECT_DOUBLE_EQ(node.op->operations(view, whole(node.op->domain(view))), expected);
  }
}

TEST(Training, RefusesWhatHasNothingToLearn) {
  Graph g;
  ValueId x = g.add_value("x", DType::f32, {2, 3});
  g.inputs = {x};
  g.outputs = {g.add(softmax_op, "s", {x}, SoftmaxAttrs{1, false})};
  EXPECT_THROW(add_training(g), Error);
}

}  // namespace
}  // namespace pando
