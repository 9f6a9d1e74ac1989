// Pooling of one pixel, bit for bit: taps are folded in order, channel by channel.
#include "kernels/pool/pool.hpp"

#include <algorithm>
#include <limits>

#include "kernels/kernel_check.hpp"

namespace pando::kernels {
namespace {

std::vector<int64_t> offsets_of(const PoolTaps& taps) {
  std::vector<int64_t> offsets;
  for (int64_t a = 0; a < taps.extent[0]; a++)
    for (int64_t b = 0; b < taps.extent[1]; b++)
      for (int64_t c = 0; c < taps.extent[2]; c++)
        offsets.push_back(a * taps.stride[0] + b * taps.stride[1] + c * taps.stride[2]);
  return offsets;
}

float expected_max(const std::vector<float>& x) {
  float top = -INFINITY;
  for (float v : x) top = std::isnan(v) || std::isnan(top) ? NAN : std::max(top, v);
  return top;
}

// Averages of more than 128 elements are summed in double.
float expected_average(const std::vector<float>& x, float divisor) {
  float sum = 0;
  double wide = 0;
  for (float v : x) sum += v, wide += v;
  return x.size() > 128 ? static_cast<float>(wide / divisor) : sum / divisor;
}

float expected_norm(const std::vector<float>& x, int64_t p) {
  float sum = 0;
  double wide = 0;
  for (float v : x) {
    sum = p == 1 ? sum + std::fabs(v) : test::multiply_add(v, v, sum);
    wide += std::pow(std::fabs(double{v}), static_cast<double>(p));
  }
  return p == 1 ? sum : p == 2 ? std::sqrt(sum) : static_cast<float>(std::pow(wide, 1 / static_cast<double>(p)));
}

struct PoolCase {
  PoolOp op;
  float divisor = 1;
  int64_t p = 0;
};
constexpr PoolCase pool_cases[] = {{PoolOp::max},      {PoolOp::average, 7}, {PoolOp::average, 144}, {PoolOp::lp, 1, 1},
                                   {PoolOp::lp, 1, 2}, {PoolOp::lp, 1, 3},   {PoolOp::lp, 1, 6}};

float expected_pool(const PoolCase& c, const std::vector<float>& x) {
  if (c.op == PoolOp::max) return expected_max(x);
  return c.op == PoolOp::average ? expected_average(x, c.divisor) : expected_norm(x, c.p);
}

// `zeros` may have either sign: which of two equal maxima is kept is not promised.
void expect_pool(const PoolCase& c, const PoolTaps& taps, const test::Floats& x, int64_t channels) {
  test::Output out(channels);
  pool_pixel(c.op, x.data(), taps, c.divisor, c.p, channels, out.data());
  for (int64_t i = 0; i < channels; i++) {
    std::vector<float> values;
    for (int64_t at : offsets_of(taps)) values.push_back(x[at + i]);
    const float got = out.take(i), want = expected_pool(c, values);
    if (got == 0 && want == 0) continue;
    ASSERT_TRUE(test::exact(got, want)) << "channel " << i << " of " << channels << ", " << values.size()
                                        << " taps, operator " << static_cast<int>(c.op) << ", p " << c.p;
  }
  ASSERT_TRUE(out.rest_is_untouched());
}

// A box of taps in an image whose pixels and rows may be wider than the channels and pixels that count.
PoolTaps random_taps(Random& random, int64_t channels, int64_t most) {
  PoolTaps taps{};
  int64_t size = channels;
  for (int d = 2; d >= 0; d--) {
    taps.extent[d] = test::between(random, 1, most);
    taps.stride[d] = size + test::between(random, 0, 5);
    size = taps.extent[d] * taps.stride[d];
  }
  return taps;
}

int64_t floats_of(const PoolTaps& taps, int64_t channels) {
  int64_t last = 0;
  for (int d = 0; d < 3; d++) last += (taps.extent[d] - 1) * taps.stride[d];
  return last + channels;
}

class PoolKernel : public test::EachIsa {};
INSTANTIATE_TEST_SUITE_P(Isas, PoolKernel, test::all_isas(), test::isa_name);

TEST_P(PoolKernel, RandomBoxes) {
  Random random(1);
  for (int trial = 0; trial < 300; trial++) {
    const int64_t channels = trial % 3 ? test::pick(random, test::odd_sizes) : test::between(random, 1, 150);
    const PoolTaps taps = random_taps(random, channels, trial % 10 ? 4 : 7);
    const test::Floats x(random, floats_of(taps, channels), -2, 2);
    for (const PoolCase& c : pool_cases) expect_pool(c, taps, x, channels);
    ASSERT_FALSE(HasFatalFailure()) << "trial " << trial;
  }
}

// 127, 128 and 129 taps: where sums become double.
TEST_P(PoolKernel, AveragesOfManyTaps) {
  Random random(2);
  for (int64_t count : {127, 128, 129, 1000, 10000})
    for (int64_t channels : {1, 5, 33}) {
      const PoolTaps taps{{1, 1, count}, {0, 0, channels}};
      const test::Floats x(random, count * channels, 100, 101);
      expect_pool({PoolOp::average, static_cast<float>(count)}, taps, x, channels);
      ASSERT_FALSE(HasFatalFailure()) << count << " taps";
    }
}

TEST_P(PoolKernel, NoTaps) {
  for (int dimension = 0; dimension < 3; dimension++)
    for (int64_t channels : test::odd_sizes) {
      PoolTaps taps{{2, 2, 2}, {64, 16, 4}};
      taps.extent[dimension] = 0;
      const test::Floats nothing(0);
      for (const PoolCase& c : pool_cases) {
        test::Output out(channels);
        pool_pixel(c.op, nothing.data(), taps, c.divisor, c.p, channels, out.data());
        for (float y : out.take(0, channels))
          ASSERT_EQ(y, c.op == PoolOp::max ? -INFINITY : 0.0f) << static_cast<int>(c.op);
        ASSERT_TRUE(out.rest_is_untouched());
      }
    }
}

TEST_P(PoolKernel, SpecialValuesStayInTheirChannel) {
  Random random(3);
  const PoolTaps taps{{2, 1, 3}, {150, 0, 41}};
  for (float value : {NAN, INFINITY, -INFINITY, 3.4e38f, -3.4e38f, 1e-45f, -0.0f})
    for (int64_t at : offsets_of(taps))
      for (int64_t channel : {0, 15, 16, 31, 32, 36}) {
        test::Floats x(random, floats_of(taps, 37));
        x[at + channel] = value;
        for (const PoolCase& c : pool_cases) expect_pool(c, taps, x, 37);
        ASSERT_FALSE(HasFatalFailure()) << value << " at " << at << ", channel " << channel;
      }
}

TEST_P(PoolKernel, MaximumOfTheLowest) {
  for (float value : {-INFINITY, -3.4028235e38f, -1e-45f}) {
    const test::Floats x(6 * 37, value);
    expect_pool({PoolOp::max}, {{1, 2, 3}, {0, 3 * 37, 37}}, x, 37);
  }
}

// The bodies for 16, 8, 4 and 1 channels do the same arithmetic.
TEST(PoolKernelBits, EqualOnAvx2AndAvx512) {
  if (!test::has_avx512()) GTEST_SKIP() << "no AVX-512 here to compare with";
  Random random(4);
  for (int64_t channels : test::odd_sizes) {
    const PoolTaps taps = random_taps(random, channels, 6);
    const test::Floats x(random, floats_of(taps, channels), -2, 2);
    for (const PoolCase& c : pool_cases)
      EXPECT_TRUE(test::same_bits_at_both_widths([&] {
        std::vector<float> y(static_cast<size_t>(channels));
        pool_pixel(c.op, x.data(), taps, c.divisor, c.p, channels, y.data());
        return y;
      })) << channels;
  }
}

template <class T>
void check_bytes(Random& random) {
  const int64_t channels = test::between(random, 1, 200);
  const PoolTaps taps{{1, test::between(random, 0, 4), test::between(random, 1, 4)}, {0, 1000, channels + 3}};
  std::vector<T> x(5000);
  for (T& v : x) v = static_cast<T>(random.below(256));
  std::vector<T> y(static_cast<size_t>(channels) + 1, 77);
  max_pool_pixel(std::is_signed_v<T>, reinterpret_cast<const std::byte*>(x.data()), taps, channels,
                 reinterpret_cast<std::byte*>(y.data()));
  for (int64_t c = 0; c < channels; c++) {
    T top = std::numeric_limits<T>::lowest();
    for (int64_t at : offsets_of(taps)) top = std::max(top, x[static_cast<size_t>(at + c)]);
    ASSERT_EQ(y[static_cast<size_t>(c)], top) << c << " of " << channels;
  }
  EXPECT_EQ(y.back(), 77);
}

TEST(PoolBytes, Maxima) {
  Random random(9);
  for (Isa isa : {Isa::portable, Isa::avx2, Isa::avx512}) {
    const test::IsaLimit limit(isa);
    for (int trial = 0; trial < 100; trial++) {
      check_bytes<uint8_t>(random);
      check_bytes<int8_t>(random);
    }
  }
}

}  // namespace
}  // namespace pando::kernels
