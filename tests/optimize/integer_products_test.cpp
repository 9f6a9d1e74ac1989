// Products between DequantizeLinear and QuantizeLinear: when they become integer ones, and what comes out.
#include "optimize/integer_products.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "graph/ops/common.hpp"
#include "graph/quantization.hpp"
#include "optimize/models.hpp"

namespace pando::test {
namespace {

template <class T>
TensorPtr bytes(DType type, Shape shape, uint32_t seed) {
  auto t = make_tensor(type, std::move(shape));
  std::mt19937 random(seed);
  for (int64_t i = 0; i < element_count(t->shape); i++) store(writable(*t), i, static_cast<T>(random()));
  return t;
}

std::vector<uint8_t> bytes_of(const Tensor& t) {
  const auto* first = reinterpret_cast<const uint8_t*>(t.data);
  return {first, first + t.bytes()};
}

// y = QuantizeLinear(activation(MatMul(DequantizeLinear(x), DequantizeLinear(w)) + bias)).
struct Quantized {
  static constexpr int64_t m = 3, k = 20, n = 5;
  Builder b;
  TensorPtr x = bytes<uint8_t>(DType::u8, {m, k}, 1), w;
  std::vector<float> w_scale{0.01f, 0.02f, 0.003f, 0.05f, 0.011f};
  std::vector<int> w_zero;  // empty: none
  float x_scale = 0.037f, y_scale = 0.11f;
  int x_zero = 117, y_zero = 31;
  std::vector<int> bias{1, -2000, 333, 0, 77};
  MapOp activation = MapOp::copy;

