// Softmax and log-softmax of rows and columns against a sum in double.
#include "kernels/reduce/softmax.hpp"

#include <algorithm>
#include <span>

#include "kernels/kernel_check.hpp"

namespace pando::kernels {
namespace {

// A NaN anywhere, infinity, and -infinity alone make every element NaN.
std::vector<double> expected_softmax(bool log, const std::vector<float>& x) {
  double top = -INFINITY, sum = 0;
  for (float v : x) top = std::isnan(v) ? NAN : std::max(top, double{v});
  for (float v : x) sum += std::exp(v - top);
  std::vector<double> y;
  for (float v : x) y.push_back(log ? v - top - std::log(sum) : std::exp(v - top) / sum);
  return y;
}

std::vector<float> softmax_of_row(bool log, const test::Floats& x, bool in_place = false) {
  test::Output out(x.size());
  if (in_place) std::copy_n(x.data(), x.size(), out.data());
  softmax_row(log, in_place ? out.data() : x.data(), out.data(), x.size());
  const std::vector<float> y = out.take(0, x.size());
  EXPECT_TRUE(out.rest_is_untouched());
  return y;
}

// Columns of `rows` elements; the tensors are wider than the columns, and their gaps must stay.
struct ColumnsCase {
  int64_t rows, cols, x_step, y_step;
};
std::vector<float> softmax_of_columns(bool log, const ColumnsCase& c, const test::Floats& x, bool in_place = false) {
  test::Output out((c.rows - 1) * c.y_step + c.cols);
  for (int64_t i = 0; in_place && i < c.rows; i++)
    std::copy_n(x.data() + i * c.x_step, c.cols, out.data() + i * c.y_step);
  softmax_columns(log, in_place ? out.data() : x.data(), in_place ? c.y_step : c.x_step, out.data(), c.y_step, c.rows,
                  c.cols);
  std::vector<float> y;
  for (int64_t i = 0; i < c.rows; i++)
    for (int64_t j = 0; j < c.cols; j++) y.push_back(out.take(i * c.y_step + j));
  EXPECT_TRUE(out.rest_is_untouched());
  return y;
}

testing::AssertionResult all_near(std::span<const float> got, const std::vector<double>& want, double tolerance) {
  for (size_t i = 0; i < want.size(); i++)
    if (const auto result = test::near(got[i], want[i], tolerance); !result)
      return testing::AssertionFailure() << "at " << i << ": " << result.message();
  return testing::AssertionSuccess();
}

class SoftmaxKernel : public test::EachIsa {};
INSTANTIATE_TEST_SUITE_P(Isas, SoftmaxKernel, test::all_isas(), test::isa_name);

constexpr int64_t softmax_lengths[] = {1,  2,   3,   7,   15,   16,   17,   31,   33,  64,
                                       65, 127, 128, 129, 1000, 4095, 4096, 4097, 8209};

TEST_P(SoftmaxKernel, Rows) {
  Random random(1);
  for (int64_t n : softmax_lengths)
    for (double spread : {0.1, 5.0, 60.0})
      for (bool log : {false, true}) {
        const test::Floats x(random, n, -spread, spread + 3);
        const std::vector<float> y = softmax_of_row(log, x), values(x.data(), x.data() + n);
        ASSERT_TRUE(all_near(y, expected_softmax(log, values), 1e-6)) << n << (log ? " log" : "");
        ASSERT_TRUE(test::same_bits(softmax_of_row(log, x, true), y)) << n << (log ? " log" : "") << " in place";
      }
}

TEST_P(SoftmaxKernel, Columns) {
  constexpr int64_t heights[] = {127, 128, 129, 255, 256, 257, 400};  // around the blocks of a column's sum
  Random random(2);
  for (int trial = 0; trial < 120; trial++) {
    ColumnsCase c{trial % 4 ? test::between(random, 1, 20) : test::pick(random, heights),
                  test::pick(random, test::odd_sizes), 0, 0};
    c.x_step = c.cols + test::between(random, 0, 9), c.y_step = c.cols + test::between(random, 0, 9);
    const test::Floats x(random, (c.rows - 1) * c.x_step + c.cols, -9, 9);
    for (bool log : {false, true}) {
      const std::vector<float> y = softmax_of_columns(log, c, x);
      for (int64_t j = 0; j < c.cols; j++) {
        std::vector<float> column, got;
        for (int64_t i = 0; i < c.rows; i++) {
          column.push_back(x[i * c.x_step + j]);
          got.push_back(y[static_cast<size_t>(i * c.cols + j)]);
        }
        ASSERT_TRUE(all_near(got, expected_softmax(log, column), 1e-6)) << c.rows << "x" << c.cols << " column " << j;
      }
      ASSERT_TRUE(test::same_bits(softmax_of_columns(log, c, x, true), y)) << c.rows << "x" << c.cols << " in place";
    }
  }
}

// What a column gives does not depend on its neighbours: tiles may cut them anywhere.
TEST_P(SoftmaxKernel, AColumnAloneHasTheSameBits) {
  Random random(3);
  for (bool log : {false, true})
    for (int64_t rows : {5, 300}) {
      const ColumnsCase c{rows, 45, 47, 45};
      const test::Floats x(random, rows * c.x_step, -4, 4);
      const std::vector<float> y = softmax_of_columns(log, c, x);
      for (int64_t j = 0; j < c.cols; j++) {
        test::Output out(rows);
        softmax_columns(log, x.data() + j, c.x_step, out.data(), 1, rows, 1);
        for (int64_t i = 0; i < rows; i++)
          ASSERT_TRUE(test::exact(out.take(i), y[static_cast<size_t>(i * c.cols + j)])) << "column " << j;
        ASSERT_TRUE(out.rest_is_untouched());
      }
    }
}

// Equal elements: every e^0 is 1, and their number is a sum without rounding, also where it is long.
TEST_P(SoftmaxKernel, EqualElements) {
  for (int64_t n : {1, 3, 16, 129, 4097, 100003})
    for (float value : {0.0f, -7.5f, 3e38f, -3e38f, 1e-45f}) {
      const test::Floats x(n, value);
      const auto count = static_cast<float>(n);
      const ColumnsCase column{n, 1, 1, 1};
      for (const auto& y : {softmax_of_row(false, x), softmax_of_columns(false, column, x)})
        for (float v : y) ASSERT_TRUE(test::exact(v, 1 / count)) << n << " of " << value;
      for (const auto& y : {softmax_of_row(true, x), softmax_of_columns(true, column, x)})
        for (float v : y) ASSERT_TRUE(test::near(v, -std::log(double{count}), 3e-7)) << n << " of " << value;
    }
}

// A million terms, most of them small beside the first: summed in float one after the other they would be off by far.
TEST_P(SoftmaxKernel, LongSums) {
  Random random(4);
  test::Floats x(random, 1000000, -12, -9);
  x[0] = 0;
  const std::vector<double> want = expected_softmax(true, {x.data(), x.data() + x.size()});
  EXPECT_TRUE(test::near(softmax_of_row(true, x)[0], want[0], 2e-6));
  EXPECT_TRUE(test::near(softmax_of_columns(true, {x.size(), 1, 1, 1}, x)[0], want[0], 2e-6));
}

std::vector<float> spoiled_row(int64_t n, int64_t at, float value) {
  std::vector<float> x;
  for (int64_t i = 0; i < n; i++) x.push_back(static_cast<float>(i % 5));
  x[static_cast<size_t>(at)] = value;
  return x;
}

TEST_P(SoftmaxKernel, SpecialValuesAtEveryPosition) {
  for (int64_t n : {1, 2, 5, 16, 17, 37})
    for (int64_t at = 0; at < n; at++)
      for (float value : {NAN, INFINITY, -INFINITY, 3.4e38f, -3.4e38f, -200.0f})
        for (bool log : {false, true}) {
          const std::vector<float> values = spoiled_row(n, at, value);
          test::Floats x(n);
          std::copy(values.begin(), values.end(), x.data());
          const std::vector<double> want = expected_softmax(log, values);
          ASSERT_TRUE(all_near(softmax_of_row(log, x), want, 1e-6)) << value << " at " << at << " of " << n;
          ASSERT_TRUE(all_near(softmax_of_columns(log, {n, 1, 1, 1}, x), want, 1e-6)) << value << " at " << at;
        }
}

TEST_P(SoftmaxKernel, ASpoiledColumnLeavesItsNeighbours) {
  const ColumnsCase c{9, 35, 35, 35};
  Random random(5);
  for (float value : {NAN, INFINITY})
    for (int64_t at : {0, 15, 16, 33, 34}) {
      test::Floats x(random, c.rows * c.cols);
      x[4 * c.cols + at] = value;
      const std::vector<float> y = softmax_of_columns(false, c, x);
      for (int64_t i = 0; i < c.rows * c.cols; i++)
        ASSERT_EQ(std::isnan(y[static_cast<size_t>(i)]), i % c.cols == at) << value << " in column " << at;
    }
}

TEST(SoftmaxKernelBits, EqualOnAvx2AndAvx512) {
  if (!test::has_avx512()) GTEST_SKIP() << "no AVX-512 here to compare with";
  Random random(6);
  for (int64_t n : softmax_lengths)
    for (bool log : {false, true}) {
      const test::Floats x(random, n, -20, 20);
      EXPECT_TRUE(test::same_bits_at_both_widths([&] { return softmax_of_row(log, x); })) << n;
      const int64_t cols = std::min<int64_t>(n, 29);
      EXPECT_TRUE(test::same_bits_at_both_widths([&] {
        return softmax_of_columns(log, {n / cols, cols, cols, cols}, x);
      })) << n;
    }
}

}  // namespace
}  // namespace pando::kernels
