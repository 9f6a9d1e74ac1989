#include "kernels/elementwise/map_rows.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>

#include "base/map_program.hpp"
#include "graph/ops/common.hpp"
#include "kernels/elementwise/byte_table.hpp"

namespace pando::kernels {
namespace {

float reference(const MapInstr& i, float a, float b, float c) {
  switch (i.op) {
    case MapOp::add: return a + b;
    case MapOp::mul: return a * b;
    case MapOp::sub: return a - b;
    case MapOp::div: return a / b;
    case MapOp::max: return std::isnan(a) ? a : std::isnan(b) ? b : std::max(a, b);
    case MapOp::min: return std::isnan(a) ? a : std::isnan(b) ? b : std::min(a, b);
    case MapOp::relu: return a > 0 ? a : 0;
    case MapOp::affine: return a * static_cast<float>(i.p0) + static_cast<float>(i.p1);
    case MapOp::where: return a != 0 ? b : c;
    case MapOp::less: return a < b;
    case MapOp::fma_mul_add: return a * b + c;
    case MapOp::clip: return std::min(std::max(a, static_cast<float>(i.p0)), static_cast<float>(i.p1));
    default: return a;
  }
}

struct Buffer {
  std::vector<float> data;
  MapOperand operand;
};

// An operand of `rows` x `cols` with random strides; kind 0 dense, 1 padded rows, 2 one row, 3 one column, 4 scalar,
// 5 strided columns.
Buffer make_operand(int kind, int64_t rows, int64_t cols, std::mt19937& random) {
  int64_t row_stride = cols, col_stride = 1;
  if (kind == 1) row_stride = cols + 3;
  if (kind == 2 || kind == 4) row_stride = 0;
  if (kind == 3) row_stride = 1;
  if (kind == 3 || kind == 4) col_stride = 0;
  if (kind == 5) col_stride = 3, row_stride = 3 * cols + 1;
  Buffer b;
  b.data.resize(static_cast<size_t>((rows - 1) * row_stride + (cols - 1) * col_stride + 1));
  for (float& v : b.data) v = std::uniform_real_distribution<float>(-2, 2)(random);
  b.operand = {b.data.data(), row_stride, col_stride};
  return b;
}

TEST(MapRows, RandomProgramsAndStrides) {
  std::mt19937 random(1);
  const MapOp ops[] = {MapOp::add,    MapOp::mul,   MapOp::sub,  MapOp::max,         MapOp::min,  MapOp::relu,
                       MapOp::affine, MapOp::where, MapOp::less, MapOp::fma_mul_add, MapOp::clip, MapOp::copy};
  for (int trial = 0; trial < 400; trial++) {
    const int64_t rows = 1 + random() % 9;
    const int64_t cols = random() % 3 == 0 ? 1 + random() % 1500 : 1 + random() % 70;
    MapProgram program;
    program.inputs = 1 + random() % 3;
    const int count = 1 + random() % 6;
    for (int i = 0; i < count; i++) {
      MapInstr instr;
      instr.op = ops[random() % std::size(ops)];
      instr.a = random() % (program.inputs + i), instr.b = random() % (program.inputs + i);
      instr.c = random() % (program.inputs + i);
      instr.p0 = -0.5f, instr.p1 = 0.75f;
      program.code.push_back(instr);
    }
    std::vector<Buffer> buffers;
    std::vector<MapOperand> operands;
    for (int i = 0; i < program.inputs; i++) {
      buffers.push_back(make_operand(random() % 6, rows, cols, random));
      operands.push_back(buffers.back().operand);
    }
    const int64_t out_stride = cols + (random() % 2 ? 0 : 5);
    std::vector<float> out(static_cast<size_t>(rows * out_stride), 77.0f);
    map_rows(to_map_code(program), operands.data(), out.data(), out_stride, rows, cols);
    for (int64_t r = 0; r < rows; r++)
      for (int64_t c = 0; c < out_stride; c++) {
        float want = 77.0f;  // outside the columns nothing is written
        if (c < cols) {
          std::vector<float> reg;
          for (const auto& o : operands)
            reg.push_back(static_cast<const float*>(o.data)[r * o.row_stride + c * o.col_stride]);
          for (const auto& i : program.code) reg.push_back(reference(i, reg[i.a], reg[i.b], reg[i.c]));
          want = reg.back();
        }
        ASSERT_EQ(out[r * out_stride + c], want) << "trial " << trial << " row " << r << " col " << c;
      }
  }
}

// Every type of operand and result, ends of ranges and beyond, rows of any length.
TEST(MapRows, OtherTypesAreConverted) {
  std::mt19937 random(5);
  const DType types[] = {DType::f32, DType::u8,      DType::i8,  DType::u16, DType::i16,
                         DType::i32, DType::boolean, DType::f16, DType::bf16};
  for (int trial = 0; trial < 500; trial++) {
    const int64_t rows = 1 + random() % 5, cols = 1 + random() % (random() % 3 ? 60 : 1200);
    const DType from = types[random() % std::size(types)];
    DType to = types[random() % std::size(types)];
    if (to == DType::i32) to = DType::u8;
    const int64_t stride = cols + random() % 4;
    std::vector<std::byte> in(static_cast<size_t>(rows * stride) * size_of(from));
    std::vector<std::byte> out(static_cast<size_t>(rows * stride) * size_of(to), std::byte{0x55});
    MapProgram program;
    program.code = {{MapOp::mul_imm, 0, 0, 0, random() % 2 ? 1.0 : 1.37}, {MapOp::add_imm, 1, 0, 0, 0.25}};
    const auto each = [&](auto f) {
      for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < stride; c++) f(r * stride + c, c < cols);
    };
    dispatch(from, [&](auto tag) {
      using T = decltype(tag);
      each([&](int64_t i, bool) {
        if constexpr (std::is_same_v<T, float>) {
          const float edges[] = {NAN, 3e9f, -3e9f, 2147483648.0f, -2147483648.0f, 255.5f, -1e30f, INFINITY};
          store(in.data(), i,
                random() % 4 ? std::uniform_real_distribution<float>(-400, 400)(random)
                             : edges[random() % std::size(edges)]);
        } else if constexpr (std::is_same_v<T, bool>) {
          store(in.data(), i, random() % 2 == 0);
        } else if constexpr (std::is_integral_v<T>) {
          store(in.data(), i, static_cast<T>(random()));
        } else if constexpr (std::is_class_v<T>) {
          store(in.data(), i, T{static_cast<decltype(T::bits)>(random())});  // of any magnitude, NaN
        }
      });
    });
    const MapOperand operand{in.data(), stride, 1, from};
    map_rows(to_map_code(program), &operand, out.data(), stride, rows, cols, to);
    dispatch(from, [&](auto from_tag) {
      dispatch(to, [&](auto to_tag) {
        using To = decltype(to_tag);
        each([&](int64_t i, bool inside) {
          float x = convert<float>(load<decltype(from_tag)>(in.data(), i)) * static_cast<float>(program.code[0].p0);
          x += 0.25f;
          To want = convert<To>(x);
          if (!inside) std::memset(&want, 0x55, sizeof want);
          ASSERT_EQ(std::memcmp(&want, out.data() + i * static_cast<int64_t>(sizeof want), sizeof want), 0)
              << name_of(from) << " to " << name_of(to) << ", " << x;
        });
      });
    });
  }
}

TEST(ByteTable, AnyLengthAndInPlace) {
  std::mt19937 random(3);
  std::vector<uint8_t> table(256);
  for (uint8_t& v : table) v = static_cast<uint8_t>(random());
  for (int n : {0, 1, 15, 16, 33, 64, 127, 1000}) {
    std::vector<uint8_t> in(static_cast<size_t>(n)), expected(in.size());
    for (uint8_t& v : in) v = static_cast<uint8_t>(random());
    for (size_t i = 0; i < in.size(); i++) expected[i] = table[in[i]];
    std::vector<uint8_t> out(in.size());
    look_up_bytes(table.data(), in.data(), n, out.data());
    EXPECT_EQ(out, expected) << n;
    look_up_bytes(table.data(), in.data(), n, in.data());
    EXPECT_EQ(in, expected) << n;
  }
}

TEST(MapRows, InPlaceAndCutAnywhere) {
  std::mt19937 random(2);
  const int64_t rows = 7, cols = 613;
  MapProgram program;
  program.inputs = 2;
  program.code = {{MapOp::exp, 0}, {MapOp::gelu_erf, 1}, {MapOp::add, 2, 3}, {MapOp::tanh, 4}};
  const auto code = to_map_code(program);
  Buffer a = make_operand(0, rows, cols, random), b = make_operand(2, rows, cols, random);
  std::vector<float> whole(rows * cols), parts(rows * cols);
  MapOperand operands[] = {a.operand, b.operand};
  map_rows(code, operands, whole.data(), cols, rows, cols);
  for (int64_t c = 0; c < cols;) {
    const int64_t n = std::min<int64_t>(1 + random() % 100, cols - c);
    MapOperand part[] = {{a.data.data() + c, cols, 1}, {b.data.data() + c, 0, 1}};
    map_rows(code, part, parts.data() + c, cols, rows, n);
    c += n;
  }
  EXPECT_EQ(std::memcmp(whole.data(), parts.data(), whole.size() * sizeof(float)), 0);
  map_rows(code, operands, a.data.data(), cols, rows, cols);
  EXPECT_EQ(std::memcmp(whole.data(), a.data.data(), whole.size() * sizeof(float)), 0);
}

TEST(MapRows, BinaryFunctions) {
  std::mt19937 random(3);
  const int64_t n = 5000;
  std::vector<float> x(n), y(n), out(n);
  const float exponents[] = {2, 3, 0.5f, -0.5f, 0, 1, 1.7f, -2, INFINITY};
  for (int64_t i = 0; i < n; i++) {
    x[i] = std::uniform_real_distribution<float>(-3, 9)(random);
    y[i] = exponents[random() % std::size(exponents)];
  }
  MapProgram program;
  program.inputs = 2;
  program.code = {{MapOp::pow, 0, 1}};
  const MapOperand operands[] = {{x.data(), n, 1}, {y.data(), n, 1}};
  map_rows(to_map_code(program), operands, out.data(), n, 1, n);
  for (int64_t i = 0; i < n; i++) {
    const float want = std::pow(x[i], y[i]);
    if (std::isnan(want)) ASSERT_TRUE(std::isnan(out[i]));
    else ASSERT_FLOAT_EQ(out[i], want) << x[i] << " ^ " << y[i];
  }
  program.code = {{MapOp::mod, 0, 1}};
  map_rows(to_map_code(program), operands, out.data(), n, 1, n);
  for (int64_t i = 0; i < n; i++) {
    if (y[i] != 2) continue;
    ASSERT_FLOAT_EQ(out[i], x[i] - 2 * std::floor(x[i] / 2));
  }
}

TEST(MapRows, RefusesIntegerPrograms) {
  MapProgram program;
  program.code = {{MapOp::exp, 0}};
  EXPECT_TRUE(has_vector_body(program));
  program.code = {{MapOp::bit_xor, 0, 0}};
  EXPECT_FALSE(has_vector_body(program));
}

}  // namespace
}  // namespace pando::kernels
