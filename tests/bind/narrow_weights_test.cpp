// Products whose weights are narrower than float32: of 16 bits, rounded to bfloat16, quantized in blocks. Near the
// operators' references, and the same bits for every size of tiles.
#include <gtest/gtest.h>

#include "base/random.hpp"
#include "bind/run_program.hpp"
#include "graph/ops/ops.hpp"
#include "tile/rows.hpp"

namespace pando::test {
namespace {

void check(const Graph& graph, double tolerance, Precision precision = Precision::model) {
  verify(graph);
  const auto inputs = random_inputs(graph);
  const auto expected = evaluate(graph, inputs);
  TensorPtr first;
  for (double tile_us : {0.0, 1.0, 20.0, 1e6}) {
    TileOptions options;
    options.tile_us = tile_us, options.precision = precision;
    const auto actual = run_graph(graph, inputs, options);
    expect_close(*actual[0], *expected[0], tolerance);
    if (!first) first = actual[0];
    ASSERT_EQ(std::memcmp(first->data, actual[0]->data, first->bytes()), 0) << "tile_us " << tile_us;
  }
}

struct Product {
  Graph g;
  Shape x;
  int64_t k, n;
  std::vector<ValueId> inputs;
  MatMulAttrs attrs;

  explicit Product(Random& random) : k(1 + random.below(random.below(3) ? 80 : 400)), n(1 + random.below(150)) {
    for (uint64_t i = random.below(3); i > 0; i--) x.push_back(1 + static_cast<int64_t>(random.below(3)));
    x.push_back(1 + static_cast<int64_t>(random.below(random.below(2) ? 4 : 40)));
    Shape out = x;
    x.push_back(k), out.push_back(n);
    g.inputs = {g.add_value("x", DType::f32, x)};
    inputs = {g.inputs[0], none, random.below(2) ? constant(DType::f32, {n}) : none};
    if (random.below(3) == 0) {
      attrs.epilogue = {{{{MapOp::add, 0, 1}, {MapOp::relu, 2}}, 2}};
      inputs.push_back(constant(DType::f32, out));
    } else if (random.below(2)) {
      attrs.epilogue = {{{{MapOp::gelu_tanh, 0}}, 1}};
    }
    if (random.below(3) == 0) attrs.alpha = 0.7f;
  }
  ValueId constant(DType type, Shape shape) {
    const auto seed = static_cast<uint32_t>(7 * g.values.size());
    return g.add_constant("", random_tensor(type, std::move(shape), seed, -0.3f, 0.3f));
  }
  void finish(ValueId weights) {
    inputs[1] = weights;
    g.outputs = {g.add(matmul_op, "matmul", inputs, attrs)};
  }
};

TEST(BindNarrowWeights, ProductsOf16Bits) {
  Random random(1);
  for (int trial = 0; trial < 60; trial++) {
    Product p(random);
    p.attrs.trans_b = random.below(2);
    const DType type = random.below(2) ? DType::f16 : DType::bf16;
    p.finish(p.constant(type, p.attrs.trans_b ? Shape{p.n, p.k} : Shape{p.k, p.n}));
    check(p.g, 1e-3, Precision::fp32);
    if (HasFatalFailure()) return;
    check(p.g, 2e-2, Precision::bf16);
    if (HasFatalFailure()) return;
  }
}

TEST(BindNarrowWeights, ConvolutionsOf16Bits) {
  Random random(2);
  for (int trial = 0; trial < 40; trial++) {
    Graph g;
    const int64_t side = 4 + static_cast<int64_t>(random.below(30)), group = random.below(4) ? 1 : 2;
    const int64_t ci = group * (1 + static_cast<int64_t>(random.below(24))), co = group * 8 * (1 + random.below(5));
    const int64_t kernel = 1 + 2 * static_cast<int64_t>(random.below(2)), stride = 1 + random.below(2);
    g.inputs = {g.add_value("x", DType::f32, {1, side, side, ci})};
    const bool depthwise = random.below(5) == 0;
    const DType type = random.below(2) ? DType::f16 : DType::bf16;
    const ConvAttrs attrs{{stride, stride},       {1, 1}, {kernel / 2, kernel / 2}, {kernel / 2, kernel / 2},
                          depthwise ? ci : group, {}};
    const Shape w{depthwise ? ci : co, depthwise ? 1 : ci / group, kernel, kernel};
    g.outputs = {g.add(conv_op, "conv",
                       {g.inputs[0], g.add_constant("", random_tensor(type, w, 5, -0.3f, 0.3f)),
                        g.add_constant("", random_tensor(DType::f32, {w[0]}, 6))},
                       attrs)};
    check(g, 1e-4, Precision::fp32);
    if (HasFatalFailure()) return;
    check(g, 2e-2, Precision::bf16);
    if (HasFatalFailure()) return;
  }
}

TEST(BindNarrowWeights, ProductsInBlocks) {
  Random random(3);
  for (int trial = 0; trial < 80; trial++) {
    Product p(random);
    p.attrs.blocks.size = int64_t{16} << random.below(4);
    p.attrs.blocks.bits = random.below(2) ? 4 : 8;
    const BlockFormat& f = p.attrs.blocks;
    auto rows = std::const_pointer_cast<Tensor>(random_tensor(DType::u8, {p.n, f.row_bytes(p.k)}, 1));
    for (int64_t i = 0; i < p.n * f.blocks(p.k); i++) {
      std::byte* at = writable(*rows) + i * f.block_bytes();
      const float scale = 0.002f + 0.001f * static_cast<float>(i % 7);
      std::memcpy(at, &scale, sizeof scale);
      for (int64_t b = 5; b < f.block_bytes(); b++) at[b] = static_cast<std::byte>(random.below(256));
    }
    p.attrs.rounds_rows = random.below(2);
    p.finish(p.g.add_constant("", rows));
    check(p.g, p.attrs.rounds_rows ? 3e-2 : 1e-3);
    if (HasFatalFailure()) return;
  }
}

}  // namespace
}  // namespace pando::test
