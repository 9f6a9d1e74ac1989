// Resampling by tables of taps against the sum over their box in double.
#include "kernels/pool/resample.hpp"

#include <algorithm>

#include "kernels/kernel_check.hpp"

namespace pando::kernels {
namespace {

// The tables of one dimension, and how it lies in memory.
struct FilterTable {
  int64_t in = 1, out = 1, taps = 1, in_stride = 1, out_stride = 1;
  std::vector<int64_t> first;
  std::vector<float> weight;
  std::vector<uint8_t> outside;
  bool copies = false;  // output i is input i
};

struct ResampleCase {
  std::vector<FilterTable> dims;
  test::Floats x;
  bool dense_last = false;
  float extrapolation = -7.25f;
};

FilterTable identity_table(int64_t n) {
  FilterTable t;
  t.in = t.out = n, t.copies = true;
  t.weight.assign(static_cast<size_t>(n), 1);
  for (int64_t i = 0; i < n; i++) t.first.push_back(i);
  return t;
}

// A third of the weights are zero, and some outputs have a single weight of one, as those that lie on the grid have.
FilterTable random_table(Random& random) {
  FilterTable t;
  t.in = test::between(random, 1, 9), t.out = test::between(random, 1, 11);
  t.taps = test::between(random, 1, std::min<int64_t>(t.in, 4));
  for (int64_t o = 0; o < t.out; o++) {
    const bool on_grid = random.below(4) == 0;
    const int64_t one = test::between(random, 0, t.taps - 1);
    t.first.push_back(test::between(random, 0, t.in - t.taps));
    for (int64_t k = 0; k < t.taps; k++) {
      const float weight = random.below(3) ? static_cast<float>(2 * random.unit() - 0.5) : 0;
      t.weight.push_back(!on_grid ? weight : k == one ? 1 : 0);
    }
    if (t.taps > 1 || on_grid) continue;
    t.weight.back() = 0.5f;
  }
  if (random.below(3) == 0)
    for (int64_t o = 0; o < t.out; o++) t.outside.push_back(random.below(4) == 0);
  return t;
}

// Rows in both tensors are longer than what is used of them.
ResampleCase random_resample(Random& random, bool dense_last) {
  ResampleCase c;
  c.dense_last = dense_last;
  const int64_t rank = test::between(random, dense_last ? 2 : 1, 4);
  for (int64_t d = 0; d < rank; d++)
    c.dims.push_back(dense_last && d == rank - 1 ? identity_table(test::pick(random, test::odd_sizes))
                                                 : random_table(random));
  int64_t in = 1, out = 1;
  for (size_t d = c.dims.size(); d-- > 0;) {
    FilterTable& t = c.dims[d];
    t.in_stride = in, t.out_stride = out;
    in = t.in * in + (d == 0 ? 0 : test::between(random, 0, 3));
    out = t.out * out + (d == 0 ? 0 : test::between(random, 0, 3));
  }
  c.x = test::Floats(random, in, -2, 2);
  return c;
}

int64_t last_output(const ResampleCase& c) {
  int64_t last = 0;
  for (const FilterTable& t : c.dims) last += (t.out - 1) * t.out_stride;
  return last;
}

struct ResampleBox {
  std::vector<int64_t> lo, hi;
};
ResampleBox whole_box(const ResampleCase& c) {
  ResampleBox box;
  for (const FilterTable& t : c.dims) box.lo.push_back(0), box.hi.push_back(t.out);
  return box;
}

void resample_box(const ResampleCase& c, const ResampleBox& box, float* out) {
  Resample r{static_cast<int>(c.dims.size()), c.x.data(), out, c.dense_last, c.extrapolation, {}};
  for (size_t d = 0; d < c.dims.size(); d++) {
    const FilterTable& t = c.dims[d];
    r.dim[d] = {t.first.data(), t.weight.data(), t.outside.empty() ? nullptr : t.outside.data(),
                t.taps,         t.in_stride,     t.out_stride,
                box.lo[d],      box.hi[d]};
  }
  resample(r);
}

template <class F>
void for_each_output(const ResampleBox& box, F f) {
  std::vector<int64_t> index = box.lo;
  while (true) {
    f(index);
    size_t d = index.size();
    for (; d > 0 && ++index[d - 1] == box.hi[d - 1]; d--) index[d - 1] = box.lo[d - 1];
    if (d == 0) return;
  }
}

std::vector<float> run_resample(const ResampleCase& c, const ResampleBox& box) {
  test::Output out(last_output(c) + 1);
  resample_box(c, box, out.data());
  std::vector<float> y;
  for_each_output(box, [&](const std::vector<int64_t>& index) {
    int64_t at = 0;
    for (size_t d = 0; d < index.size(); d++) at += index[d] * c.dims[d].out_stride;
    y.push_back(out.take(at));
  });
  EXPECT_TRUE(out.rest_is_untouched());
  return y;
}

// The sum over the taps of dimensions d.. of one output; weights of zero take no part.
double sum_of_taps(const ResampleCase& c, const std::vector<int64_t>& index, size_t d, int64_t from) {
  if (d == index.size()) return c.x[from];
  const FilterTable& t = c.dims[d];
  double sum = 0;
  for (int64_t k = 0; k < t.taps; k++) {
    const float weight = t.weight[static_cast<size_t>(index[d] * t.taps + k)];
    const int64_t at = from + (t.first[static_cast<size_t>(index[d])] + k) * t.in_stride;
    if (weight != 0) sum += weight * sum_of_taps(c, index, d + 1, at);
  }
  return sum;
}

double expected_output(const ResampleCase& c, const std::vector<int64_t>& index) {
  for (size_t d = 0; d < index.size(); d++)
    if (!c.dims[d].outside.empty() && c.dims[d].outside[static_cast<size_t>(index[d])]) return c.extrapolation;
  return sum_of_taps(c, index, 0, 0);
}

testing::AssertionResult is_resampled(const ResampleCase& c, const ResampleBox& box) {
  const std::vector<float> y = run_resample(c, box);
  size_t at = 0;
  testing::AssertionResult result = testing::AssertionSuccess();
  for_each_output(box, [&](const std::vector<int64_t>& index) {
    const auto one = test::near(y[at++], expected_output(c, index), 2e-6);
    if (one || !result) return;
    result = testing::AssertionFailure() << "output " << at - 1 << ": " << one.message() << ", rank " << index.size();
  });
  return result;
}

ResampleBox random_box(Random& random, const ResampleCase& c) {
  ResampleBox box;
  for (const FilterTable& t : c.dims) {
    box.lo.push_back(test::between(random, 0, t.out - 1));
    box.hi.push_back(test::between(random, box.lo.back() + 1, t.out));
  }
  return box;
}

class ResampleKernel : public test::EachIsa {};
INSTANTIATE_TEST_SUITE_P(Isas, ResampleKernel, test::all_isas(), test::isa_name);

TEST_P(ResampleKernel, RandomTablesAndBoxes) {
  Random random(1);
  for (int trial = 0; trial < 200; trial++) {
    const ResampleCase c = random_resample(random, trial % 2);
    ASSERT_TRUE(is_resampled(c, whole_box(c))) << "trial " << trial;
    ASSERT_TRUE(is_resampled(c, random_box(random, c))) << "trial " << trial;
  }
}

// Vectors along the last dimension, or one element after the other by a table of ones: the same chain.
TEST_P(ResampleKernel, ColumnsHaveTheBitsOfOneElementAtATime) {
  Random random(2);
  for (int trial = 0; trial < 100; trial++) {
    ResampleCase c = random_resample(random, true);
    const std::vector<float> columns = run_resample(c, whole_box(c));
    c.dense_last = false;
    ASSERT_TRUE(test::same_bits(run_resample(c, whole_box(c)), columns)) << "trial " << trial;
  }
}

// What lies under a weight of zero is not multiplied: infinity and NaN there do not show.
TEST_P(ResampleKernel, WeightsOfZeroMeetNothing) {
  for (float value : {NAN, INFINITY})
    for (int64_t cols : {1, 7, 16, 33})
      for (int zero = 0; zero < 3; zero++) {
        ResampleCase c;
        FilterTable rows;
        rows.in = rows.taps = 3, rows.in_stride = rows.out_stride = cols;
        rows.first = {0}, rows.weight = {0.5f, 0.25f, 0.125f};
        rows.weight[static_cast<size_t>(zero)] = 0;
        c.dims = {rows, identity_table(cols)};
        c.x = test::Floats(3 * cols, 1);
        std::fill_n(c.x.data() + zero * cols, cols, value);
        for (bool dense : {false, true}) {
          c.dense_last = dense;
          ASSERT_TRUE(is_resampled(c, whole_box(c))) << value << " at tap " << zero;
        }
      }
}

// An output on the grid is its input, bit for bit, -0 and denormals too.
TEST_P(ResampleKernel, AWeightOfOneCopies) {
  const float values[] = {-0.0f, 0.0f, 1e-45f, -1e-45f, 3.4e38f, INFINITY, -INFINITY, NAN, 0.1f};
  const auto n = static_cast<int64_t>(std::size(values));
  ResampleCase c;
  c.dims = {identity_table(1), identity_table(n)};
  c.dims[0].in_stride = c.dims[0].out_stride = n;
  c.x = test::Floats(n);
  std::copy_n(values, n, c.x.data());
  for (bool dense : {false, true}) {
    c.dense_last = dense;
    const std::vector<float> y = run_resample(c, whole_box(c));
    for (size_t i = 0; i < y.size(); i++) EXPECT_TRUE(test::exact(y[i], values[i])) << i;
  }
}

// A tap whose weights are all zero still gives a number.
TEST_P(ResampleKernel, AllWeightsZero) {
  Random random(3);
  for (int trial = 0; trial < 50; trial++) {
    ResampleCase c = random_resample(random, trial % 2);
    FilterTable& first = c.dims[0];
    std::fill(first.weight.begin(), first.weight.end(), 0.0f);
    ASSERT_TRUE(is_resampled(c, whole_box(c))) << "trial " << trial;
  }
}

TEST(ResampleKernelBits, EqualOnAvx2AndAvx512) {
  if (!test::has_avx512()) GTEST_SKIP() << "no AVX-512 here to compare with";
  Random random(4);
  for (int trial = 0; trial < 100; trial++) {
    const ResampleCase c = random_resample(random, trial % 4 != 0);
    EXPECT_TRUE(test::same_bits_at_both_widths([&] { return run_resample(c, whole_box(c)); })) << "trial " << trial;
  }
}

}  // namespace
}  // namespace pando::kernels
