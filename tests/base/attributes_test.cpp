// Attributes: equality by bits, text and the change of axes, all from the list of fields.
#include "base/attributes.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/map_program.hpp"

namespace pando {
namespace {

struct Window {
  std::vector<int64_t> strides;
  float scale = 1;
  bool causal = false;
  PANDO_FIELDS(strides, scale, causal)
};
struct Along {
  Axis axis = 0;
  AxisSet axes;
  PerAxis<int64_t> starts;
  std::vector<int64_t> kernel;  // not per dimension of operand 0
  Number value = 0.0;
  PANDO_FIELDS(axis, axes, starts, kernel, value)
};
struct Outer {
  Attributes inner;
  MapProgram program;
  PANDO_FIELDS(inner, program)
};

TEST(Attributes, CompareByBits) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(Attributes(Window{{1, 2}, 0.5f}), Attributes(Window{{1, 2}, 0.5f}));
  EXPECT_EQ(Attributes(Window{{}, nan}), Attributes(Window{{}, nan}));
  EXPECT_FALSE(Attributes(Window{{}, 0.0f}) == Attributes(Window{{}, -0.0f}));
  EXPECT_FALSE(Attributes(Window{{1}}) == Attributes(Window{{1, 1}}));
  EXPECT_FALSE(Attributes(Window{}) == Attributes(Window{{}, 1, true}));
  EXPECT_FALSE(Attributes(Window{}) == Attributes(Along{}));
  EXPECT_FALSE(Attributes(Window{}) == Attributes());
  EXPECT_EQ(Attributes(), Attributes());
  EXPECT_FALSE(Attributes(Along{0, {}, {}, {}, 1.0}) == Attributes(Along{0, {}, {}, {}, int64_t{1}}));
}

TEST(Attributes, AreValues) {
  Attributes a = Window{{3}};
  Attributes b = a;
  b.as<Window>().strides = {4};
  EXPECT_EQ(a.as<Window>().strides, std::vector<int64_t>{3});
  EXPECT_EQ(b.as<Window>().strides, std::vector<int64_t>{4});
  EXPECT_ANY_THROW(a.as<Along>());
  EXPECT_ANY_THROW(Attributes().as<Window>());
}

TEST(Attributes, AreWrittenWithTheirNames) {
  EXPECT_EQ(Attributes(Window{{1, -2}, 0.1f, true}).text(), "strides=[1,-2] scale=0.1 causal=true");
  Outer outer;
  outer.inner = Window{};
  outer.program.code = {{MapOp::relu, 1}};
  EXPECT_EQ(Attributes(outer).text(),
            "inner={strides=[] scale=1 causal=false} program={code=[{op=relu a=1 b=0 c=0 p0=0 p1=0}] inputs=1}");
  EXPECT_EQ(Attributes().text(), "");
}

// x where the operator was on transpose(x, perm): what it said of dimension i it says of dimension perm[i].
TEST(Attributes, FollowAPermutation) {
  const Attributes a = Along{2, {0, 2}, {10, 11, 12}, {5, 6}};
  const auto moved = a.permuted({1, 2, 0}).as<Along>();
  EXPECT_EQ(moved.axis, 0);
  EXPECT_EQ(moved.axes, (std::vector<int64_t>{0, 1}));
  EXPECT_EQ(moved.starts, (std::vector<int64_t>{12, 10, 11}));
  EXPECT_EQ(moved.kernel, (std::vector<int64_t>{5, 6}));
  EXPECT_TRUE(Attributes(Along{}).permuted({0}).as<Along>().starts.empty());
}

}  // namespace
}  // namespace pando
