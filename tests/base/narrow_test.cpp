#include "base/narrow.hpp"

#include <gtest/gtest.h>

namespace pando {
namespace {

TEST(Narrow, KeepsWhatFitsAndRefusesTheRest) {
  EXPECT_EQ(narrow<int>(int64_t{-7}), -7);
  EXPECT_EQ(narrow<uint32_t>(uint64_t{UINT32_MAX}), UINT32_MAX);
  for (auto wrong :
       {+[] { narrow<int>(int64_t{1} << 31); }, +[] { narrow<uint8_t>(-1); }, +[] { narrow<int>(SIZE_MAX); }})
    try {
      wrong();
      ADD_FAILURE() << "not refused";
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::not_supported);
    }
}

TEST(Narrow, SaturatesWhereNothingMayThrow) {
  EXPECT_EQ(saturated<int>(int64_t{1} << 40), INT32_MAX);
  EXPECT_EQ(saturated<int>(-(int64_t{1} << 40)), INT32_MIN);
  EXPECT_EQ(saturated<int>(uint64_t{5}), 5);
}

}  // namespace
}  // namespace pando
