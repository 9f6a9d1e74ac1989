// Winograd and depthwise convolutions, cut into tiles, against the operator's reference.
#include <gtest/gtest.h>

#include "bind/run_program.hpp"
#include "graph/ops/ops.hpp"

namespace pando::test {
namespace {

struct Case {
  Shape x;
  int64_t co, kernel, stride, pad, group, dilation = 1;
};

Graph conv_graph(const Case& c, const Epilogue& epilogue, const std::vector<Shape>& operands, bool scale) {
  Graph g;
  const size_t spatial = c.x.size() - 2;
  auto input = [&](Shape shape) {
    g.inputs.push_back(g.add_value("input" + std::to_string(g.inputs.size()), DType::f32, std::move(shape)));
    return g.inputs.back();
  };
  auto constant = [&](Shape shape, uint32_t seed) {
    return g.add_constant("", random_tensor(DType::f32, std::move(shape), seed));
  };
  ConvAttrs attrs;
  attrs.group = c.group;
  attrs.strides.assign(spatial, c.stride);
  attrs.dilations.assign(spatial, c.dilation);
  attrs.pads_begin.assign(spatial, c.pad);
  attrs.pads_end.assign(spatial, c.pad);
  attrs.epilogue = epilogue;
  Shape w{c.co, c.x.back() / c.group};
  w.insert(w.end(), spatial, c.kernel);
  std::vector<ValueId> inputs{input(c.x), constant(w, 1), constant({c.co}, 2), scale ? constant({c.co}, 3) : none};
  for (const Shape& shape : operands) inputs.push_back(input(shape));
  g.outputs = {g.add(conv_op, "conv", inputs, attrs)};
  return g;
}

// Tiles of several sizes agree with the reference, and with each other to the bit.
void check(const Graph& graph, Algorithm algorithm) {
  const auto inputs = random_inputs(graph);
  const auto expected = evaluate(graph, inputs);
  ASSERT_EQ(tile(graph, Machine::host()).ops[0].row->algorithm, algorithm);
  TensorPtr first;
  for (double tile_us : {0.0, 1.0, 20.0, 1e6}) {
    const auto actual = run_graph(graph, inputs, {.tile_us = tile_us});
    expect_close(*actual[0], *expected[0], 4e-5);  // a clip leaves less range, not less error
    if (!first) first = actual[0];
    ASSERT_EQ(std::memcmp(first->data, actual[0]->data, first->bytes()), 0) << "tile_us " << tile_us;
  }
}

const Epilogue add_relu{{{{MapOp::add, 0, 1}, {MapOp::relu, 2}}, 2}};
const Epilogue leaky_add{{{{MapOp::leaky_relu, 0, 0, 0, 0.1f}, {MapOp::add, 1, 2}}, 2}};
const Epilogue clip{{{{MapOp::clip, 0, 0, 0, 0.f, 6.f}}, 1}};
const Epilogue swish_gate{{{{MapOp::sigmoid, 0}, {MapOp::mul, 0, 2}, {MapOp::mul, 3, 1}}, 2}};

TEST(BindConvWinograd, MatchesReference) {
  check(conv_graph({{1, 28, 28, 64}, 64, 3, 1, 1, 1}, {}, {}, false), Algorithm::winograd);
  check(conv_graph({{2, 17, 30, 40}, 72, 3, 1, 0, 1}, clip, {}, true), Algorithm::winograd);
  check(conv_graph({{1, 20, 19, 16}, 48, 3, 1, 2, 1}, {}, {}, true), Algorithm::winograd);
}

TEST(BindConvWinograd, Epilogues) {
  const Case c{{2, 16, 18, 32}, 40, 3, 1, 1, 1};
  check(conv_graph(c, add_relu, {{2, 16, 18, 40}}, false), Algorithm::winograd);
  check(conv_graph(c, leaky_add, {{2, 16, 18, 40}}, true), Algorithm::winograd);
  check(conv_graph(c, add_relu, {{1}}, true), Algorithm::winograd);
  check(conv_graph(c, swish_gate, {{2, 1, 1, 40}}, true), Algorithm::winograd);
}

TEST(BindConvDepthwise, MatchesReference) {
  check(conv_graph({{1, 28, 28, 64}, 64, 3, 1, 1, 64}, clip, {}, true), Algorithm::depthwise);
  check(conv_graph({{2, 15, 16, 21}, 21, 5, 2, 2, 21}, {}, {}, false), Algorithm::depthwise);
  check(conv_graph({{1, 13, 12, 8}, 24, 3, 1, 2, 8, 2}, {}, {}, true), Algorithm::depthwise);
  check(conv_graph({{3, 50, 40}, 40, 7, 2, 3, 40}, {}, {}, true), Algorithm::depthwise);
}

TEST(BindConvDepthwise, Epilogues) {
  check(conv_graph({{2, 12, 14, 48}, 48, 3, 1, 1, 48}, add_relu, {{2, 12, 14, 48}}, true), Algorithm::depthwise);
  check(conv_graph({{2, 50, 40}, 40, 7, 1, 3, 40}, add_relu, {{2, 50, 40}}, true), Algorithm::depthwise);
  check(conv_graph({{2, 50, 40}, 40, 7, 1, 3, 40}, swish_gate, {{2, 1, 40}}, false), Algorithm::depthwise);
}

}  // namespace
}  // namespace pando::test
