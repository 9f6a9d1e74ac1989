// Convolutions and products of 8-bit integers on random shapes, against the operators' references: equal to the bit,
// for every instruction set and size of tiles.
#include <gtest/gtest.h>

#include <random>

#include "base/cpu.hpp"
#include "bind/run_program.hpp"
#include "graph/ops/common.hpp"
#include "graph/quantization.hpp"
#include "kernels/simd.hpp"
#include "tile/rows.hpp"

namespace pando::test {
namespace {

class Draw {
 public:
  explicit Draw(uint32_t seed) : random_(seed) {}
  int64_t from(int64_t lo, int64_t hi) { return lo + static_cast<int64_t>(random_()) % (hi - lo + 1); }
  template <class T>
  T any(std::initializer_list<T> list) {
    return list.begin()[from(0, static_cast<int64_t>(list.size()) - 1)];
  }
  bool chance(int64_t n) { return from(1, n) == 1; }

  // Bytes with extremes, or numbers within lo..hi.
  TensorPtr tensor(DType type, Shape shape, double lo = 0, double hi = 0) {
    auto t = make_tensor(type, std::move(shape));
    for (int64_t i = 0; i < element_count(t->shape); i++) {
      if (type == DType::f32)
        store(writable(*t), i,
              std::uniform_real_distribution<float>(static_cast<float>(lo), static_cast<float>(hi))(random_));
      else if (type == DType::i32) store(writable(*t), i, static_cast<int32_t>(from(-200000, 200000)));
      else if (type == DType::u8)
        store(writable(*t), i, static_cast<uint8_t>(chance(4) ? any<int64_t>({0, 255}) : from(0, 255)));
      else store(writable(*t), i, static_cast<int8_t>(chance(4) ? any<int64_t>({-128, 127}) : from(-128, 127)));
    }
    return t;
  }

