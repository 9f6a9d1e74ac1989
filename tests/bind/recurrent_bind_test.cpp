// lstm step by step with packed weights, cut into tiles, against its reference.
#include <gtest/gtest.h>

#include "bind/run_program.hpp"
#include "graph/ops/ops.hpp"

namespace pando::test {
namespace {

struct LstmCase {
  int64_t batch, steps, features, hidden;
  bool bias, state, peepholes, constant;
};

Graph lstm_graph(const LstmCase& c) {
  Graph g;
  uint32_t seed = 1;
  auto input = [&](Shape shape) {
    g.inputs.push_back(g.add_value(fmt::format("input{}", g.inputs.size()), DType::f32, std::move(shape)));
    return g.inputs.back();
  };
  auto weight = [&](Shape shape) {
    return c.constant ? g.add_constant("", random_tensor(DType::f32, std::move(shape), seed++, -0.3f, 0.3f))
                      : input(std::move(shape));
  };
  ValueId x = input({c.batch, c.steps, c.features});
  std::vector<ValueId> operands{x,
                                weight({4, c.hidden, c.features}),
                                weight({4, c.hidden, c.hidden}),
                                c.bias ? weight({2, 4, c.hidden}) : none,
                                c.state ? input({c.batch, c.hidden}) : none,
                                c.state ? input({c.batch, c.hidden}) : none,
                                c.peepholes ? weight({3, c.hidden}) : none};
  NodeId n = g.add_node(recurrent_op, "lstm", operands, RecurrentAttrs{});
  g.outputs = g.nodes[n].outputs;
  return g;
}

TEST(BindLstm, ManyShapes) {
  const LstmCase cases[] = {{1, 5, 16, 32, true, true, false, true},   {3, 4, 20, 33, true, false, true, true},
                            {70, 3, 8, 40, false, true, true, true},   {2, 1, 100, 96, true, true, false, true},
                            {5, 6, 3, 5, false, false, false, true},   {4, 3, 6, 7, true, true, true, false},
                            {130, 2, 33, 31, true, true, false, true}, {1, 9, 64, 64, false, false, false, true}};
  for (const LstmCase& c : cases) {
    SCOPED_TRACE(fmt::format("{} x {} x {} -> {}", c.batch, c.steps, c.features, c.hidden));
    Graph g = lstm_graph(c);
    verify(g);
    const auto inputs = random_inputs(g), expected = evaluate(g, inputs);
    std::vector<TensorPtr> first;
    for (double tile_us : {0.0, 1.0, 20.0, 1e6}) {
      const auto actual = run_graph(g, inputs, {.tile_us = tile_us});
      if (first.empty()) first = actual;
      for (size_t i = 0; i < 2; i++) {
        expect_close(*actual[i], *expected[i]);
        ASSERT_EQ(std::memcmp(first[i]->data, actual[i]->data, first[i]->bytes()), 0) << "tile_us " << tile_us;
      }
    }
  }
}

TEST(BindLstm, CellsPackTheirWeightsOnce) {
  size_t packed[2];
  for (int cells : {1, 3}) {
    Graph g;
    ValueId w = g.add_constant("", random_tensor(DType::f32, {4, 40, 40}, 1)),
            r = g.add_constant("", random_tensor(DType::f32, {4, 40, 40}, 2)),
            x = g.add_value("x", DType::f32, {2, 3, 40});
    g.inputs = {x};
    for (int i = 0; i < cells; i++) x = g.add(recurrent_op, "cell", {x, w, r}, RecurrentAttrs{});
    g.outputs = {x};
    WeightCache cache({}, {});
    auto program = bind(tile(g, Machine::host()), {.weights = &cache});
    packed[cells / 2] = program->packed_bytes;
    const auto inputs = random_inputs(g);
    expect_close(*run_in_order(*program, inputs, serial_order(*program))[0], *evaluate(g, inputs)[0]);
  }
  EXPECT_GT(packed[0], 0u);
  EXPECT_EQ(packed[0], packed[1]);
}

TEST(BindLstm, SamplesAreCut) {
  TileGraph tiles = tile(lstm_graph({64, 8, 64, 64, true, false, false, true}), Machine::host(), {.tile_us = 1});
  ASSERT_EQ(tiles.ops.size(), 1u);
  EXPECT_EQ(tiles.ops[0].row->algorithm, Algorithm::gemm);
  EXPECT_GT(tiles.ops[0].grid[0], 1);
  for (int d = 1; d < 4; d++) EXPECT_EQ(tiles.ops[0].grid[d], 1);
}

// Every usual cell, its two forms of gru, with and without bias and state, over odd sizes and more samples than a
// product takes: near the reference, the same bits for every tile size.
TEST(BindRecurrent, CellsMatchTheirReference) {
  struct Sizes {
    int64_t batch, steps, features, hidden;
  };
  for (const Sizes& s : {Sizes{1, 5, 16, 32}, Sizes{3, 4, 20, 33}, Sizes{70, 3, 8, 40}, Sizes{2, 1, 17, 96},
                         Sizes{130, 2, 33, 31}, Sizes{5, 6, 3, 1}}) {
    for (int form = 0; form < 12; form++) {
      RecurrentAttrs attrs;
      attrs.cell = form % 3 == 0 ? CellKind::rnn : CellKind::gru;
      attrs.linear_before_reset = form % 3 == 2;
      const bool bias = form / 3 % 2, state = form / 6;
      SCOPED_TRACE(fmt::format("{} x {} x {} -> {}, form {}", s.batch, s.steps, s.features, s.hidden, form));
      const int64_t gates = gates_of(attrs.cell);
      Graph g;
      auto input = [&](Shape shape) {
        g.inputs.push_back(g.add_value(fmt::format("input{}", g.inputs.size()), DType::f32, std::move(shape)));
        return g.inputs.back();
      };
      uint32_t seed = 1;
      auto weight = [&](Shape shape) {
        return g.add_constant("", random_tensor(DType::f32, std::move(shape), seed++, -0.3f, 0.3f));
      };
      const ValueId x = input({s.batch, s.steps, s.features});
      const std::vector<ValueId> operands{x, weight({gates, s.hidden, s.features}), weight({gates, s.hidden, s.hidden}),
                                          bias ? weight({2, gates, s.hidden}) : none,
                                          state ? input({s.batch, s.hidden}) : none};
      g.outputs = g.nodes[g.add_node(recurrent_op, "cell", operands, attrs)].outputs;
      verify(g);
      EXPECT_EQ(tile(g, Machine::host()).ops[0].row->algorithm, Algorithm::gemm);
      const auto inputs = random_inputs(g), expected = evaluate(g, inputs);
      std::vector<TensorPtr> first;
      for (double tile_us : {0.0, 1.0, 1e6}) {
        const auto actual = run_graph(g, inputs, {.tile_us = tile_us});
        if (first.empty()) first = actual;
        for (size_t i = 0; i < actual.size(); i++) {
          expect_close(*actual[i], *expected[i]);
          ASSERT_EQ(std::memcmp(first[i]->data, actual[i]->data, first[i]->bytes()), 0) << "tile_us " << tile_us;
        }
      }
    }
  }
}

}  // namespace
}  // namespace pando::test
