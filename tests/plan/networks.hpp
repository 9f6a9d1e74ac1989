// Small networks for the tests of planning.
#pragma once
#include "graph/ops/ops.hpp"
#include "plan/cost/cost_model.hpp"
#include "train/add_training.hpp"

namespace pando::plan {

// Every task takes as many nanoseconds as its node has thousands of arithmetic operations.
class Counting : public CostModel {
 public:
  const char* name() const override { return "counting"; }
  int64_t compute_ns(const Work& work, const Box& box, const DeviceKind&) const override {
    return static_cast<int64_t>(work.operations(box) / 1e3);
  }
};

struct NetWriter {
  Graph g;
  int count = 0;
  std::string next(const char* what) { return std::string(what) + std::to_string(count++); }
  ValueId input(Shape shape) {
    ValueId v = g.add_value("x", DType::f32, std::move(shape));
    g.inputs.push_back(v);
    return v;
  }
  ValueId weight(Shape shape) { return g.add_constant(next("w"), make_tensor(DType::f32, std::move(shape))); }
  ValueId conv(ValueId x, int64_t out, int64_t kernel, int64_t stride = 1) {
    int64_t in = g.shape(x).back(), pad = kernel / 2;
    ConvAttrs a{{stride, stride}, {1, 1}, {pad, pad}, {pad, pad}, 1, {}};
    a.epilogue.program.code = {{MapOp::relu, 0}};
    ValueId w = weight({out, in, kernel, kernel}), b = weight({out});
    std::string name = next("conv");
    return g.add(conv_op, name, {x, w, b, none}, a, name);
  }
  ValueId pool(ValueId x, int64_t kernel, int64_t stride) {
    const Shape& s = g.shape(x);
    int64_t pad = kernel / 2;
    PoolAttrs a{PoolKind::max, {kernel, kernel}, {stride, stride}, {1, 1}, {pad, pad}, {pad, pad}, {}};
    for (int i = 1; i < 3; i++) a.out_spatial.push_back((s[static_cast<size_t>(i)] + 2 * pad - kernel) / stride + 1);
    std::string name = next("pool");
    return g.add(pool_op, name, {x}, a, name);
  }
  ValueId add(ValueId a, ValueId b) {
    MapAttrs m;
    m.program.inputs = 2;
    m.program.code = {{MapOp::add, 0, 1}};
    std::string name = next("add");
    return g.add(map_op, name, {a, b}, m, name);
  }
  ValueId concat(std::vector<ValueId> parts) {
    std::string name = next("concat");
    return g.add(concat_op, name, std::move(parts), ConcatAttrs{3}, name);
  }
  ValueId flat(ValueId x) {
    const Shape& s = g.shape(x);
    return g.add(reshape_op, next("flat"), {x}, ReshapeAttrs{{s[0], element_count(s) / s[0]}});
  }
  ValueId dense(ValueId x, int64_t out) {
    MatMulAttrs m;
    ValueId w = weight({g.shape(x)[1], out}), b = weight({out});
    std::string name = next("dense");
    return g.add(matmul_op, name, {x, w, b}, m, name);
  }
  // Values of all steps and of all cells.
  std::vector<ValueId> lstm(ValueId x, ValueId w, ValueId r, ValueId h = none, ValueId c = none) {
    std::string name = next("lstm");
    NodeId n = g.add_node(recurrent_op, name, {x, w, r, none, h, c}, RecurrentAttrs{}, {name, name + " cells"});
    return g.nodes[n].outputs;
  }
  // Step t of a sequence, as a state.
  ValueId step(ValueId y, int64_t t) {
    const Shape& s = g.shape(y);
    ValueId one = g.add(slice_op, next("slice"), {y}, SliceAttrs{{0, t, 0}, {1, 1, 1}, {s[0], 1, s[2]}});
    return g.add(reshape_op, next("state"), {one}, ReshapeAttrs{{s[0], s[2]}});
  }
};

// `layers` recurrent layers over `cells` cells of `steps` steps each, that share a layer's weights.
inline Graph recurrent_network(int layers, int cells, int64_t batch, int64_t steps, int64_t width, bool training) {
  NetWriter n;
  n.g.name = "recurrent";
  std::vector<ValueId> x;
  for (int c = 0; c < cells; c++) x.push_back(n.input({batch, steps, width}));
  for (int l = 0; l < layers; l++) {
    ValueId w = n.weight({4, width, width}), r = n.weight({4, width, width}), h = none, cell = none;
    for (ValueId& v : x) {
      std::vector<ValueId> out = n.lstm(v, w, r, h, cell);
      v = out[0];
      h = n.step(out[0], steps - 1);
      cell = n.step(out[1], steps - 1);
    }
  }
  n.g.outputs = x;
  remove_dead(n.g);
  return training ? add_training(std::move(n.g), Loss::mean_square) : std::move(n.g);
}

// Convolutions, a residual, a branch with concat, pooling, two dense layers.
inline Graph small_network(int64_t batch = 16, bool training = true) {
  NetWriter n;
  n.g.name = "small";
  ValueId x = n.pool(n.conv(n.input({batch, 32, 32, 3}), 16, 3), 3, 2);
  x = n.add(n.conv(n.conv(x, 16, 3), 16, 3), x);
  x = n.concat({n.conv(x, 16, 1), n.conv(n.conv(x, 8, 1), 32, 5), n.pool(x, 3, 1)});
  x = n.pool(x, 3, 2);
  x = n.dense(n.dense(n.flat(x), 256), 32);
  n.g.outputs = {x};
  return training ? add_training(std::move(n.g)) : std::move(n.g);
}

// A chain of `layers` equal dense layers.
inline Graph dense_chain(int layers, int64_t batch, int64_t width, bool training) {
  NetWriter n;
  n.g.name = "chain";
  ValueId x = n.input({batch, width});
  for (int i = 0; i < layers; i++) x = n.dense(x, width);
  n.g.outputs = {x};
  return training ? add_training(std::move(n.g), Loss::mean_square) : std::move(n.g);
}

}  // namespace pando::plan
