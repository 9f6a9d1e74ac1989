// Graphs as the importer makes them of exporters' files: channels first, one instruction a map, transposes at every
// conv and pool.
#pragma once
#include "graph/ops/ops.hpp"
#include "optimize/pass_list.hpp"
#include "support/evaluate.hpp"

namespace pando::test {

class Builder {
 public:
  Graph g;

  ValueId input(Shape shape, DType dtype = DType::f32) {
    ValueId v = g.add_value("in" + std::to_string(g.inputs.size()), dtype, std::move(shape));
    g.inputs.push_back(v);
    return v;
  }
  Graph done(std::vector<ValueId> outputs) {
    for (ValueId v : outputs) {
      if (g.values[v].name.empty()) g.values[v].name = "out" + std::to_string(g.outputs.size());
      g.outputs.push_back(v);
    }
    return std::move(g);
  }
  ValueId weights(Shape shape, float lo = -1, float hi = 1) {
    return g.add_constant("", random_tensor(DType::f32, std::move(shape), seed_++, lo, hi));
  }
  ValueId scalar(float x) { return g.add_constant("", make_constant<float>(DType::f32, {}, {x})); }
  ValueId map(MapOp op, std::vector<ValueId> inputs, float p0 = 0, float p1 = 0, DType out = DType::f32) {
    MapAttrs a;
    a.program.inputs = static_cast<int>(inputs.size());
    a.program.code.push_back({op, 0, static_cast<uint8_t>(inputs.size() > 1 ? 1 : 0),
                              static_cast<uint8_t>(inputs.size() > 2 ? 2 : 0), p0, p1});
    a.out = out;
    return g.add(map_op, "map", std::move(inputs), a);
  }
  ValueId add(ValueId a, ValueId b) { return map(MapOp::add, {a, b}); }
  ValueId mul(ValueId a, ValueId b) { return map(MapOp::mul, {a, b}); }
  ValueId relu(ValueId a) { return map(MapOp::relu, {a}); }
  ValueId transpose(ValueId x, std::vector<int64_t> perm) {
    return g.add(transpose_op, "transpose", {x}, TransposeAttrs{std::move(perm)});
  }
  ValueId reshape(ValueId x, Shape shape) { return g.add(reshape_op, "reshape", {x}, ReshapeAttrs{std::move(shape)}); }
  ValueId nhwc(ValueId x) { return transpose(x, {0, 2, 3, 1}); }
  ValueId nchw(ValueId x) { return transpose(x, {0, 3, 1, 2}); }

