// Small networks with random weights, random plans, and inputs for them.
#pragma once
#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "../plan/networks.hpp"
#include "dist/emulator.hpp"
#include "optimize/optimize.hpp"
#include "plan/search/baselines.hpp"

namespace pando::dist {

struct Net : plan::NetWriter {
  std::mt19937 random{7};
  std::vector<float> floats(int64_t count, float scale = 1) {
    std::vector<float> out;
    for (int64_t i = 0; i < count; i++) out.push_back(scale * (static_cast<float>(random() >> 8) * 0x1p-23f - 1));
    return out;
  }
  ValueId weight(Shape shape, float scale = 0.2f) {
    int64_t count = element_count(shape);
    return g.add_constant(next("w"), make_constant(DType::f32, std::move(shape), floats(count, scale)));
  }
  ValueId image(Shape shape) { return input(std::move(shape)); }
  ValueId conv(ValueId x, int64_t out, int64_t kernel, int64_t stride = 1, int64_t group = 1, ValueId residual = none) {
    int64_t in = g.shape(x).back(), pad = kernel / 2;
    ConvAttrs a{{stride, stride}, {1, 1}, {pad, pad}, {pad, pad}, group, {}};
    std::vector<ValueId> inputs{x, weight({out, in / group, kernel, kernel}), weight({out}), none};
    a.epilogue.program.code = {{MapOp::relu, 0}};
    if (residual != none) {
      a.epilogue.program = {{{MapOp::add, 0, 1}, {MapOp::relu, 2}}, 2};
      inputs.push_back(residual);
    }
    return g.add(conv_op, next("conv"), inputs, a);
  }
  ValueId linear(ValueId x, int64_t out) {
    return g.add(matmul_op, next("linear"), {x, weight({g.shape(x).back(), out}), weight({out})}, MatMulAttrs{});
  }
  ValueId reshape(ValueId x, Shape shape) {
    return g.add(reshape_op, next("reshape"), {x}, ReshapeAttrs{std::move(shape)});
  }
};

// Winograd, direct, depthwise and grouped convolutions, a residual, branches that meet in a concat, pools, a dense
// layer.
inline Graph small_cnn(int64_t batch) {
  Net n;
  n.g.name = "cnn";
  ValueId x = n.conv(n.image({batch, 30, 22, 3}), 32, 3, 1);
  x = n.conv(x, 40, 3);  // Winograd
  x = n.conv(n.conv(x, 40, 1), 40, 3, 1, 1, x);
  x = n.conv(x, 40, 3, 1, 40);
  x = n.pool(x, 3, 2);
  x = n.concat({n.conv(x, 24, 1), n.conv(n.conv(x, 16, 1), 32, 3, 1, 2), n.pool(x, 3, 1)});
  x = n.g.add(reduce_op, "mean", {x}, ReduceAttrs{ReduceKind::mean, {1, 2}});
  ValueId y = n.linear(n.reshape(x, {batch, n.g.shape(x)[3]}), 70);
  n.g.outputs = {y};
  return std::move(n.g);
}

// One layer with 4 heads, a norm and a dense layer; tokens are sliced off at the end.
inline Graph small_attention(int64_t batch, int64_t length = 70) {
  Net n;
  n.g.name = "attention";
  constexpr int64_t width = 64, heads = 4;
  ValueId x = n.input({batch, length, width});
  auto split = [&](ValueId v) { return n.reshape(v, {batch, length, heads, width / heads}); };
  ValueId q = split(n.linear(x, width)), k = split(n.linear(x, width)), v = split(n.linear(x, width));
  ValueId a = n.g.add(attention_op, "attention", {q, k, v}, AttentionAttrs{0.25f, false});
  ValueId y = n.add(n.linear(n.reshape(a, {batch, length, width}), width), x);
  y = n.g.add(norm_op, "norm", {y, n.weight({width}), n.weight({width})}, NormAttrs{2});
  ValueId first = n.g.add(slice_op, "first", {y}, SliceAttrs{{0, 0, 0}, {1, 1, 1}, {batch, 1, width}});
  ValueId z = n.linear(n.reshape(first, {batch, width}), 33);
  n.g.outputs = {y, z};
  return std::move(n.g);
}

// Any degrees of dimensions that may be cut, sometimes in unequal pieces, on any devices.
inline std::vector<plan::Config> wild_plan(const plan::Space& space, std::mt19937& random, bool reductions = false) {
  auto below = [&](uint64_t n) { return random() % n; };
  std::vector<plan::Config> plan;
  for (const plan::PlannedOp& op : space.ops()) {
    plan::Config c;
    const OpDef* kind = space.graph().nodes[op.node].op;
    for (int d = 0; d < op.domain.rank; d++) {
      Tag tag = op.domain[d].tag;
      if (tag == Tag::whole || below(2)) continue;
      bool cuttable = kind == &matmul_op || kind == &reduce_op ||
                      (kind == &conv_op && space.view(op.node).as<ConvAttrs>().group == 1);
      if (tag == Tag::reduction && (!reductions || !cuttable)) continue;
      auto degree = static_cast<uint16_t>(1 + below(std::min<uint64_t>(static_cast<uint64_t>(op.domain[d].extent), 4)));
      if (c.split.parts() * degree > 12) continue;
      c.split.degree[static_cast<size_t>(d)] = degree;
      if (degree == 1 || below(2)) continue;
      if (c.split.ratios.empty()) c.split.ratios.assign(max_rank, {});
      for (int i = 0; i < degree; i++)
        c.split.ratios[static_cast<size_t>(d)].push_back(1 + static_cast<double>(below(8)) / 4);
      for (int i = 0; i < degree; i++)
        if (c.split.piece(d, op.domain[d].extent, i).empty()) c.split.ratios[static_cast<size_t>(d)].clear();
    }
    for (uint32_t i = 0; i < c.split.parts(); i++)
      c.devices.push_back(static_cast<uint32_t>(below(space.cluster().size())));
    plan.push_back(std::move(c));
  }
  return plan;
}

struct Inputs {
  std::vector<std::vector<float>> data;
  std::vector<const std::byte*> pointers;
  explicit Inputs(const Graph& g) {
    Net n;
    for (ValueId v : g.inputs) data.push_back(n.floats(element_count(g.shape(v))));
    for (auto& d : data) pointers.push_back(reinterpret_cast<const std::byte*>(d.data()));
  }
};

// The largest difference of the outputs from those of the unsplit run, relative to the output's largest element; 0 only
// for the same bits.
inline double difference(const PartProgram& program, const Emulator& emulator,
                         const std::vector<std::vector<std::byte>>& expected) {
  double worst = 0;
  for (uint32_t i = 0; i < expected.size(); i++) {
    const std::byte* got = emulator.output(program, i);
    if (std::memcmp(got, expected[i].data(), expected[i].size()) == 0) continue;
    const auto *a = reinterpret_cast<const float*>(got), *b = reinterpret_cast<const float*>(expected[i].data());
    double range = 0, most = 1e-30;
    for (size_t k = 0; k < expected[i].size() / 4; k++) {
      range = std::max<double>(range, std::abs(b[k]));
      double d = std::abs(static_cast<double>(a[k]) - b[k]);
      most = std::max(most, d == d ? d : 1e30);
    }
    worst = std::max(worst, most / std::max(range, 1e-30));
  }
  return worst;
}

}  // namespace pando::dist
