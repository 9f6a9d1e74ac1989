// Accuracy of the vector functions against libm in double precision, over bit patterns of the whole float32 range.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <functional>

#include "base/cpu.hpp"
#include "kernels/elementwise/map_rows.hpp"
#include "kernels/simd.hpp"

namespace pando::kernels {
namespace {

std::vector<float> apply(MapInstr instr, const std::vector<float>& x) {
  MapProgram program;
  program.code = {instr};
  std::vector<float> y(x.size());
  const MapOperand operand{x.data(), 0, 1};
  map_rows(to_map_code(program), &operand, y.data(), 0, 1, static_cast<int64_t>(x.size()));
  return y;
}

// Every 1009th bit pattern whose value lies in [low, high], and special values.
std::vector<float> sweep(float low, float high) {
  std::vector<float> x = {0.0f, -0.0f, 1.0f, -1.0f, 0.5f, 1e-45f, -1e-45f, 1e-38f, 3.4e38f, -3.4e38f, low, high};
  for (uint64_t bits = 0; bits < uint64_t{1} << 32; bits += 1009) {
    const float v = std::bit_cast<float>(static_cast<uint32_t>(bits));
    if (v >= low && v <= high) x.push_back(v);
  }
  std::erase_if(x, [&](float v) { return v < low || v > high; });
  return x;
}

struct Error {
  double ulp = 0, absolute = 0;
  float at = 0;
};

// Errors where the exact result is a normal number; elsewhere the result must be within one smallest normal of it.
Error largest_error(MapInstr instr, const std::function<double(double)>& exact, float low, float high) {
  const auto x = sweep(low, high), y = apply(instr, x);
  Error e;
  for (size_t i = 0; i < x.size(); i++) {
    const double want = exact(x[i]);
    if (std::isinf(static_cast<float>(want)) || std::isinf(y[i]) || std::isnan(want)) {
      // The largest finite number may round either way.
      if (!(std::isnan(want) && std::isnan(y[i])) && !(std::fabs(want) >= 3.4028e38 && std::fabs(y[i]) >= 3.4028e38f))
        ADD_FAILURE() << name_of(instr.op) << "(" << x[i] << ") = " << y[i] << ", want " << want;
      continue;
    }
    const double d = std::fabs(y[i] - want);
    e.absolute = std::max(e.absolute, d);
    if (std::fabs(want) < 1.2e-38) {
      EXPECT_LE(d, 1.2e-38) << name_of(instr.op) << "(" << x[i] << ")";
      continue;
    }
    const double ulp = d / std::ldexp(1.0, std::ilogb(want) - 23);
    if (ulp > e.ulp) e.ulp = ulp, e.at = x[i];
  }
  return e;
}

constexpr float max_float = 3.4028235e38f;

void expect_ulp(MapOp op, double bound, const std::function<double(double)>& exact, float low = -max_float,
                float high = max_float) {
  const Error e = largest_error({op}, exact, low, high);
  // Without fma the reductions and polynomials round once more per step.
  const double slack = active_isa() == Isa::portable ? 2 : 1;
  EXPECT_LE(e.ulp, bound * slack) << name_of(op) << " at " << e.at;
  ::testing::Test::RecordProperty(std::string(name_of(op)) + "_ulp", std::to_string(e.ulp));
}
void expect_absolute(MapInstr instr, double bound, const std::function<double(double)>& exact, float low, float high) {
  const Error e = largest_error(instr, exact, low, high);
  EXPECT_LE(e.absolute, bound) << name_of(instr.op);
  ::testing::Test::RecordProperty(std::string(name_of(instr.op)) + "_absolute", std::to_string(e.absolute * 1e9));
}

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

// With every instruction set that this CPU has.
class VectorMath : public ::testing::TestWithParam<Isa> {
 protected:
  void SetUp() override { limit_isa(GetParam()), apply_isa_limit(); }
  void TearDown() override { limit_isa(Isa::avx512), apply_isa_limit(); }
};
INSTANTIATE_TEST_SUITE_P(Isas, VectorMath, ::testing::Values(Isa::portable, Isa::avx2, Isa::avx512),
                         [](const auto& p) { return std::string(name_of(p.param)); });

TEST_P(VectorMath, Exp) {
  expect_ulp(MapOp::exp, 1.1, [](double x) { return std::exp(x); });
}
TEST_P(VectorMath, Log) {
  expect_ulp(MapOp::log, 1.5, [](double x) { return std::log(x); });
}
TEST_P(VectorMath, Tanh) {
  expect_ulp(MapOp::tanh, 2.5, [](double x) { return std::tanh(x); });
}
TEST_P(VectorMath, Erf) {
  expect_ulp(MapOp::erf, 4.5, [](double x) { return std::erf(x); });
}
TEST_P(VectorMath, Sigmoid) { expect_ulp(MapOp::sigmoid, 2.5, sigmoid, -88, max_float); }
TEST_P(VectorMath, SinCos) {
  expect_absolute(
      {MapOp::sin}, 1.2e-7, [](double x) { return std::sin(x); }, -30000, 30000);
  expect_absolute(
      {MapOp::cos}, 1.2e-7, [](double x) { return std::cos(x); }, -30000, 30000);
  expect_absolute(
      {MapOp::sin}, 1.2e-7, [](double x) { return std::sin(x); }, 20000, max_float);
}
TEST_P(VectorMath, Expm1InElu) {
  const MapInstr elu{MapOp::elu, 0, 0, 0, 1.0f, 0};
  const Error e = largest_error(
      elu, [](double x) { return x < 0 ? std::expm1(x) : x; }, -max_float, max_float);
  EXPECT_LE(e.ulp, active_isa() == Isa::portable ? 4 : 2) << e.at;
}
TEST_P(VectorMath, Gelu) {
  const auto erf_form = [](double x) { return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0))); };
  const auto tanh_form = [](double x) {
    return 0.5 * x * (1 + std::tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)));
  };
  expect_absolute({MapOp::gelu_erf}, 1.2e-6, erf_form, -20, 10);
  expect_absolute({MapOp::gelu_tanh}, 1e-6, tanh_form, -20, 10);
}
TEST_P(VectorMath, SoftplusAndMish) {
  const auto softplus = [](double x) { return std::max(x, 0.0) + std::log1p(std::exp(-std::fabs(x))); };
  expect_ulp(MapOp::softplus, 4, softplus, -80, max_float);
  expect_absolute(
      {MapOp::mish}, 3e-6, [&](double x) { return x * std::tanh(softplus(x)); }, -100, 20);
}

