// Values that a detour through float or double would change.
#include <bit>
#include <cmath>
#include <limits>

#include "graph/ops/common.hpp"
#include "support/evaluate.hpp"

namespace pando {
namespace {

constexpr int64_t past_double = (int64_t{1} << 53) + 1;

template <class T>
T evaluate_one(const OpDef& op, Attributes attrs, std::vector<TensorPtr> inputs, int64_t element = 0) {
  Graph g;
  std::vector<ValueId> values;
  for (const TensorPtr& t : inputs) {
    values.push_back(g.add_value("", t->dtype, t->shape));
    g.inputs.push_back(values.back());
  }
  g.outputs = {g.add(op, "", values, std::move(attrs))};
  TensorPtr y = test::evaluate(g, inputs)[0];
  return load<T>(y->data, element);
}

template <class To, class From>
uint16_t bits_of(From from) {
  return convert<To>(from).bits;
}

TEST(Casts, RoundOnceToSixteenBits) {
  // Just above and below the middle between two neighbours: rounding to float first would give the middle.
  for (double sign : {1.0, -1.0}) {
    EXPECT_EQ(bits_of<Half>(sign * (1 + 0x1p-11 + 0x1p-40)), bits_of<Half>(sign * (1 + 0x1p-10)));
    EXPECT_EQ(bits_of<Half>(sign * (1 + 0x1p-11 - 0x1p-40)), bits_of<Half>(sign * 1.0));
    EXPECT_EQ(bits_of<Half>(sign * (1 + 0x1p-11)), bits_of<Half>(sign * 1.0));
    EXPECT_EQ(bits_of<Half>(sign * (65520 - 0x1p-30)), bits_of<Half>(sign * 65504.0));
    EXPECT_EQ(bits_of<Half>(sign * (0x1p-25 + 0x1p-60)), bits_of<Half>(sign * 0x1p-24));
    EXPECT_EQ(bits_of<BFloat16>(sign * (1 + 0x1p-8 + 0x1p-40)), bits_of<BFloat16>(sign * (1 + 0x1p-7)));
    EXPECT_EQ(bits_of<BFloat16>(sign * (1 + 0x1p-8 - 0x1p-40)), bits_of<BFloat16>(sign * 1.0));
    EXPECT_EQ(bits_of<BFloat16>(sign * 1e300), bits_of<BFloat16>(sign * std::numeric_limits<double>::infinity()));
  }
  EXPECT_TRUE(std::isnan(to_float(convert<Half>(std::nan("")))));
  EXPECT_TRUE(std::isnan(to_float(convert<BFloat16>(std::nan("")))));
  // Whole numbers next to the middle of two bfloat16s.
  const int64_t middle = (int64_t{1} << 60) + (int64_t{1} << 52);
  EXPECT_EQ(bits_of<BFloat16>(middle + 1), bits_of<BFloat16>(std::ldexp(1 + 0x1p-7, 60)));
  EXPECT_EQ(bits_of<BFloat16>(-middle - 1), bits_of<BFloat16>(-std::ldexp(1 + 0x1p-7, 60)));
  EXPECT_EQ(bits_of<BFloat16>(middle), bits_of<BFloat16>(0x1p60));
  EXPECT_EQ(bits_of<BFloat16>(uint64_t{1} << 63 | 1), bits_of<BFloat16>(0x1p63));
  EXPECT_EQ(bits_of<BFloat16>((int32_t{1} << 24) + (1 << 16) + 1), bits_of<BFloat16>(std::ldexp(1 + 0x1p-7, 24)));
  EXPECT_EQ(bits_of<Half>(int64_t{65519}), bits_of<Half>(65504.0f));
  EXPECT_EQ(bits_of<Half>(std::numeric_limits<int64_t>::min()), 0xfc00);
}

TEST(Fills, OfPadAreExact) {
  PadAttrs a{{1}, {0}, PadMode::constant, past_double};
  EXPECT_EQ(evaluate_one<int64_t>(pad_op, a, {make_constant<int64_t>(DType::i64, {1}, {0})}), past_double);
  a.value = UINT64_MAX;
  EXPECT_EQ(evaluate_one<uint64_t>(pad_op, a, {make_constant<uint64_t>(DType::u64, {1}, {0})}), UINT64_MAX);
  a.value = 0.1;
  EXPECT_EQ(evaluate_one<double>(pad_op, a, {make_constant<double>(DType::f64, {1}, {0})}), 0.1);
}

TEST(Maps, ParametersOfDoubleAreDouble) {
  MapAttrs a;
  a.out = DType::f64;
  a.program.code = {{MapOp::add_imm, 0, 0, 0, 0.1}};
  EXPECT_EQ(evaluate_one<double>(map_op, a, {make_constant<double>(DType::f64, {1}, {1})}), 1.1);
  a.program.code = {{MapOp::clip, 0, 0, 0, 1 / 3.0, 1e300}};
  EXPECT_EQ(evaluate_one<double>(map_op, a, {make_constant<double>(DType::f64, {1}, {0})}), 1 / 3.0);
  a.out = DType::i32;
  a.program.code = {{MapOp::clip, 0, 0, 0, (1 << 24) + 1, 1e10}};
  EXPECT_EQ(evaluate_one<int32_t>(map_op, a, {make_constant<int32_t>(DType::i32, {1}, {0})}), (1 << 24) + 1);
}

TEST(Maps, PowersOfOtherTypes) {
  MapAttrs a;
  a.program.inputs = 2;
  a.program.code = {{MapOp::pow, 0, 1}};
  a.out = DType::i64;
  auto integer = [&](int64_t base, float exponent) {
    return evaluate_one<int64_t>(
        map_op, a,
        {make_constant<int64_t>(DType::i64, {1}, {base}), make_constant<float>(DType::f32, {1}, {exponent})});
  };
  EXPECT_EQ(integer(past_double, 1), past_double);
  EXPECT_EQ(integer(-3'000'000'001, 2), 9'000'000'006'000'000'001);
  EXPECT_EQ(integer(9, 0.5f), 3);
  a.out = DType::f32;  // a third is no float
  EXPECT_EQ(evaluate_one<float>(
                map_op, a,
                {make_constant<float>(DType::f32, {1}, {1e30f}), make_constant<double>(DType::f64, {1}, {1 / 3.0})}),
            static_cast<float>(std::pow(1e30f + 0.0, 1 / 3.0)));
}

TEST(Reduce, SumsOfDoubleKeepWhatIsSmall) {
  std::vector<double> x(100'001, 0.1);
  x[0] = 1e16;
  auto sum = [&](ReduceKind kind) {
    return evaluate_one<double>(reduce_op, ReduceAttrs{kind, {0}}, {make_constant(DType::f64, {100'001}, x)});
  };
  EXPECT_EQ(sum(ReduceKind::sum), 1e16 + 10'000);
  x[0] = std::numeric_limits<double>::infinity();
  EXPECT_EQ(sum(ReduceKind::mean), std::numeric_limits<double>::infinity());
  x[1] = -x[0];
  EXPECT_TRUE(std::isnan(sum(ReduceKind::sum)));
  // One element is its own sum, also where it is -0; none give +0.
  EXPECT_TRUE(std::signbit(evaluate_one<float>(reduce_op, ReduceAttrs{ReduceKind::sum, {0}},
                                               {make_constant<float>(DType::f32, {1}, {-0.0f})})));
  EXPECT_FALSE(std::signbit(evaluate_one<float>(reduce_op, ReduceAttrs{ReduceKind::sum, {1}},
                                                {make_constant<float>(DType::f32, {1, 0}, {})})));
}

TEST(CumSum, OfFloatsIsSummedInDouble) {
  std::vector<float> x(100'000, 0.1f);
  EXPECT_EQ(evaluate_one<float>(cumsum_op, CumSumAttrs{}, {make_constant(DType::f32, {100'000}, x)}, 99'999),
            static_cast<float>(100'000 * double{0.1f}));
}

TEST(ArgReduce, NanComesFirst) {
  const float nan = std::bit_cast<float>(0xffc00001);
  auto at = [&](const std::vector<float>& x, bool max, bool last) {
    return evaluate_one<int64_t>(arg_reduce_op, ArgReduceAttrs{0, max, last},
                                 {make_constant(DType::f32, {static_cast<int64_t>(x.size())}, x)});
  };
  for (bool max : {true, false}) {
    EXPECT_EQ(at({1, nan, 3, nan}, max, false), 1);
    EXPECT_EQ(at({1, nan, 3, nan, 2}, max, true), 3);
    EXPECT_EQ(at({nan, 1}, max, false), 0);
  }
}

}  // namespace
}  // namespace pando
