// Elements of arrays as numbers, and how far arrays are from another.
#include "cli/elements.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "cli/difference.hpp"

namespace pando::cli {
namespace {

Array floats(const std::vector<float>& values) {
  Array a(DType::f32, {static_cast<int64_t>(values.size())});
  std::copy(values.begin(), values.end(), a.as<float>().begin());
  return a;
}

TEST(Elements, Of16BitsKeepAllValues) {
  for (DType t : {DType::f16, DType::bf16}) {
    Array all(t, {65536});
    for (size_t i = 0; i < all.count(); i++) all.as<uint16_t>()[i] = static_cast<uint16_t>(i);
    const std::vector<double> values = numbers(all);
    const Array back = as_type(as_type(all, DType::f32), t);
    for (size_t i = 0; i < all.count(); i++) {
      if (std::isnan(values[i])) EXPECT_TRUE(std::isnan(numbers(back)[i])) << i;
      else ASSERT_EQ(back.as<uint16_t>()[i], i) << name_of(t);
      if (std::isnan(values[i])) i |= 0xff;  // one in 256 of them
    }
  }
}

TEST(Elements, AreRoundedHalfToEven) {
  const float inf = std::numeric_limits<float>::infinity();
  const Array halves = as_type(floats({1, 1 + 0x1p-11f, 1 + 0x3p-11f, 0x1p-24f, 0x1p-25f, 0x1.8p-25f, 65504, 65519,
                                       65520, -inf, -0.0f, 2048.5f}),
                               DType::f16);
  const std::vector<uint16_t> expected{0x3c00, 0x3c00, 0x3c02, 1, 0, 1, 0x7bff, 0x7bff, 0x7c00, 0xfc00, 0x8000, 0x6800};
  for (size_t i = 0; i < expected.size(); i++) EXPECT_EQ(halves.as<uint16_t>()[i], expected[i]) << i;
  const Array bytes = as_type(floats({-129, 200, 1.75f}), DType::i8);
  EXPECT_EQ(numbers(bytes), (std::vector<double>{-128, 127, 1}));
  EXPECT_EQ(numbers(as_type(bytes, DType::boolean)), (std::vector<double>{1, 1, 1}));
}

TEST(Difference, IsRelativeToTheLargestValue) {
  const float nan = std::nanf(""), inf = std::numeric_limits<float>::infinity();
  Difference d = difference(floats({1, 2.5f, -4, nan, inf}), floats({1, 2, -4, nan, inf}));
  EXPECT_EQ(d.error, 0.5);
  EXPECT_EQ(d.largest, 4);
  EXPECT_EQ(d.relative(), 0.125);
  EXPECT_EQ(d.equal, 0.8);
  EXPECT_EQ(difference(floats({nan}), floats({1})).relative(), HUGE_VAL);
  EXPECT_EQ(difference(floats({1}), floats({nan})).relative(), HUGE_VAL);
  EXPECT_EQ(difference(floats({1}), floats({0})).relative(), HUGE_VAL);
  EXPECT_EQ(difference(floats({0}), floats({0})).relative(), 0);
  EXPECT_EQ(difference(floats({inf}), floats({-inf})).relative(), HUGE_VAL);
  d = difference(floats({}), floats({}));
  EXPECT_EQ(d.relative(), 0);
  EXPECT_EQ(d.equal, 1);
}

}  // namespace
}  // namespace pando::cli