TEST_P(VectorMath, SpecialValues) {
  const float inf = INFINITY, nan = NAN;
  const std::vector<float> x = {inf, -inf, nan, 0.0f, -0.0f, -1.0f};
  struct Case {
    MapOp op;
    std::vector<float> want;
  };
  const Case cases[] = {{MapOp::exp, {inf, 0, nan, 1, 1, std::exp(-1.0f)}},
                        {MapOp::log, {inf, nan, nan, -inf, -inf, nan}},
                        {MapOp::tanh, {1, -1, nan, 0, -0.0f, std::tanh(-1.0f)}},
                        {MapOp::erf, {1, -1, nan, 0, -0.0f, std::erf(-1.0f)}},
                        {MapOp::sigmoid, {1, 0, nan, 0.5f, 0.5f, 0.26894143f}},
                        {MapOp::sin, {nan, nan, nan, 0, -0.0f, std::sin(-1.0f)}},
                        {MapOp::cos, {nan, nan, nan, 1, 1, std::cos(1.0f)}},
                        {MapOp::relu, {inf, 0, nan, 0, 0, 0}},
                        {MapOp::sign, {1, -1, nan, 0, 0, -1}},
                        {MapOp::softplus, {inf, 0, nan, 0.6931472f, 0.6931472f, 0.31326166f}},
                        {MapOp::is_nan, {0, 0, 1, 0, 0, 0}}};
  for (const Case& c : cases) {
    const auto y = apply({c.op}, x);
    for (size_t i = 0; i < x.size(); i++) {
      if (std::isnan(c.want[i])) EXPECT_TRUE(std::isnan(y[i])) << name_of(c.op) << "(" << x[i] << ") = " << y[i];
      else EXPECT_FLOAT_EQ(y[i], c.want[i]) << name_of(c.op) << "(" << x[i] << ")";
    }
  }
}

// Every vector width and every position in a vector gives the same bits, fma or not aside.
TEST(VectorMathBits, EqualOnAvx2AndAvx512AndAtAnyOffset) {
  const auto x = sweep(-100, 100);
  for (MapOp op : {MapOp::exp, MapOp::log, MapOp::tanh, MapOp::erf, MapOp::sigmoid, MapOp::sin, MapOp::gelu_erf}) {
    limit_isa(Isa::avx2), apply_isa_limit();
    const auto narrow = apply({op}, x);
    limit_isa(Isa::avx512), apply_isa_limit();
    const auto wide = apply({op}, x);
    EXPECT_EQ(std::memcmp(narrow.data(), wide.data(), x.size() * sizeof(float)), 0) << name_of(op);
    const auto shifted = apply({op}, std::vector<float>(x.begin() + 5, x.end()));
    EXPECT_EQ(std::memcmp(narrow.data() + 5, shifted.data(), shifted.size() * sizeof(float)), 0) << name_of(op);
  }
}

}  // namespace
}  // namespace pando::kernels
