// map: every instruction on every type, broadcasting, programs.
#include <gtest/gtest.h>

#include <cmath>

#include "graph/ops/map_element.hpp"
#include "op_check.hpp"

namespace pando {
namespace {

using test::check_rules;
using test::error_of;
using test::Operand;
using test::single;
using test::values_of;

const float nan = std::nanf("");

// One instruction on operands 0, 1, 2.
MapAttrs map_of(MapOp op, DType out = DType::f32, float p0 = 0, float p1 = 0) {
  int n = operand_count(op);
  return {{{{op, 0, static_cast<uint8_t>(n > 1), static_cast<uint8_t>(n > 2 ? 2 : 0), p0, p1}}, n}, out};
}

TensorPtr run(const MapAttrs& attrs, const std::vector<TensorPtr>& inputs) {
  std::vector<Operand> operands;
  for (const TensorPtr& t : inputs) operands.push_back({t->dtype, t->shape});
  return test::evaluate(single(map_op, operands, attrs), inputs)[0];
}

template <class T>
TensorPtr list(DType t, const std::vector<T>& v) {
  return make_constant<T>(t, {static_cast<int64_t>(v.size())}, v);
}
TensorPtr floats(const std::vector<float>& v) { return list(DType::f32, v); }
TensorPtr bools(const std::vector<uint8_t>& v) { return list(DType::boolean, v); }

std::vector<float> unary(MapOp op, const std::vector<float>& x, float p0 = 0, float p1 = 0) {
  return values_of<float>(*run(map_of(op, DType::f32, p0, p1), {floats(x)}));
}
std::vector<float> binary(MapOp op, const std::vector<float>& a, const std::vector<float>& b) {
  return values_of<float>(*run(map_of(op), {floats(a), floats(b)}));
}
template <class T>
std::vector<T> integers(MapOp op, DType t, const std::vector<T>& a, const std::vector<T>& b) {
  return values_of<T>(*run(map_of(op, t), {list(t, a), list(t, b)}));
}
using F = std::vector<float>;

TEST(MapProgram, NamesAndOperandCounts) {
  EXPECT_STREQ(name_of(MapOp::copy), "copy");
  EXPECT_STREQ(name_of(MapOp::tanh_exact), "tanh_exact");
  EXPECT_STREQ(name_of(MapOp::affine), "affine");
  EXPECT_STREQ(name_of(MapOp::prelu), "prelu");
  EXPECT_STREQ(name_of(MapOp::shift_right), "shift_right");
  EXPECT_STREQ(name_of(MapOp::fma_mul_add), "fma_mul_add");
  EXPECT_EQ(operand_count(MapOp::affine), 1);
  EXPECT_EQ(operand_count(MapOp::add), 2);
  EXPECT_EQ(operand_count(MapOp::shift_right), 2);
  EXPECT_EQ(operand_count(MapOp::where), 3);
}

TEST(Map, UnaryFloatValues) {
  EXPECT_EQ(unary(MapOp::round, {0.5f, 1.5f, 2.5f, -0.5f, -1.5f, 2.4f}), (F{0, 2, 2, 0, -2, 2}));
  EXPECT_EQ(unary(MapOp::sign, {-3, 0, 9}), (F{-1, 0, 1}));
  EXPECT_EQ(unary(MapOp::relu, {-3, 0, 9}), (F{0, 0, 9}));
  EXPECT_EQ(unary(MapOp::leaky_relu, {-2, 4}, 0.25f), (F{-0.5f, 4}));
  EXPECT_EQ(unary(MapOp::hard_sigmoid, {-10, 0, 1, 10}, 0.25f, 0.5f), (F{0, 0.5f, 0.75f, 1}));
  EXPECT_EQ(unary(MapOp::hard_swish, {-4, 0, 4}), (F{0, 0, 4}));
  EXPECT_EQ(unary(MapOp::clip, {-2, 0.5f, 2}, -1, 1), (F{-1, 0.5f, 1}));
  EXPECT_EQ(unary(MapOp::thresholded_relu, {1, 1.5f}, 1), (F{0, 1.5f}));
  EXPECT_EQ(unary(MapOp::shrink, {-2, 0.5f, 2}, 1.5f, 1), (F{-0.5f, 0, 0.5f}));
  EXPECT_EQ(unary(MapOp::affine, {2}, 3, 1), (F{7}));
  EXPECT_EQ(unary(MapOp::add_imm, {2}, 3), (F{5}));
  EXPECT_EQ(unary(MapOp::mul_imm, {2}, 3), (F{6}));
  EXPECT_EQ(unary(MapOp::softplus, {200, -200}), (F{200, 0}));
  EXPECT_EQ(unary(MapOp::sigmoid, {0, 200, -200}), (F{0.5f, 1, 0}));
  EXPECT_NEAR(unary(MapOp::mish, {1})[0], 0.86509839, 1e-6);
  EXPECT_NEAR(unary(MapOp::gelu_erf, {1})[0], 0.84134475, 1e-6);
  EXPECT_NEAR(unary(MapOp::gelu_tanh, {1})[0], 0.84119199, 1e-6);
  EXPECT_NEAR(unary(MapOp::elu, {-1}, 2)[0], 2 * (std::exp(-1.0) - 1), 1e-6);
  EXPECT_NEAR(unary(MapOp::celu, {-1}, 2)[0], 2 * (std::exp(-0.5) - 1), 1e-6);
  EXPECT_NEAR(unary(MapOp::selu, {-1}, 1.5f, 2)[0], 3 * (std::exp(-1.0) - 1), 1e-6);
  EXPECT_NEAR(unary(MapOp::rsqrt, {4})[0], 0.5, 1e-7);
  for (MapOp op : {MapOp::relu, MapOp::clip, MapOp::sign, MapOp::leaky_relu, MapOp::tanh, MapOp::gelu_erf})
    EXPECT_TRUE(std::isnan(unary(op, {nan})[0])) << name_of(op);
}

TEST(Map, BinaryFloatValues) {
  EXPECT_EQ(binary(MapOp::mod, {5.5f, -5.5f, 5.5f, -5.5f}, {3, 3, -3, -3}), (F{2.5f, 0.5f, -0.5f, -2.5f}));
  EXPECT_EQ(binary(MapOp::fmod, {5.5f, -5.5f, 5.5f, -5.5f}, {3, 3, -3, -3}), (F{2.5f, -2.5f, 2.5f, -2.5f}));
  EXPECT_EQ(binary(MapOp::prelu, {-2, 2}, {3, 3}), (F{-6, 2}));
  EXPECT_EQ(binary(MapOp::pow, {2, 9}, {3, 0.5f}), (F{8, 3}));
  EXPECT_EQ(binary(MapOp::div, {1, -1}, {0, 0}), (F{test::infinity, -test::infinity}));
  for (MapOp op : {MapOp::min, MapOp::max}) {
    F y = binary(op, {nan, 1}, {1, nan});
    EXPECT_TRUE(std::isnan(y[0]) && std::isnan(y[1])) << name_of(op);
  }
  EXPECT_EQ(values_of<float>(*run(map_of(MapOp::clip3), {floats({-5, 1, 5}), floats({0}), floats({2})})), (F{0, 1, 2}));
  EXPECT_EQ(values_of<float>(*run(map_of(MapOp::fma_mul_add), {floats({2}), floats({3}), floats({4})})), (F{10}));
}

TEST(Map, IntegersWrapAndNeverTrap) {
  EXPECT_EQ(integers<int8_t>(MapOp::add, DType::i8, {100}, {100}), (std::vector<int8_t>{-56}));
  EXPECT_EQ(integers<uint16_t>(MapOp::mul, DType::u16, {65535}, {65535}), (std::vector<uint16_t>{1}));
  EXPECT_EQ(integers<int64_t>(MapOp::sub, DType::i64, {INT64_MIN}, {1}), (std::vector<int64_t>{INT64_MAX}));
  EXPECT_EQ(integers<int32_t>(MapOp::div, DType::i32, {-7, 7, 1, INT32_MIN}, {2, -2, 0, -1}),
            (std::vector<int32_t>{-3, -3, 0, INT32_MIN}));
  EXPECT_EQ(integers<int32_t>(MapOp::mod, DType::i32, {-7, 7, 1, INT32_MIN}, {3, -3, 0, -1}),
            (std::vector<int32_t>{2, -2, 0, 0}));
  EXPECT_EQ(integers<int32_t>(MapOp::fmod, DType::i32, {-7, 7}, {3, -3}), (std::vector<int32_t>{-1, 1}));
  EXPECT_EQ(integers<int64_t>(MapOp::pow, DType::i64, {3, -2, 1, 2}, {4, 3, -5, -1}),
            (std::vector<int64_t>{81, -8, 1, 0}));
  EXPECT_EQ(integers<uint8_t>(MapOp::shift_left, DType::u8, {1, 0x81, 1}, {3, 1, 8}), (std::vector<uint8_t>{8, 2, 0}));
  EXPECT_EQ(integers<uint64_t>(MapOp::shift_right, DType::u64, {256, 1}, {4, 64}), (std::vector<uint64_t>{16, 0}));
  EXPECT_EQ(integers<uint8_t>(MapOp::bit_xor, DType::u8, {0xf0}, {0xff}), (std::vector<uint8_t>{0x0f}));
  EXPECT_EQ(integers<int32_t>(MapOp::max, DType::i32, {-1, 2}, {1, 1}), (std::vector<int32_t>{1, 2}));
  EXPECT_EQ(values_of<int8_t>(*run(map_of(MapOp::clip, DType::i8, -5, 1e9f), {list<int8_t>(DType::i8, {-9, 100})})),
            (std::vector<int8_t>{-5, 100}));
  EXPECT_EQ(values_of<int32_t>(*run(map_of(MapOp::abs, DType::i32), {list<int32_t>(DType::i32, {-3, INT32_MIN})})),
            (std::vector<int32_t>{3, INT32_MIN}));
}

TEST(Map, ComparisonsLogicAndWhere) {
  auto b = [](MapOp op, std::vector<TensorPtr> in, float p0 = 0, float p1 = 0) {
    return values_of<uint8_t>(*run(map_of(op, DType::boolean, p0, p1), in));
  };
  using B = std::vector<uint8_t>;
  EXPECT_EQ(b(MapOp::less, {floats({1, 2, nan}), floats({2, 2, 2})}), (B{1, 0, 0}));
  EXPECT_EQ(b(MapOp::greater_equal, {list<int64_t>(DType::i64, {1, 2}), list<int64_t>(DType::i64, {2, 2})}), (B{0, 1}));
  EXPECT_EQ(b(MapOp::less, {list<uint64_t>(DType::u64, {1}), list<uint64_t>(DType::u64, {UINT64_MAX})}), (B{1}));
  EXPECT_EQ(b(MapOp::equal, {bools({1, 0}), bools({1, 1})}), (B{1, 0}));
  EXPECT_EQ(b(MapOp::logical_xor, {bools({1, 0}), bools({1, 1})}), (B{0, 1}));
  EXPECT_EQ(b(MapOp::logical_not, {bools({1, 0})}), (B{0, 1}));
  EXPECT_EQ(b(MapOp::is_nan, {floats({nan, 1})}), (B{1, 0}));
  EXPECT_EQ(b(MapOp::is_inf, {floats({test::infinity, -test::infinity, 1})}, 0, 1), (B{1, 0, 0}));
  auto chosen = run(map_of(MapOp::where, DType::i64),
                    {bools({1, 0}), list<int64_t>(DType::i64, {INT64_MAX}), list<int64_t>(DType::i64, {-1, -2})});
  EXPECT_EQ(values_of<int64_t>(*chosen), (std::vector<int64_t>{INT64_MAX, -2}));
}

TEST(Map, MixedPow) {
  auto y = run(map_of(MapOp::pow, DType::f32), {floats({2, 3}), list<int64_t>(DType::i64, {3, -1})});
  EXPECT_EQ(values_of<float>(*y), (F{8, 1 / 3.f}));
  y = run(map_of(MapOp::pow, DType::i32), {list<int32_t>(DType::i32, {4, 2}), floats({0.5f, 3})});
  EXPECT_EQ(values_of<int32_t>(*y), (std::vector<int32_t>{2, 8}));
  y = run(map_of(MapOp::pow, DType::i64), {list<int64_t>(DType::i64, {3}), list<int32_t>(DType::i32, {39})});
  EXPECT_EQ(values_of<int64_t>(*y), (std::vector<int64_t>{4052555153018976267}));
}

TEST(Map, CastsBetweenAllTypes) {
  std::vector<DType> types;
  for (int t = 0; t <= static_cast<int>(DType::boolean); t++) types.push_back(static_cast<DType>(t));
  for (DType from : types)
    for (DType to : types) {
      auto x = run(map_of(MapOp::cast, from), {floats({0, 1, 5})});
      auto y = run(map_of(MapOp::cast, to), {x});
      bool b = from == DType::boolean || to == DType::boolean;
      for (int i = 0; i < 3; i++)
        EXPECT_EQ(test::element(*y, i), i == 2 ? (b ? 1 : 5) : i) << name_of(from) << " to " << name_of(to);
    }
  auto cast = [](DType to, F x) { return run(map_of(MapOp::cast, to), {floats(x)}); };
  EXPECT_EQ(values_of<int32_t>(*cast(DType::i32, {1.9f, -1.9f})), (std::vector<int32_t>{1, -1}));
  EXPECT_EQ(values_of<int32_t>(*cast(DType::i32, {nan, 3e9f, test::infinity})), (std::vector<int32_t>(3, INT32_MIN)));
  EXPECT_EQ(values_of<uint8_t>(*cast(DType::u8, {300, -1})), (std::vector<uint8_t>{44, 255}));
  EXPECT_EQ(values_of<uint8_t>(*cast(DType::boolean, {0.25f, nan, 0, -0.f})), (std::vector<uint8_t>{1, 1, 0, 0}));
  EXPECT_EQ(values_of<uint64_t>(*cast(DType::u64, {0x1p63f})), (std::vector<uint64_t>{uint64_t{1} << 63}));
  auto wide = run(map_of(MapOp::cast, DType::i8), {list<int64_t>(DType::i64, {257, -129})});
  EXPECT_EQ(values_of<int8_t>(*wide), (std::vector<int8_t>{1, 127}));
}

TEST(Map, EveryInstructionKeepsItsRules) {
  for (int o = 0; o <= static_cast<int>(MapOp::fma_mul_add); o++)
    for (int t = 0; t <= static_cast<int>(DType::boolean); t++) {
      auto op = static_cast<MapOp>(o);
      auto type = static_cast<DType>(t);
      bool first_bool = op == MapOp::where;
      std::vector<Operand> operands{{first_bool ? DType::boolean : type, {3, 4, 5}}, {type, {4, 1}}, {type, {3, 1, 5}}};
      operands.resize(static_cast<size_t>(operand_count(op)));
      for (DType out : {type, DType::boolean}) {
        if (!error_of(map_op, operands, map_of(op, out, 0.25f, 0.5f)).empty()) continue;
        check_rules(single(map_op, operands, map_of(op, out, 0.25f, 0.5f)), 23, 2);
      }
    }
}

TEST(Map, ProgramsBroadcast) {
  MapProgram p{{{MapOp::sub, 0, 1}, {MapOp::mul, 3, 3}, {MapOp::mul, 4, 2}, {MapOp::sqrt, 5}}, 3};
  Graph g = single(map_op, {{DType::f32, {2, 1, 5}}, {DType::f32, {3, 1}}, {DType::f32, {}}}, MapAttrs{p});
  EXPECT_EQ(g.shape(g.outputs[0]), (Shape{2, 3, 5}));
  check_rules(g, 29, 20);
  MapProgram compare{{{MapOp::abs, 0}, {MapOp::less, 2, 1}}, 2};
  auto y = run({compare, DType::boolean}, {floats({-1, 3}), floats({2})});
  EXPECT_EQ(values_of<uint8_t>(*y), (std::vector<uint8_t>{1, 0}));
}

TEST(Map, ScalarsAndEmptyExtents) {
  auto s = make_constant<float>(DType::f32, {}, {3});
  auto y = run(map_of(MapOp::mul), {s, s});
  EXPECT_EQ(y->shape, Shape{});
  EXPECT_EQ(values_of<float>(*y), (F{9}));
  Graph g = single(map_op, {{DType::f32, {2, 0}}, {DType::f32, {1}}}, map_of(MapOp::add));
  EXPECT_EQ(g.shape(g.outputs[0]), (Shape{2, 0}));
  test::evaluate(g, test::random_inputs(g));
}

TEST(Map, UnalignedConstants) {
  auto x = floats({1, 2, 3});
  std::vector<std::byte> bytes(13);
  std::memcpy(bytes.data() + 1, x->data, 12);
  auto odd = std::make_shared<Tensor>(*x);
  odd->data = bytes.data() + 1;
  EXPECT_EQ(values_of<float>(*run(map_of(MapOp::neg), {odd})), (F{-1, -2, -3}));
}

TEST(Map, NamesWhatIsWrong) {
  auto message = [](MapAttrs a, std::vector<Operand> in) { return error_of(map_op, in, std::move(a)); };
  Operand f{DType::f32, {2}}, i{DType::i32, {2}};
  EXPECT_NE(message(map_of(MapOp::add), {f, i}).find("operand 1 of add is int32, expected float32"), std::string::npos);
  EXPECT_NE(message(map_of(MapOp::exp, DType::i32), {i}).find("exp of int32 is not supported"), std::string::npos);
  EXPECT_NE(message(map_of(MapOp::less), {f, f}).find("expected bool"), std::string::npos);
  EXPECT_NE(message(map_of(MapOp::add), {f, {DType::f32, {3}}}).find("[2] and [3]"), std::string::npos);
  EXPECT_NE(message(map_of(MapOp::add), {f}).find("expected 2 operands, got 1"), std::string::npos);
  EXPECT_NE(message({{{{MapOp::copy, 1}}, 1}}, {f}).find("register"), std::string::npos);
  EXPECT_NE(message({{{}, 1}}, {f}).find("0 instructions"), std::string::npos);
}

}  // namespace
}  // namespace pando
