// Layer and root-mean-square normalization of a row against two passes in double.
#include "kernels/norm/norm.hpp"

#include <algorithm>

#include "kernels/kernel_check.hpp"

namespace pando::kernels {
namespace {

struct NormCase {
  NormRow row;
  test::Floats x, scale, bias;  // scale and bias may be empty: null
};

NormCase random_norm(Random& random, int64_t n, double low, double high) {
  NormCase c{{n, random.below(2) ? 1e-5f : 1e-12f, random.below(3) == 0}, {random, n, low, high}, {}, {}};
  if (random.below(4)) c.scale = test::Floats(random, n, -2, 2);
  if (random.below(4)) c.bias = test::Floats(random, n, -3, 3);
  return c;
}

const float* or_null(const test::Floats& f) { return f.size() > 0 ? f.data() : nullptr; }

std::vector<float> normalize(const NormCase& c, bool in_place = false) {
  test::Output out(c.row.n);
  if (in_place) std::copy_n(c.x.data(), c.row.n, out.data());
  norm_row(c.row, in_place ? out.data() : c.x.data(), or_null(c.scale), or_null(c.bias), out.data());
  const std::vector<float> y = out.take(0, c.row.n);
  EXPECT_TRUE(out.rest_is_untouched());
  return y;
}

std::vector<double> expected_norm(const NormCase& c) {
  const int64_t n = c.row.n;
  double mean = 0, variance = 0;
  for (int64_t i = 0; i < n && !c.row.rms; i++) mean += double{c.x[i]} / static_cast<double>(n);
  for (int64_t i = 0; i < n; i++) variance += (c.x[i] - mean) * (c.x[i] - mean) / static_cast<double>(n);
  std::vector<double> y;
  for (int64_t i = 0; i < n; i++)
    y.push_back((c.x[i] - mean) / std::sqrt(variance + double{c.row.epsilon}) * (c.scale.size() ? c.scale[i] : 1) +
                (c.bias.size() ? c.bias[i] : 0));
  return y;
}

testing::AssertionResult is_normalized(const NormCase& c, double tolerance) {
  const std::vector<float> y = normalize(c);
  const std::vector<double> want = expected_norm(c);
  for (size_t i = 0; i < y.size(); i++)
    if (const auto result = test::near(y[i], want[i], tolerance); !result)
      return testing::AssertionFailure() << (c.row.rms ? "rms of " : "") << y.size() << " at " << i << ": "
                                         << result.message();
  return testing::AssertionSuccess();
}

class NormKernel : public test::EachIsa {};
INSTANTIATE_TEST_SUITE_P(Isas, NormKernel, test::all_isas(), test::isa_name);

TEST_P(NormKernel, RandomRows) {
  Random random(1);
  for (int trial = 0; trial < 400; trial++) {
    const int64_t n = trial % 3 ? test::pick(random, test::odd_sizes) : test::between(random, 1, 3000);
    const NormCase c = random_norm(random, n, -3, 5);
    ASSERT_TRUE(is_normalized(c, 2e-6)) << "trial " << trial;
    ASSERT_TRUE(test::same_bits(normalize(c, true), normalize(c))) << "in place, trial " << trial;
  }
}

// The mean of such a row has more digits than a float, and a sum in float would lose the spread altogether.
TEST_P(NormKernel, RowsFarFromZeroKeepTheirSpread) {
  Random random(2);
  for (int64_t n : {2, 3, 17, 33, 1000, 20000})
    for (double center : {1e3, -65536.0, 1e6, 8e6, -8388000.0})
      for (int kind = 0; kind < 2; kind++) {
        NormCase c = random_norm(random, n, center - 10, center + 10);
        c.row.rms = kind == 1;
        ASSERT_TRUE(is_normalized(c, 3e-6)) << "around " << center;
      }
}

TEST_P(NormKernel, LargeAndSmallNumbers) {
  Random random(3);
  for (double scale : {1e-44, 1e-38, 1e-20, 1e18, 1e30, 1e38})
    for (int64_t n : {1, 2, 16, 33, 259})
      for (int trial = 0; trial < 4; trial++)
        ASSERT_TRUE(is_normalized(random_norm(random, n, -scale, scale), 3e-6)) << "up to " << scale;
}

// Nothing but the bias is left of a row without spread, whatever its value.
TEST_P(NormKernel, EqualElementsGiveTheBias) {
  Random random(4);
  for (int64_t n : test::odd_sizes)
    for (float value : {0.0f, 0.1f, -12345.678f, 3e30f, 1e-45f}) {
      NormCase c = random_norm(random, n, 0, 0);
      c.row.rms = false;
      std::fill_n(c.x.data(), n, value);
      const std::vector<float> y = normalize(c);
      for (int64_t i = 0; i < n; i++)
        ASSERT_EQ(y[static_cast<size_t>(i)], c.bias.size() ? c.bias[i] : 0) << n << " times " << value;
    }
}

TEST_P(NormKernel, InfinityAndNan) {
  Random random(5);
  for (int64_t n : {1, 2, 16, 17, 37})
    for (int64_t at = 0; at < n; at++)
      for (float value : {NAN, INFINITY, -INFINITY})
        for (bool rms : {false, true}) {
          NormCase c = random_norm(random, n, -1, 1);
          c.row.rms = rms;
          c.x[at] = value;
          ASSERT_TRUE(is_normalized(c, 2e-6)) << value << " at " << at;
        }
}

// Scale and bias are taken element by element: one that is NaN spoils one element.
TEST_P(NormKernel, ASpoiledScaleOrBiasLeavesTheOthers) {
  Random random(6);
  for (int64_t n : {1, 15, 16, 33})
    for (int64_t at = 0; at < n; at++)
      for (bool in_bias : {false, true}) {
        NormCase c{{n, 1e-5f, false}, {random, n}, {random, n}, {random, n}};
        (in_bias ? c.bias : c.scale)[at] = NAN;
        const std::vector<float> y = normalize(c);
        for (int64_t i = 0; i < n; i++) ASSERT_EQ(std::isnan(y[static_cast<size_t>(i)]), i == at) << n;
      }
}

TEST(NormKernelBits, EqualOnAvx2AndAvx512) {
  if (!test::has_avx512()) GTEST_SKIP() << "no AVX-512 here to compare with";
  Random random(7);
  for (int trial = 0; trial < 200; trial++) {
    const int64_t n = trial % 3 ? test::pick(random, test::odd_sizes) : test::between(random, 1, 5000);
    const NormCase c = random_norm(random, n, trial % 5 ? -1 : 1e5, trial % 5 ? 1 : 1e5 + 1);
    EXPECT_TRUE(test::same_bits_at_both_widths([&] { return normalize(c); })) << n;
  }
}

}  // namespace
}  // namespace pando::kernels
