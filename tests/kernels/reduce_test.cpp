// Reductions, bit for bit: the order of every sum is part of the contract.
#include "kernels/reduce/reduce.hpp"

#include <algorithm>

#include "kernels/kernel_check.hpp"

namespace pando::kernels {
namespace {

constexpr Reduction reductions[] = {Reduction::sum, Reduction::mean, Reduction::max, Reduction::min, Reduction::prod};

double start_of(Reduction kind) {
  switch (kind) {
    case Reduction::max: return -INFINITY;
    case Reduction::min: return INFINITY;
    case Reduction::prod: return 1;
    default: return -0.0;  // changes no number, not even -0
  }
}

double combined(Reduction kind, double a, double b) {
  switch (kind) {
    case Reduction::max: return std::isnan(a) || std::isnan(b) ? NAN : std::max(a, b);
    case Reduction::min: return std::isnan(a) || std::isnan(b) ? NAN : std::min(a, b);
    case Reduction::prod: return a * b;
    default: return a + b;
  }
}

float finished(Reduction kind, double total, int64_t count) {
  return static_cast<float>(kind == Reduction::mean ? total / static_cast<double>(count) : total);
}

// Offsets of all indices of the outer dimensions, in order.
std::vector<int64_t> offsets_of(const ReducedDims& outer) {
  std::vector<int64_t> offsets{0};
  for (int d = 0; d < outer.rank; d++) {
    std::vector<int64_t> next;
    for (int64_t at : offsets)
      for (int64_t i = 0; i < outer.extent[d]; i++) next.push_back(at + i * outer.stride[d]);
    offsets = next;
  }
  return offsets;
}

float expected_of_contiguous(Reduction kind, const float* x, const ReducedDims& outer, int64_t n) {
  double partial[16];
  std::fill_n(partial, 16, start_of(kind));
  for (int64_t at : offsets_of(outer))
    for (int64_t i = 0; i < n; i++) partial[i % 16] = combined(kind, partial[i % 16], x[at + i]);
  for (int half = 8; half > 0; half /= 2)
    for (int i = 0; i < half; i++) partial[i] = combined(kind, partial[i], partial[i + half]);
  return finished(kind, partial[0], n * outer.count());
}

float expected_of_column(Reduction kind, const float* x, const ReducedDims& outer) {
  double total = start_of(kind);
  for (int64_t at : offsets_of(outer)) total = combined(kind, total, x[at]);
  return finished(kind, total, outer.count());
}

// Up to three dimensions around `inner` elements, some of them walked backwards, with gaps. `first` is the offset of
// index 0, `floats` what all of them take.
struct OuterCase {
  ReducedDims dims;
  int64_t first = 0, floats = 0;
};
OuterCase random_outer(Random& random, int64_t inner) {
  OuterCase c;
  c.dims.rank = static_cast<int>(random.below(4));
  int64_t size = inner;
  for (int d = c.dims.rank - 1; d >= 0; d--) {
    const int64_t stride = size + test::between(random, 0, 5), extent = test::between(random, 1, 6);
    const bool backwards = random.below(4) == 0;
    c.dims.extent[d] = extent;
    c.dims.stride[d] = backwards ? -stride : stride;
    if (backwards) c.first += (extent - 1) * stride;
    size += (extent - 1) * stride;
  }
  c.floats = size;
  return c;
}

class ReduceKernel : public test::EachIsa {};
INSTANTIATE_TEST_SUITE_P(Isas, ReduceKernel, test::all_isas(), test::isa_name);

TEST_P(ReduceKernel, ContiguousElementsGoToSixteenPartials) {
  Random random(1);
  for (int trial = 0; trial < 300; trial++) {
    const int64_t n = trial % 3 ? test::pick(random, test::odd_sizes) : test::between(random, 1, 1000);
    const OuterCase c = random_outer(random, n);
    const test::Floats x(random, c.floats, 0.5, 1.5);
    for (Reduction kind : reductions)
      ASSERT_TRUE(test::exact(reduce_contiguous(kind, x.data() + c.first, c.dims, n),
                              expected_of_contiguous(kind, x.data() + c.first, c.dims, n)))
          << n << " elements, " << c.dims.count() << " times, kind " << static_cast<int>(kind);
  }
}

TEST_P(ReduceKernel, ColumnsAreReducedInOrder) {
  Random random(2);
  for (int trial = 0; trial < 300; trial++) {
    const int64_t cols = trial % 3 ? test::pick(random, test::odd_sizes) : test::between(random, 1, 200);
    const OuterCase c = random_outer(random, cols);
    const test::Floats x(random, c.floats, 0.5, 1.5);
    for (Reduction kind : reductions) {
      test::Output out(cols);
      reduce_columns(kind, x.data() + c.first, c.dims, cols, out.data());
      for (int64_t i = 0; i < cols; i++)
        ASSERT_TRUE(test::exact(out.take(i), expected_of_column(kind, x.data() + c.first + i, c.dims)))
            << "column " << i << " of " << cols << ", kind " << static_cast<int>(kind);
      ASSERT_TRUE(out.rest_is_untouched());
    }
  }
}

// Large numbers that cancel: which of the small ones they swallow on the way, in double, tells the order of the sum.
TEST_P(ReduceKernel, TheOrderOfSums) {
  Random random(4);
  for (int trial = 0; trial < 200; trial++) {
    const int64_t n = test::between(random, 2, 300);
    test::Floats x(random, n, 0.5, 1.5);
    for (int64_t pair = 0; pair < 1 + n / 20; pair++) {
      const int64_t a = test::between(random, 0, n - 1), b = test::between(random, 0, n - 1);
      if (a != b && x[a] < 2 && x[b] < 2 && x[a] > 0 && x[b] > 0) x[a] = 0x1p60f, x[b] = -0x1p60f;
    }
    ReducedDims rows;
    rows.rank = 1, rows.extent[0] = n, rows.stride[0] = 1;
    for (Reduction kind : {Reduction::sum, Reduction::mean}) {
      ASSERT_TRUE(test::exact(reduce_contiguous(kind, x.data(), {}, n), expected_of_contiguous(kind, x.data(), {}, n)))
          << n;
      float column;
      reduce_columns(kind, x.data(), rows, 1, &column);
      ASSERT_TRUE(test::exact(column, expected_of_column(kind, x.data(), rows))) << n;
    }
  }
}

// `values` as one row, and as one column among three that hold the same.
void expect_both(Reduction kind, const std::vector<float>& values, float want) {
  const auto n = static_cast<int64_t>(values.size());
  test::Floats row(n), columns(3 * n);
  for (int64_t i = 0; i < n; i++) {
    row[i] = values[static_cast<size_t>(i)];
    for (int64_t c = 0; c < 3; c++) columns[3 * i + c] = row[i];
  }
  EXPECT_TRUE(test::exact(reduce_contiguous(kind, row.data(), {}, n), want)) << "row, kind " << static_cast<int>(kind);
  ReducedDims rows;
  rows.rank = 1, rows.extent[0] = n, rows.stride[0] = 3;
  test::Output out(3);
  reduce_columns(kind, columns.data(), rows, 3, out.data());
  for (int64_t c = 0; c < 3; c++)
    EXPECT_TRUE(test::exact(out.take(c), want)) << "column " << c << ", kind " << static_cast<int>(kind);
  EXPECT_TRUE(out.rest_is_untouched());
}

TEST_P(ReduceKernel, SumsAndProductsAreRoundedOnce) {
  const float huge = 3.4e38f, tiny = 1e-45f;
  expect_both(Reduction::sum, {huge, huge, huge, -huge, -huge}, huge);
  expect_both(Reduction::sum, {huge, huge}, INFINITY);
  expect_both(Reduction::mean, {huge, huge, huge}, huge);
  expect_both(Reduction::mean, {-huge, huge}, 0);
  expect_both(Reduction::prod, {1e-30f, 1e-30f, 1e30f, 1e30f},
              static_cast<float>(double{1e-30f} * 1e-30f * (double{1e30f} * 1e30f)));
  expect_both(Reduction::prod, {tiny, 0.25f, 8}, 2 * tiny);  // a denormal would be lost on the way
  expect_both(Reduction::sum, {tiny, tiny, tiny}, 3 * tiny);
  expect_both(Reduction::sum, {16777216, 1, 1, 1, -16777216}, 3);
}

TEST_P(ReduceKernel, SignsOfZero) {
  for (Reduction kind : {Reduction::sum, Reduction::mean, Reduction::max, Reduction::min, Reduction::prod}) {
    expect_both(kind, {-0.0f}, -0.0f);
    expect_both(kind, {0.0f}, 0.0f);
  }
  for (int64_t n : {2, 15, 16, 17, 40}) {
    const std::vector<float> zeros(static_cast<size_t>(n), -0.0f);
    for (Reduction kind : {Reduction::sum, Reduction::mean, Reduction::max, Reduction::min})
      expect_both(kind, zeros, -0.0f);
    expect_both(Reduction::prod, zeros, n % 2 ? -0.0f : 0.0f);
  }
}

TEST_P(ReduceKernel, InfinityAndNan) {
  const float inf = INFINITY;
  for (size_t n : {1, 3, 16, 17, 45}) {
    expect_both(Reduction::max, std::vector<float>(n, -inf), -inf);
    expect_both(Reduction::min, std::vector<float>(n, inf), inf);
    for (size_t i = 0; i < n; i++) {
      std::vector<float> x(n, 2);
      x[i] = NAN;
      for (Reduction kind : reductions) expect_both(kind, x, NAN);
      x[i] = inf;
      for (Reduction kind : {Reduction::sum, Reduction::mean, Reduction::max, Reduction::prod})
        expect_both(kind, x, inf);
      if (n > 1) expect_both(Reduction::min, x, 2);
      x[(i + 1) % n] = -inf;
      if (n > 1) expect_both(Reduction::sum, x, NAN);
    }
  }
}

TEST(ReduceKernelBits, LongRowsAndColumnsAreEqualOnAvx2AndAvx512) {
  if (!test::has_avx512()) GTEST_SKIP() << "no AVX-512 here to compare with";
  Random random(3);
  const test::Floats x(random, 101 * 357, -1000, 1000);
  ReducedDims rows;
  rows.rank = 1, rows.extent[0] = 101, rows.stride[0] = 357;
  for (Reduction kind : reductions)
    EXPECT_TRUE(test::same_bits_at_both_widths([&] {
      std::vector<float> y(357);
      reduce_columns(kind, x.data(), rows, 357, y.data());
      y.push_back(reduce_contiguous(kind, x.data(), rows, 349));
      y.push_back(reduce_contiguous(kind, x.data(), {}, x.size()));
      return y;
    })) << static_cast<int>(kind);
}

}  // namespace
}  // namespace pando::kernels
