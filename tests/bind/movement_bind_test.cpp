// Movement operators run tile by tile against their references: chains in which some are addresses and some copies.
#include <gtest/gtest.h>

#include "bind/run_program.hpp"
#include "graph/ops/ops.hpp"

namespace pando {
namespace {

using Rng = std::mt19937;
int64_t pick(Rng& rng, int64_t lo, int64_t hi) { return std::uniform_int_distribution<int64_t>(lo, hi)(rng); }

struct Built {
  Graph graph;
  ValueId add(const OpDef& op, std::vector<ValueId> inputs, Attributes attrs) {
    return graph.add(op, op.name, std::move(inputs), std::move(attrs));
  }
  ValueId transpose(Rng& rng, ValueId v) {
    TransposeAttrs a;
    for (size_t i = 0; i < graph.shape(v).size(); i++) a.perm.push_back(static_cast<int64_t>(i));
    std::shuffle(a.perm.begin(), a.perm.end(), rng);
    return add(transpose_op, {v}, a);
  }
  ValueId slice(Rng& rng, ValueId v) {
    SliceAttrs a;
    for (int64_t d : graph.shape(v)) {
      int64_t size = pick(rng, (d + 1) / 2, d);
      bool back = size > 1 && pick(rng, 0, 3) == 0;
      a.starts.push_back(back ? size - 1 : pick(rng, 0, d - size));
      a.steps.push_back(back ? -1 : 1);
      a.sizes.push_back(size);
    }
    return add(slice_op, {v}, a);
  }
  ValueId reshape(Rng& rng, ValueId v) {
    int64_t n = element_count(graph.shape(v)), d = pick(rng, 1, n);
    while (n % d) d--;
    return add(reshape_op, {v}, ReshapeAttrs{{d, n / d}});
  }
  ValueId expand(Rng& rng, ValueId v) {
    Shape shape = graph.shape(v);
    if (shape.size() < 5) shape.insert(shape.begin(), pick(rng, 1, 3));
    return add(expand_op, {v}, ExpandAttrs{shape});
  }
  ValueId pad(Rng& rng, ValueId v) {
    PadAttrs a{{}, {}, pick(rng, 0, 3) ? PadMode::constant : PadMode::edge, 1.5};
    for (int64_t d : graph.shape(v)) {
      a.begin.push_back(pick(rng, d > 1 ? -1 : 0, 2));
      a.end.push_back(pick(rng, 0, 2));
    }
    return add(pad_op, {v}, a);
  }
  ValueId concat(Rng& rng, ValueId v) {
    int64_t axis = pick(rng, 0, static_cast<int64_t>(graph.shape(v).size()) - 1);
    return add(concat_op, {v, slice_axis(rng, v, axis), v}, ConcatAttrs{axis});
  }
  ValueId slice_axis(Rng& rng, ValueId v, int64_t axis) {
    const Shape& shape = graph.shape(v);
    SliceAttrs a{Shape(shape.size(), 0), Shape(shape.size(), 1), shape};
    a.sizes[axis] = pick(rng, 1, shape[axis]);
    return add(slice_op, {v}, a);
  }
};

TEST(MovementBind, ChainsMatchTheReference) {
  Rng rng(1);
  for (int trial = 0; trial < 150; trial++) {
    Built b;
    DType dtype = std::array{DType::f32, DType::u8, DType::i64, DType::f16}[static_cast<size_t>(pick(rng, 0, 3))];
    Shape shape(static_cast<size_t>(pick(rng, 1, 4)));
    for (int64_t& d : shape) d = pick(rng, 1, trial % 5 ? 7 : 20);
    ValueId v = b.graph.add_value("x", dtype, shape);
    b.graph.inputs = {v};
    for (int64_t n = pick(rng, 1, 5); n > 0 && element_count(b.graph.shape(v)) < 20000; n--) {
      switch (pick(rng, 0, 5)) {
        case 0: v = b.transpose(rng, v); break;
        case 1: v = b.slice(rng, v); break;
        case 2: v = b.reshape(rng, v); break;
        case 3: v = b.expand(rng, v); break;
        case 4: v = b.pad(rng, v); break;
        default: v = b.concat(rng, v);
      }
      if (pick(rng, 0, 5) == 0) b.graph.outputs.push_back(v);
    }
    if (std::find(b.graph.outputs.begin(), b.graph.outputs.end(), v) == b.graph.outputs.end())
      b.graph.outputs.push_back(v);
    for (size_t i = 0; i < b.graph.outputs.size(); i++) b.graph.values[b.graph.outputs[i]].name = fmt::format("y{}", i);
    auto inputs = test::random_inputs(b.graph, static_cast<uint32_t>(trial));
    auto want = test::evaluate(b.graph, inputs);
    TileOptions options;
    options.tile_us = trial % 2 ? 0.05 : 0;
    auto got = test::run_graph(b.graph, inputs, options);
    ASSERT_EQ(got.size(), want.size());
    for (size_t i = 0; i < got.size(); i++)
      ASSERT_EQ(std::memcmp(got[i]->data, want[i]->data, want[i]->bytes()), 0) << "trial " << trial;
  }
}

}  // namespace
}  // namespace pando
