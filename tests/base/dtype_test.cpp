// Floats of 8 bits: every value by its definition, and rounding to the nearest of them.
#include "base/dtype.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

namespace pando {
namespace {

// What the format says of 8 bits: sign, exponent, fraction.
template <class T>
double defined(int bits, int exponent_bits, int bias, bool uz) {
  const int fraction_bits = 7 - exponent_bits, one = 1 << fraction_bits;
  const int exponent = (bits & 0x7f) >> fraction_bits, fraction = bits & (one - 1), last = (1 << exponent_bits) - 1;
  if (uz && bits == 0x80) return NAN;
  if (!uz && exponent_bits == 4 && (bits & 0x7f) == 0x7f) return NAN;
  if (!uz && exponent_bits == 5 && exponent == last) return fraction ? NAN : bits & 0x80 ? -INFINITY : INFINITY;
  const double magnitude = exponent == 0 ? fraction * std::pow(2, 1 - bias - fraction_bits)
                                         : (one + fraction) * std::pow(2, exponent - bias - fraction_bits);
  return bits & 0x80 ? -magnitude : magnitude;
}

template <class T>
class Floats8 : public testing::Test {};
struct Cases {
  using Types = testing::Types<Float8E4M3, Float8E4M3UZ, Float8E5M2, Float8E5M2UZ>;
};
TYPED_TEST_SUITE(Floats8, Cases::Types);

template <class T>
std::vector<double> all() {
  constexpr bool four = std::is_same_v<T, Float8E4M3> || std::is_same_v<T, Float8E4M3UZ>;
  constexpr bool uz = std::is_same_v<T, Float8E4M3UZ> || std::is_same_v<T, Float8E5M2UZ>;
  std::vector<double> values;
  for (int i = 0; i < 256; i++) values.push_back(defined<T>(i, four ? 4 : 5, (four ? 7 : 15) + uz, uz));
  return values;
}

TYPED_TEST(Floats8, AreWhatTheyAreDefinedToBe) {
  const std::vector<double> values = all<TypeParam>();
  for (int i = 0; i < 256; i++) {
    const float value = to_float(TypeParam{static_cast<uint8_t>(i)});
    if (std::isnan(values[i])) EXPECT_TRUE(std::isnan(value)) << i;
    else EXPECT_EQ(value, values[i]) << i;
    if (!std::isnan(value) && !std::isinf(value)) {
      EXPECT_EQ(to_narrow<TypeParam>(value).bits, i);
    }
  }
  EXPECT_TRUE(std::isnan(to_float(to_narrow<TypeParam>(NAN))));
}

TYPED_TEST(Floats8, RoundToTheNearestWithAnEvenFraction) {
  const std::vector<double> values = all<TypeParam>();
  const auto nearest = [&](double x) {
    int best = -1;
    for (int i = 0; i < 256; i++) {
      if (!std::isfinite(values[i])) continue;
      const double d = std::abs(values[i] - x), known = best < 0 ? INFINITY : std::abs(values[best] - x);
      if (d < known || (d == known && i % 2 == 0)) best = i;
    }
    return values[best];
  };
  std::mt19937_64 random(1);
  for (int i = 0; i < 20000; i++) {
    const int exponent = static_cast<int>(random() % 44) - 24;
    const double fraction = 1 + static_cast<double>(random() % 4096) / 4096;  // the middle of two is among them
    const double x = std::ldexp(random() % 2 ? fraction : -fraction, exponent);
    ASSERT_EQ(to_float(to_narrow<TypeParam>(x)), nearest(x)) << x;
    ASSERT_EQ(to_narrow<TypeParam>(static_cast<float>(x)).bits, to_narrow<TypeParam>(x).bits) << x;
  }
  const double largest = nearest(1e6);
  for (double x : {1e30, 1e300, HUGE_VAL}) EXPECT_EQ(to_float(to_narrow<TypeParam>(x)), largest);
  for (double x : {1e-30, 1e-310, 0.0}) EXPECT_EQ(to_float(to_narrow<TypeParam>(-x)), 0);
}

}  // namespace
}  // namespace pando