  ValueId conv(ValueId x, int64_t co, int64_t k, int64_t stride = 1, int64_t group = 1) {
    ConvAttrs a{{stride, stride}, {1, 1}, {k / 2, k / 2}, {k / 2, k / 2}, group, {}};
    ValueId w = weights({co, g.shape(x)[1] / group, k, k}, -0.5f, 0.5f);
    return nchw(g.add(conv_op, "conv", {nhwc(x), w}, a));
  }
  ValueId batch_norm(ValueId x) {
    int64_t c = g.shape(x)[1];
    return add(mul(x, weights({c, 1, 1}, 0.5f, 2)), weights({c, 1, 1}));
  }
  ValueId conv_bn_relu(ValueId x, int64_t co, int64_t k, int64_t stride = 1) {
    return relu(batch_norm(conv(x, co, k, stride)));
  }
  ValueId bottleneck(ValueId x, int64_t mid, int64_t out, int64_t stride) {
    ValueId shortcut = g.shape(x)[1] == out && stride == 1 ? x : batch_norm(conv(x, out, 1, stride));
    ValueId y = conv_bn_relu(x, mid, 1);
    y = conv_bn_relu(y, mid, 3, stride);
    return relu(add(batch_norm(conv(y, out, 1)), shortcut));
  }
  ValueId max_pool(ValueId x, int64_t k, int64_t stride) {
    PoolAttrs a{PoolKind::max, {k, k}, {stride, stride}, {1, 1}, {k / 2, k / 2}, {k / 2, k / 2}, {}, false, 2};
    for (int i = 2; i < 4; i++) a.out_spatial.push_back((g.shape(x)[i] + 2 * (k / 2) - k) / stride + 1);
    return nchw(g.add(pool_op, "pool", {nhwc(x)}, a));
  }
  ValueId mean(ValueId x, std::vector<int64_t> axes) {
    return g.add(reduce_op, "mean", {x}, ReduceAttrs{ReduceKind::mean, std::move(axes)});
  }
  ValueId concat(std::vector<ValueId> xs, int64_t axis) {
    return g.add(concat_op, "concat", std::move(xs), ConcatAttrs{axis});
  }
  ValueId slice(ValueId x, int64_t axis, int64_t start, int64_t size, int64_t step = 1) {
    SliceAttrs a{Shape(g.shape(x).size(), 0), Shape(g.shape(x).size(), 1), g.shape(x)};
    a.starts[axis] = start, a.sizes[axis] = size, a.steps[axis] = step;
    return g.add(slice_op, "slice", {x}, a);
  }
  ValueId matmul(ValueId a, ValueId b, MatMulAttrs attrs = {}) { return g.add(matmul_op, "matmul", {a, b}, attrs); }
  ValueId softmax(ValueId x) {
    return g.add(softmax_op, "softmax", {x}, SoftmaxAttrs{static_cast<int64_t>(g.shape(x).size()) - 1, false});
  }
  ValueId linear(ValueId x, int64_t n) {
    return add(matmul(x, weights({g.shape(x).back(), n}, -0.3f, 0.3f)), weights({n}));
  }
  ValueId gemm(ValueId x, int64_t n) {  // GPT-2's Conv1D: rows flattened, bias inside
    Shape shape = g.shape(x);
    ValueId flat = reshape(x, {element_count(shape) / shape.back(), shape.back()});
    ValueId y = g.add(matmul_op, "gemm", {flat, weights({shape.back(), n}, -0.3f, 0.3f), weights({n})}, MatMulAttrs{});
    shape.back() = n;
    return reshape(y, shape);
  }
  ValueId layer_norm(ValueId x) {
    int64_t last = static_cast<int64_t>(g.shape(x).size()) - 1, c = g.shape(x).back();
    ValueId d = map(MapOp::sub, {x, mean(x, {last})});
    ValueId variance = mean(map(MapOp::pow, {d, scalar(2)}), {last});
    ValueId deviation = map(MapOp::sqrt, {add(variance, scalar(1e-5f))});
    return add(mul(map(MapOp::div, {d, deviation}), weights({c})), weights({c}));
  }
  ValueId gelu_erf(ValueId x) {
    ValueId e = map(MapOp::erf, {map(MapOp::div, {x, scalar(1.41421356f)})});
    return mul(mul(x, add(e, scalar(1))), scalar(0.5f));
  }
  ValueId gelu_tanh(ValueId x) {
    ValueId u = mul(map(MapOp::pow, {x, scalar(3)}), scalar(0.044715f));
    u = map(MapOp::tanh, {mul(add(x, u), scalar(0.7978845608f))});
    return mul(mul(x, scalar(0.5f)), add(u, scalar(1)));
  }
  ValueId heads(ValueId x, int64_t h, std::vector<int64_t> perm) {
    Shape s = g.shape(x);
    return transpose(reshape(x, {s[0], s[1], h, s[2] / h}), std::move(perm));
  }
  ValueId merge_heads(ValueId x) {
    Shape s = g.shape(x);
    return reshape(transpose(x, {0, 2, 1, 3}), {s[0], s[2], s[1] * s[3]});
  }
  ValueId bert_layer(ValueId x, int64_t h, ValueId mask) {
    int64_t c = g.shape(x).back();
    ValueId q = heads(linear(x, c), h, {0, 2, 1, 3}), k = heads(linear(x, c), h, {0, 2, 3, 1});
    ValueId v = heads(linear(x, c), h, {0, 2, 1, 3});
    ValueId s = map(MapOp::div, {matmul(q, k), scalar(std::sqrt(static_cast<float>(c / h)))});
    if (mask != none) s = add(s, mask);
    ValueId y = merge_heads(matmul(softmax(s), v));
    x = layer_norm(add(linear(y, c), x));
    return layer_norm(add(linear(gelu_erf(linear(x, 4 * c)), c), x));
  }
  ValueId gpt2_layer(ValueId x, int64_t h) {
    int64_t c = g.shape(x).back(), s = g.shape(x)[1];
    ValueId qkv = gemm(layer_norm(x), 3 * c);
    ValueId q = heads(slice(qkv, 2, 0, c), h, {0, 2, 1, 3}), k = heads(slice(qkv, 2, c, c), h, {0, 2, 3, 1});
    ValueId v = heads(slice(qkv, 2, 2 * c, c), h, {0, 2, 1, 3});
    ValueId scores = map(MapOp::div, {matmul(q, k), scalar(std::sqrt(static_cast<float>(c / h)))});
    std::vector<uint8_t> seen;
    for (int64_t i = 0; i < s * s; i++) seen.push_back(i % s <= i / s);
    ValueId mask = g.add_constant("", make_constant(DType::boolean, {1, 1, s, s}, seen));
    scores = map(MapOp::where, {mask, scores, scalar(-1e4f)});
    ValueId y = gemm(merge_heads(matmul(softmax(scores), v)), c);
    x = add(y, x);
    return add(gemm(gelu_tanh(gemm(layer_norm(x), 4 * c)), c), x);
  }

 private:
  uint32_t seed_ = 100;
};

// Every pass that the options leave keeps the graph sound and its outputs; returns the optimized graph.
inline Graph check_optimize(const Graph& before, double tolerance = 1e-4, OptimizeOptions options = {}) {
  std::vector<TensorPtr> inputs = random_inputs(before, 7), expected = evaluate(before, inputs);
  options.verify = true;
  options.observe = [&](const PassRun& run, const Graph& graph) {
    if (::testing::Test::HasFailure()) return;  // the first pass that fails says it all
    SCOPED_TRACE("after pass " + run.name);
    std::vector<TensorPtr> actual = evaluate(graph, inputs);
    ASSERT_EQ(actual.size(), expected.size());
    for (size_t i = 0; i < expected.size(); i++) {
      EXPECT_EQ(graph.values[graph.outputs[i]].name, before.values[before.outputs[i]].name);
      expect_close(*actual[i], *expected[i], tolerance);
    }
  };
  return optimize(before, options);
}

}  // namespace pando::test