  ValueId vector(const std::vector<float>& list) {
    auto t = make_tensor(DType::f32, {static_cast<int64_t>(list.size())});
    std::memcpy(writable(*t), list.data(), t->bytes());
    return b.g.add_constant("", t);
  }
  // The product before its end, float32.
  ValueId product() {
    const ValueId in = b.input({m, k}, DType::u8), weights = b.g.add_constant("w", w);
    const ValueId a = b.g.add(map_op, "dx", {in}, dequantize_program(-x_zero, x_scale));
    std::vector<ValueId> operands{weights, vector(w_scale)};
    std::optional<double> offset = -0.0;
    if (!w_zero.empty()) {
      auto zero = make_tensor(w->dtype, {n});
      for (size_t i = 0; i < w_zero.size(); i++) writable(*zero)[i] = static_cast<std::byte>(w_zero[i]);
      operands.push_back(b.g.add_constant("", zero));
      offset.reset();
    }
    const ValueId d = b.g.add(map_op, "dw", operands, dequantize_program(offset, std::nullopt));
    std::vector<float> real;
    for (size_t i = 0; i < bias.size(); i++) real.push_back(static_cast<float>(bias[i]) * (x_scale * w_scale[i]));
    return b.g.add(matmul_op, "product", {a, d, bias.empty() ? none : vector(real)}, MatMulAttrs{});
  }
  Graph graph() {
    ValueId y = product();
    if (activation != MapOp::copy) y = b.map(activation, {y}, 0, 2);
    return b.done({b.g.add(map_op, "q", {y, b.scalar(y_scale)}, quantize_program(DType::u8, 0, 255, y_zero))});
  }
  int weight(int64_t p, int64_t o) const {
    const auto byte = static_cast<uint8_t>(w->data[p * n + o]);
    const int value = w->dtype == DType::i8 ? static_cast<int8_t>(byte) : byte;
    return value - (w_zero.empty() ? 0 : w_zero[static_cast<size_t>(o)]);
  }
  std::vector<uint8_t> expected() const {
    std::vector<uint8_t> list;
    for (int64_t i = 0; i < m; i++)
      for (int64_t o = 0; o < n; o++) {
        int64_t sum = bias.empty() ? 0 : bias[static_cast<size_t>(o)];
        for (int64_t p = 0; p < k; p++)
          sum += int64_t{static_cast<uint8_t>(x->data[i * k + p]) - x_zero} * weight(p, o);
        const float factor = (x_scale * w_scale[static_cast<size_t>(o)]) / y_scale;
        float v = static_cast<float>(sum) * factor;
        if (activation == MapOp::relu) v = std::max(v, 0.0f);
        if (activation == MapOp::clip) v = std::min(std::max(v, 0.0f), 2 / y_scale);
        list.push_back(static_cast<uint8_t>(std::clamp(std::nearbyint(v) + static_cast<float>(y_zero), 0.0f, 255.0f)));
      }
    return list;
  }
  void check() {
    const Graph before = graph();
    verify(before);
    const Graph after = optimize(before);
    ASSERT_EQ(after.nodes.size(), 1u);
    EXPECT_EQ(after.nodes[0].op, &matmul_op);
    const TensorPtr y = evaluate(after, {x})[0];
    EXPECT_EQ(bytes_of(*y), expected());
  }
};

TEST(IntegerProducts, FollowTheFormula) {
  for (MapOp activation : {MapOp::copy, MapOp::relu, MapOp::clip})
    for (int kind = 0; kind < 4; kind++) {
      Quantized q;
      q.activation = activation;
      q.w = kind < 2 ? bytes<int8_t>(DType::i8, {q.k, q.n}, 2) : bytes<uint8_t>(DType::u8, {q.k, q.n}, 3);
      if (kind >= 2) q.w_zero.assign(q.n, 128);
      if (kind % 2 == 1) q.bias.clear();
      q.check();
    }
}

TEST(IntegerProducts, WithoutQuantizeLinearGiveFloats) {
  Quantized q;
  q.w = bytes<int8_t>(DType::i8, {q.k, q.n}, 2);
  const Graph before = q.b.done({q.product()});
  const Graph after = optimize(before);
  ASSERT_EQ(after.nodes.size(), 1u);
  EXPECT_EQ(after.values[after.nodes[0].inputs[0]].dtype, DType::u8);
  expect_close(*evaluate(after, {q.x})[0], *evaluate(before, {q.x})[0], 1e-5);
}

// What is moved between the operators is moved as bytes.
TEST(IntegerProducts, FollowTheirOperandThroughMovement) {
  Quantized q;
  q.w = bytes<int8_t>(DType::i8, {q.k, q.n}, 2);
  Builder& b = q.b;
  const ValueId in = b.input({q.k, q.m}, DType::u8), weights = b.g.add_constant("w", q.w);
  const ValueId a = b.g.add(map_op, "dx", {in}, dequantize_program(-q.x_zero, q.x_scale));
  const ValueId d = b.g.add(map_op, "dw", {weights, q.vector(q.w_scale)}, dequantize_program(-0.0, std::nullopt));
  const ValueId rows = b.reshape(b.transpose(a, {1, 0}), {1, q.m, q.k});
  const ValueId y = b.g.add(matmul_op, "product", {rows, d, none}, MatMulAttrs{});
  const Graph before = b.done({b.g.add(map_op, "q", {y, b.scalar(q.y_scale)}, quantize_program(DType::u8, 0, 255, 3))});
  const Graph after = optimize(before);
  int products = 0;
  for (const Node& node : after.nodes)
    products += node.op == &matmul_op && after.values[node.inputs[0]].dtype == DType::u8;
  EXPECT_EQ(products, 1);
  const TensorPtr x = bytes<uint8_t>(DType::u8, {q.k, q.m}, 9);
  const auto expected = bytes_of(*evaluate(before, {x})[0]), actual = bytes_of(*evaluate(after, {x})[0]);
  for (size_t i = 0; i < expected.size(); i++) EXPECT_LE(std::abs(expected[i] - actual[i]), 1);
}

// Kernels do the way back to 8 bits themselves where they know it again.
TEST(IntegerProducts, RequantizationIsKnownAgain) {
  for (const MapInstr& activation :
       {MapInstr{MapOp::copy}, MapInstr{MapOp::relu}, MapInstr{MapOp::clip, 0, 0, 0, -1, 3}})
    for (std::optional<double> scale : {std::optional<double>(0.25), std::optional<double>()}) {
      MapProgram program = requantize_program({scale, activation, 3, -128, 127});
      const std::optional<Requantize> r = as_requantize(program);
      ASSERT_TRUE(r);
      EXPECT_EQ(r->scale, scale);
      EXPECT_EQ(r->activation.op, activation.op);
      EXPECT_EQ(r->activation.p1, activation.p1);
      EXPECT_EQ(r->zero, 3);
      EXPECT_EQ(r->lo, -128);
      EXPECT_EQ(r->hi, 127);
      program.code.back().a--;  // another operand
      EXPECT_FALSE(as_requantize(program));
    }
  EXPECT_FALSE(as_requantize(quantize_program(DType::u8, 0, 255, 3).program));
}

// A bias that is no multiple of the scale stays a number; weights too far from their zero point stay real ones.
TEST(IntegerProducts, WhatIsNoIntegerStaysReal) {
  Quantized q;
  q.w = bytes<uint8_t>(DType::u8, {q.k, q.n}, 3);
  q.w_zero = {0, 255, 3, 128, 7};
  const Graph far = q.graph();
  const Graph after = optimize(far);
  for (const Node& node : after.nodes)
    if (node.op == &matmul_op) {
      EXPECT_EQ(after.values[node.inputs[0]].dtype, DType::f32);
    }
  EXPECT_EQ(bytes_of(*evaluate(after, {q.x})[0]), bytes_of(*evaluate(far, {q.x})[0]));

  Quantized odd;
  odd.w = bytes<int8_t>(DType::i8, {odd.k, odd.n}, 2);
  odd.bias.clear();
  const ValueId y = odd.product();
  odd.b.g.nodes.back().inputs[2] = odd.vector({0.1f, -3.7f, 1e-9f, 12, 0});
  const Graph before = odd.b.done({y});
  const Graph real = optimize(before);
  ASSERT_EQ(real.nodes.size(), 1u);
  EXPECT_EQ(real.values[real.nodes[0].inputs[0]].dtype, DType::u8);
  expect_close(*evaluate(real, {odd.x})[0], *evaluate(before, {odd.x})[0], 1e-5);
}

}  // namespace
}  // namespace pando::test
