// Local response normalization over channels against its formula in double.
#include <algorithm>

#include "kernels/kernel_check.hpp"
#include "kernels/norm/norm.hpp"

namespace pando::kernels {
namespace {

// The scratch is exactly as long as promised, and holds NaN before: what the kernel reads of it, it must have written.
std::vector<float> run_lrn(const LrnRow& lrn, const test::Floats& x, bool in_place = false) {
  test::Output out(lrn.n);
  test::Floats squares(lrn_scratch(lrn.n, lrn.size), NAN);
  if (in_place) std::copy_n(x.data(), lrn.n, out.data());
  lrn_row(lrn, in_place ? out.data() : x.data(), out.data(), squares.data());
  const std::vector<float> y = out.take(0, lrn.n);
  EXPECT_TRUE(out.rest_is_untouched());
  return y;
}

double expected_lrn(const LrnRow& lrn, const test::Floats& x, int64_t channel) {
  const int64_t first = std::max<int64_t>(channel - (lrn.size - 1) / 2, 0);
  const int64_t last = std::min(channel + lrn.size / 2, lrn.n - 1);
  double sum = 0;
  for (int64_t c = first; c <= last; c++) sum += double{x[c]} * x[c];
  return x[channel] /
         std::pow(double{lrn.bias} + double{lrn.alpha} / static_cast<double>(lrn.size) * sum, double{lrn.beta});
}

testing::AssertionResult is_lrn(const LrnRow& lrn, const test::Floats& x, double tolerance) {
  const std::vector<float> y = run_lrn(lrn, x);
  for (int64_t c = 0; c < lrn.n; c++)
    if (const auto result = test::near(y[static_cast<size_t>(c)], expected_lrn(lrn, x, c), tolerance); !result)
      return testing::AssertionFailure() << lrn.n << " channels, windows of " << lrn.size << ", beta " << lrn.beta
                                         << ": at " << c << ": " << result.message();
  return testing::AssertionSuccess();
}

LrnRow random_lrn(Random& random) {
  constexpr float betas[] = {0.5f, 0.75f, 1, 0.6f, 2, 0};  // some by square roots, the others by a logarithm
  LrnRow lrn{test::pick(random, test::odd_sizes), test::between(random, 1, 9), 0, test::pick(random, betas), 0};
  if (random.below(5) == 0) lrn.size = test::between(random, lrn.n, 2 * lrn.n + 40);  // wider than the row
  lrn.alpha = static_cast<float>(1e-4 + random.unit());
  lrn.bias = static_cast<float>(0.5 + random.unit());
  return lrn;
}

class LrnKernel : public test::EachIsa {};
INSTANTIATE_TEST_SUITE_P(Isas, LrnKernel, test::all_isas(), test::isa_name);

TEST_P(LrnKernel, RandomRows) {
  Random random(1);
  for (int trial = 0; trial < 500; trial++) {
    const LrnRow lrn = random_lrn(random);
    const test::Floats x(random, lrn.n, -4, 4);
    ASSERT_TRUE(is_lrn(lrn, x, 2e-6)) << "trial " << trial;
    ASSERT_TRUE(test::same_bits(run_lrn(lrn, x, true), run_lrn(lrn, x))) << "in place, trial " << trial;
  }
}

// One channel that is not zero: exactly the windows that it lies in are changed, on either side, for odd and even
// sizes.
TEST_P(LrnKernel, WindowsEndWhereTheyShould) {
  for (int64_t size = 1; size <= 8; size++)
    for (int64_t n : {1, 2, 15, 16, 17, 35})
      for (int64_t at = 0; at < n; at++) {
        const LrnRow lrn{n, size, static_cast<float>(size), 1, 1};
        test::Floats x(n, 0.5f);
        x[at] = 1000;
        ASSERT_TRUE(is_lrn(lrn, x, 1e-6)) << "large at " << at;
      }
}

TEST_P(LrnKernel, SpoiledChannelsStayInTheirWindows) {
  Random random(2);
  for (float value : {NAN, INFINITY, -INFINITY, 1e18f, 1e-45f, -0.0f})
    for (float beta : {0.5f, 0.75f, 1.0f, 0.6f})
      for (int64_t at : {0, 7, 15, 16, 32}) {
        const LrnRow lrn{33, 5, 1e-4f, beta, 2};
        test::Floats x(random, lrn.n);
        x[at] = value;
        ASSERT_TRUE(is_lrn(lrn, x, 2e-6)) << value << " at " << at;
      }
}

TEST(LrnKernelBits, EqualOnAvx2AndAvx512) {
  if (!test::has_avx512()) GTEST_SKIP() << "no AVX-512 here to compare with";
  Random random(3);
  for (int trial = 0; trial < 200; trial++) {
    const LrnRow lrn = random_lrn(random);
    const test::Floats x(random, lrn.n, -4, 4);
    EXPECT_TRUE(test::same_bits_at_both_widths([&] { return run_lrn(lrn, x); })) << lrn.n << ", " << lrn.size;
  }
}

}  // namespace
}  // namespace pando::kernels
