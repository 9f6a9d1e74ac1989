// Operators on weights in blocks, against the formulas of their definitions.
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "graph/ops/ops.hpp"
#include "import/evaluate.hpp"
#include "import/model_writer.hpp"

namespace pando {
namespace {

using namespace testing_onnx;
namespace t = testing_onnx;

int code(const std::vector<uint8_t>& bytes, int64_t row_bytes, int64_t row, int64_t i, int64_t bits) {
  const int byte = bytes[static_cast<size_t>(row * row_bytes + i * bits / 8)];
  return bits == 8 ? byte : byte >> i % 2 * 4 & 15;
}

enum class Zeros { none, codes, numbers };
struct NBitsCase {
  int64_t bits, k, block;
  Zeros zeros = Zeros::codes;
  bool group = false, bias = false;
  int64_t n = 5, rows = 3;
};

const MatMulAttrs* check_nbits(const NBitsCase& c) {
  const int64_t blocks = (c.k + c.block - 1) / c.block, zero_bytes = (blocks * c.bits + 7) / 8;
  const auto w = random_bytes(c.n * blocks * c.block * c.bits / 8, 1), zp = random_bytes(c.n * zero_bytes, 2);
  const auto scale = random_floats(c.n * blocks, 3, 0.01f, 0.1f), zf = random_floats(c.n * blocks, 4, 0, 9);
  const auto x = random_floats(c.rows * c.k, 5, -1, 1), bias = random_floats(c.n, 6, -1, 1);
  std::vector<int32_t> group;
  for (int64_t i = 0; i < c.k; i++) group.push_back(static_cast<int32_t>((i * 7) % blocks));
  ModelWriter m;
  m.input("x", t::f32, {1, c.rows, c.k}).output("y");
  m.initializer(raw_tensor<uint8_t>("w", t::u8, {c.n, blocks, c.block * c.bits / 8}, w));
  m.floats("s", {c.n * blocks}, scale).floats("bias", {c.n}, bias);
  m.initializer(raw_tensor<uint8_t>("z", t::u8, {c.n * zero_bytes}, zp)).floats("zf", {c.n * blocks}, zf);
  m.initializer(raw_tensor<int32_t>("g", t::i32, {c.k}, group));
  const char* z = c.zeros == Zeros::none ? "" : c.zeros == Zeros::codes ? "z" : "zf";
  m.node("MatMulNBits", {"x", "w", "s", z, c.group ? "g" : "", c.bias ? "bias" : ""}, {"y"},
         {attr("K", c.k), attr("N", c.n), attr("bits", c.bits), attr("block_size", c.block),
          attr("accuracy_level", int64_t{4})},
         microsoft);
  static Graph g;
  g = import_model(m);
  verify(g);
  auto in = make_tensor(DType::f32, {1, c.rows, c.k});
  std::memcpy(writable(*in), x.data(), in->bytes());
  const TensorPtr y = evaluate(g, {{"x", in}})[g.outputs[0]];
  for (int64_t r = 0; r < c.rows; r++)
    for (int64_t o = 0; o < c.n; o++) {
      double sum = c.bias ? bias[static_cast<size_t>(o)] : 0;
      for (int64_t i = 0; i < c.k; i++) {
        const int64_t b = c.group ? group[static_cast<size_t>(i)] : i / c.block;
        double zero = 1 << (c.bits - 1);
        if (c.zeros == Zeros::codes) zero = code(zp, zero_bytes, o, b, c.bits);
        if (c.zeros == Zeros::numbers) zero = zf[static_cast<size_t>(o * blocks + b)];
        const double q = code(w, blocks * c.block * c.bits / 8, o, i, c.bits);
        sum += (q - zero) * scale[static_cast<size_t>(o * blocks + b)] * x[static_cast<size_t>(r * c.k + i)];
      }
      EXPECT_NEAR(reinterpret_cast<const float*>(y->data)[r * c.n + o], sum, 1e-4) << r << ' ' << o;
    }
  for (const Node& node : g.nodes)
    if (node.op == &matmul_op) return &node.as<MatMulAttrs>();
  return nullptr;
}

TEST(BlockedWeights, MatMulNBitsStaysInBlocks) {
  for (int64_t bits : {4, 8})
    for (int64_t k : {64, 50}) {
      const MatMulAttrs* attrs = check_nbits({bits, k, 32, Zeros::codes, false, bits == 4});
      ASSERT_NE(attrs, nullptr);
      EXPECT_EQ(attrs->blocks.size, 32);
      EXPECT_EQ(attrs->blocks.bits, bits);
      EXPECT_TRUE(attrs->rounds_rows);
      EXPECT_TRUE(check_nbits({bits, k, 16, Zeros::none})->blocks);
    }
}

TEST(BlockedWeights, OtherFormsBecomeNumbers) {
  EXPECT_FALSE(check_nbits({4, 50, 16, Zeros::numbers})->blocks);
  EXPECT_FALSE(check_nbits({4, 64, 16, Zeros::codes, true})->blocks);
}

TEST(BlockedWeights, GatherTakesRowsOfCodes) {
  constexpr int64_t rows = 6, columns = 64, block = 16, blocks = columns / block;
  const auto w = random_bytes(rows * columns / 2, 1), zp = random_bytes(rows * blocks / 2, 2);
  const auto scale = random_floats(rows * blocks, 3, 0.01f, 0.1f);
  for (bool zeros : {false, true}) {
    ModelWriter m;
    m.input("i", t::i64, {2, 2}).output("y").floats("s", {rows, blocks}, scale);
    m.initializer(raw_tensor<uint8_t>("w", t::u8, {rows, columns / 2}, w));
    m.initializer(raw_tensor<uint8_t>("z", t::u8, {rows, blocks / 2}, zp));
    m.node("GatherBlockQuantized", {"w", "i", "s", zeros ? "z" : ""}, {"y"}, {attr("block_size", block)}, microsoft);
    const Graph g = import_model(m);
    const std::vector<int64_t> at{5, 0, 3, 3};
    auto in = make_tensor(DType::i64, {2, 2});
    std::memcpy(writable(*in), at.data(), in->bytes());
    const TensorPtr y = evaluate(g, {{"i", in}})[g.outputs[0]];
    EXPECT_EQ(y->shape, (Shape{2, 2, columns}));
    for (size_t r = 0; r < at.size(); r++)
      for (int64_t c = 0; c < columns; c++) {
        const int zero = zeros ? code(zp, blocks / 2, at[r], c / block, 4) : 8;
        const float want = static_cast<float>(code(w, columns / 2, at[r], c, 4) - zero) *
                           scale[static_cast<size_t>(at[r] * blocks + c / block)];
        ASSERT_EQ(reinterpret_cast<const float*>(y->data)[static_cast<int64_t>(r) * columns + c], want);
      }
  }
}

TEST(BlockedWeights, WhatDoesNotFitIsRefused) {
  const auto refuses = [](int64_t k, int64_t bits, int64_t block, int64_t bytes, const char* what) {
    ModelWriter m;
    m.input("x", t::f32, {2, 32}).output("y").floats("s", {2}, {1, 2});
    m.initializer(raw_tensor<uint8_t>("w", t::u8, {bytes}, random_bytes(bytes, 1)));
    m.node("MatMulNBits", {"x", "w", "s"}, {"y"},
           {attr("K", k), attr("N", int64_t{2}), attr("bits", bits), attr("block_size", block)}, microsoft);
    try {
      import_model(m);
      ADD_FAILURE() << "expected: " << what;
    } catch (const Error& e) {
      EXPECT_NE(std::string(e.what()).find(what), std::string::npos) << e.what();
    }
  };
  refuses(32, 4, 32, 31, "B is uint8 [31]: expected 32");
  refuses(32, 3, 32, 32, "weights of 3 bits are not supported");
  refuses(32, 4, 24, 32, "block_size 24");
  refuses(16, 4, 16, 16, "A is [2,32], and K 16");
  refuses(-1, 4, 16, 16, "N 2 and K -1");
}

}  // namespace
}  // namespace pando