 private:
  std::mt19937 random_;
};

// The end of a product: none, the way back to 8 bits in several forms, or any program.
std::vector<ValueId> epilogue(Draw& draw, Graph& g, int64_t co, const Shape& out, Epilogue& e) {
  const int kind = static_cast<int>(draw.from(0, 4));
  if (kind == 0) return {};
  const auto scale = [&](Shape shape) {
    return g.add_constant("", draw.tensor(DType::f32, std::move(shape), 0.0001, 0.01));
  };
  if (kind == 1) {  // float32 and an operand of the whole shape
    e.program = {{{MapOp::mul, 0, 1}, {MapOp::add, 3, 2}, {MapOp::relu, 4}}, 3};
    return {scale({co}), scale(out)};
  }
  const bool is_signed = draw.chance(2);
  e.out = is_signed ? DType::i8 : DType::u8;
  const double lo = is_signed ? -128 : 0, hi = lo + 255, zero = static_cast<double>(draw.from(0, 255)) + lo;
  const bool one = draw.chance(3);
  std::vector<MapInstr>& code = e.program.code;
  e.program.inputs = one ? 1 : 2;
  const auto last = [&] {
    return static_cast<uint8_t>(code.empty() ? 0 : e.program.inputs + static_cast<int>(code.size()) - 1);
  };
  if (one) code.push_back({MapOp::mul_imm, 0, 0, 0, 0.0037f});
  else code.push_back({MapOp::mul, 0, 1});
  if (kind == 3) code.push_back({MapOp::relu, last()});
  if (kind == 4) code.push_back({MapOp::clip, last(), 0, 0, -3.4f, 30.6f});
  code.push_back({MapOp::round, last()});
  code.push_back({MapOp::add_imm, last(), 0, 0, zero});
  code.push_back({MapOp::clip, last(), 0, 0, lo, hi});
  if (one) return {};
  return {scale(draw.chance(4) ? Shape{1} : Shape{co})};
}

void check(const Graph& graph, Draw& draw, const std::string& what) {
  std::vector<TensorPtr> inputs;
  for (ValueId v : graph.inputs) inputs.push_back(draw.tensor(graph.values[v].dtype, graph.shape(v)));
  const TensorPtr expected = evaluate(graph, inputs)[0];
  for (Isa isa : {Isa::portable, Isa::avx2, Isa::avx512}) {
    limit_isa(isa);
    kernels::apply_isa_limit();
    for (double tile_us : {0.5, 1e6}) {
      const TensorPtr actual = run_graph(graph, inputs, {.tile_us = tile_us})[0];
      ASSERT_EQ(actual->bytes(), expected->bytes());
      ASSERT_EQ(std::memcmp(actual->data, expected->data, actual->bytes()), 0) << what << ", " << name_of(isa);
    }
  }
  limit_isa(Isa::avx512);
  kernels::apply_isa_limit();
}

TEST(BindInteger, ConvolutionsOfAnyShape) {
  for (uint32_t seed = 1; seed <= 1000; seed++) {
    Draw draw(seed);
    Graph g;
    const int spatial = draw.chance(4) ? 1 : 2;
    const bool depthwise = draw.chance(3);
    const int64_t group = depthwise ? draw.from(2, 150) : draw.chance(5) ? draw.from(2, 3) : 1;
    const int64_t ci = depthwise ? 1 : draw.from(1, draw.chance(3) ? 90 : 20), co = depthwise ? 1 : draw.from(1, 70);
    ConvAttrs a;
    Shape x{draw.from(1, 2)}, w{co * group, ci};
    for (int i = 0; i < spatial; i++) {
      w.push_back(draw.any<int64_t>({1, 1, 3, 3, 5}));
      a.strides.push_back(draw.from(1, 2));
      a.dilations.push_back(draw.chance(4) ? 2 : 1);
      a.pads_begin.push_back(draw.from(0, 2));
      a.pads_end.push_back(draw.from(0, 2));
      x.push_back(draw.from((w.back() - 1) * a.dilations.back() + 1, 24));
    }
    x.push_back(ci * group);
    a.group = group;
    const bool is_signed = draw.chance(2);
    a.zero = is_signed ? draw.from(-128, 127) : draw.from(0, 255);
    const ValueId in = g.add_value("x", is_signed ? DType::i8 : DType::u8, x);
    g.inputs = {in};
    const ValueId weights = g.add_constant("w", draw.tensor(DType::i8, w));
    const ValueId bias = draw.chance(2) ? none : g.add_constant("b", draw.tensor(DType::i32, {co * group}));
    Shape out = x;
    for (int i = 0; i < spatial; i++) {
      const auto d = static_cast<size_t>(i);
      out[d + 1] =
          (x[d + 1] + a.pads_begin[d] + a.pads_end[d] - (w[d + 2] - 1) * a.dilations[d] - 1) / a.strides[d] + 1;
    }
    out.back() = co * group;
    std::vector<ValueId> inputs{in, weights, bias, none};
    for (ValueId v : epilogue(draw, g, co * group, out, a.epilogue)) inputs.push_back(v);
    g.outputs = {g.add(conv_op, "conv", inputs, a)};
    check(g, draw, fmt::format("seed {}: {} * {}", seed, to_string(x), to_string(w)));
    if (HasFatalFailure()) return;
  }
}

TEST(BindInteger, ProductsOfAnyShape) {
  for (uint32_t seed = 1; seed <= 1000; seed++) {
    Draw draw(seed);
    Graph g;
    MatMulAttrs a;
    a.trans_b = draw.chance(2);
    const int64_t k = draw.from(1, draw.chance(3) ? 300 : 40), n = draw.from(1, 100), m = draw.from(1, 40);
    Shape x;
    for (int64_t i = draw.from(0, 2); i > 0; i--) x.push_back(draw.from(1, 3));
    x.push_back(m);
    Shape out = x;
    x.push_back(k);
    out.push_back(n);
    const bool is_signed = draw.chance(2);
    a.zero = is_signed ? draw.from(-128, 127) : draw.from(0, 255);
    const ValueId in = g.add_value("x", is_signed ? DType::i8 : DType::u8, x);
    g.inputs = {in};
    const ValueId weights = g.add_constant("w", draw.tensor(DType::i8, a.trans_b ? Shape{n, k} : Shape{k, n}));
    const ValueId bias = draw.chance(2) ? none : g.add_constant("b", draw.tensor(DType::i32, {n}));
    std::vector<ValueId> inputs{in, weights, bias};
    for (ValueId v : epilogue(draw, g, n, out, a.epilogue)) inputs.push_back(v);
    g.outputs = {g.add(matmul_op, "matmul", inputs, a)};
    check(g, draw, fmt::format("seed {}: {} x {} {}", seed, to_string(x), k, n));
    if (HasFatalFailure()) return;
  }
}

// Copies of what lies under absurd kernels would need gigabytes: such convolutions run by the reference.
TEST(BindInteger, AbsurdDilationsAreLeftToTheReference) {
  Draw draw(1);
  Graph g;
  const ValueId x = g.add_value("x", DType::u8, {1, 8, 8, 1});
  g.inputs = {x};
  ConvAttrs a;
  a.strides = {1, 1};
  a.dilations = {(int64_t{1} << 31) - 8, (int64_t{1} << 30) - 4};
  a.pads_begin = a.pads_end = {(int64_t{1} << 30) - 4, (int64_t{1} << 30) - 4};
  g.outputs = {g.add(conv_op, "conv", {x, g.add_constant("w", draw.tensor(DType::i8, {1, 1, 2, 3}))}, a)};
  const TileGraph tiles = tile(g, Machine::host());
  EXPECT_EQ(tiles.ops[0].row->algorithm, Algorithm::reference);
}

// Depthwise rows that are cut into tiles: each reads its own part.
TEST(BindInteger, LongRowsNeedLittleScratch) {
  Draw draw(2);
  Graph g;
  const ValueId x = g.add_value("x", DType::u8, {1, 40000, 64});
  g.inputs = {x};
  ConvAttrs a;
  a.strides = a.dilations = {1};
  a.pads_begin = a.pads_end = {1};
  a.group = 64;
  g.outputs = {g.add(conv_op, "conv", {x, g.add_constant("w", draw.tensor(DType::i8, {64, 1, 3}))}, a)};
  const TileGraph tiles = tile(g, Machine::host());
  ASSERT_GT(tiles.tiles, 4u);
  EXPECT_LT(bind(tiles)->scratch_bytes, size_t{12} << 20);
  check(g, draw, "a long row");
}

// Sums of two tensors of bytes that go back to bytes, among them ones that lie in the middle of two.
TEST(BindMap, SumsOfBytes) {
  int known = 0;
  for (uint32_t seed = 1; seed <= 300; seed++) {
    Draw draw(seed);
    Graph g;
    const DType types[] = {draw.any({DType::u8, DType::i8}), draw.any({DType::u8, DType::i8})};
    const Shape shape{draw.from(1, 5), draw.from(1, 300)};
    g.inputs = {g.add_value("a", types[0], shape), g.add_value("b", types[1], shape)};
    const bool ties = draw.chance(2), is_signed = draw.chance(2), turned = draw.chance(2);
    const auto number = [&](double lo, double hi) { return ties ? 0.5 : draw.from(1, 1000) * (hi - lo) / 1000 + lo; };
    MapAttrs a;
    a.out = is_signed ? DType::i8 : DType::u8;
    a.program.inputs = 3;
    std::vector<MapInstr>& code = a.program.code;
    const auto last = [&] { return static_cast<uint8_t>(2 + code.size()); };
    const uint8_t first = draw.chance(2) ? 1 : 0;
    for (uint8_t i : {first, static_cast<uint8_t>(1 - first)}) {
      code.push_back({MapOp::add_imm, i, 0, 0, -static_cast<double>(draw.from(0, 200))});
      code.push_back({MapOp::mul_imm, last(), 0, 0, static_cast<float>(number(0.001, 2))});
    }
    code.push_back({MapOp::add, static_cast<uint8_t>(turned ? 6 : 4), static_cast<uint8_t>(turned ? 4 : 6)});
    if (draw.chance(2)) code.push_back({MapOp::relu, last()});
    code.push_back({MapOp::div, last(), 2});
    code.push_back({MapOp::round, last()});
    code.push_back({MapOp::add_imm, last(), 0, 0, static_cast<double>(draw.from(-100, 100))});
    code.push_back({MapOp::clip, last(), 0, 0, is_signed ? -128.0 : 0.0, is_signed ? 127.0 : 255.0});
    known += as_quantized_sum(a.program).has_value();
    const auto divisor = static_cast<float>(number(0.01, 3));
    const ValueId by = g.add_constant("s", make_constant<float>(DType::f32, {}, {divisor}));
    g.outputs = {g.add(map_op, "sum", {g.inputs[0], g.inputs[1], by}, a)};
    check(g, draw, fmt::format("seed {}", seed));
    if (HasFatalFailure()) return;
  }
  EXPECT_EQ(known, 300);
}

// A cast of integers does not go through float32, which has not all of them.
TEST(BindMap, CastsOfLargeIntegersWrap) {
  const std::vector<int32_t> values{16777217, 16777219, INT32_MAX, -16777217, 33554433, INT32_MIN, -1};
  auto from = make_tensor(DType::i32, {static_cast<int64_t>(values.size())});
  std::memcpy(writable(*from), values.data(), from->bytes());
  for (DType to : {DType::u8, DType::i8, DType::i16, DType::boolean, DType::f32}) {
    Graph g;
    const ValueId x = g.add_value("x", DType::i32, from->shape);
    g.inputs = {x};
    MapAttrs a;
    a.program.code = {{MapOp::cast}};
    a.out = to;
    g.outputs = {g.add(map_op, "cast", {x}, a)};
    const TensorPtr expected = evaluate(g, {from})[0], actual = run_graph(g, {from})[0];
    EXPECT_EQ(std::memcmp(expected->data, actual->data, expected->bytes()), 0) << name_of(to);
  }
}

}  // namespace
}  // namespace pando::test
