// The interval arithmetic that everything else stands on, against enumeration of the elements.
#include "graph/box.hpp"

#include "op_runner.hpp"

namespace pando {
namespace {
using namespace testing;

Box box1(int64_t lo, int64_t hi) {
  Box b;
  b.rank = 1;
  b[0] = {lo, hi};
  return b;
}
Interval apply1(const AxisRule& rule, Interval b, int64_t extent) {
  Access a = Access::by_axes();
  a.add(rule);
  return apply(a, box1(b.lo, b.hi), Shape{extent})[0];
}
int64_t floor_of(int64_t a, int64_t b) {
  return static_cast<int64_t>(std::floor(static_cast<double>(a) / static_cast<double>(b)));
}

TEST(Box, CountsIntersectsAndCovers) {
  Box a = whole(Shape{4, 5}), b = a;
  EXPECT_EQ(a.count(), 20);
  b[0] = {2, 9};
  b[1] = {-1, 2};
  Box both = intersect(a, b);
  EXPECT_EQ(both[0], (Interval{2, 4}));
  EXPECT_EQ(both[1], (Interval{0, 2}));
  EXPECT_EQ(hull(a, b)[0], (Interval{0, 9}));
  EXPECT_EQ(hull(a, b)[1], (Interval{-1, 5}));
  b[0] = {7, 9};
  EXPECT_TRUE(intersect(a, b).empty());
  EXPECT_EQ(intersect(a, b).count(), 0);
  EXPECT_EQ(hull(a, intersect(a, b)), a);
  EXPECT_EQ(to_string(a), "[0:4,0:5]");
  Box scalar = whole(Shape{});
  EXPECT_FALSE(scalar.empty());
  EXPECT_EQ(scalar.count(), 1);
}

TEST(Access, AxisCoversEveryIndexOfTheBoxAndNoMore) {
  Rng rng(1);
  for (int trial = 0; trial < 5000; trial++) {
    AxisRule rule = axis_same(0);
    rule.num = pick(rng, -4, 4);
    rule.den = pick(rng, 1, 4);
    rule.lo = pick(rng, -9, 9);
    rule.hi = rule.lo + pick(rng, 0, 9);
    int64_t lo = pick(rng, 0, 20), hi = pick(rng, lo + 1, 24), extent = pick(rng, 0, 60);
    int64_t first = INT64_MAX, last = INT64_MIN;
    for (int64_t i = lo; i < hi; i++) {
      first = std::min(first, floor_of(i * rule.num + rule.lo, rule.den));
      last = std::max(last, floor_of(i * rule.num + rule.hi, rule.den));
    }
    Interval want{std::max<int64_t>(first, 0), std::min(last + 1, extent)}, got = apply1(rule, {lo, hi}, extent);
    ASSERT_EQ(got.size(), want.size());
    if (!want.empty()) {
      ASSERT_EQ(got, want);
    }
  }
}

TEST(Access, SpecialAxes) {
  AxisRule causal = axis_same(0);
  causal.from_zero = true;
  EXPECT_EQ(apply1(causal, {3, 5}, 10), (Interval{0, 5}));
  EXPECT_EQ(apply1(axis_fixed(2, 7), {0, 1}, 5), (Interval{2, 5}));
  EXPECT_TRUE(apply1(axis_window(0, 1, -8, -8), {0, 4}, 5).empty());          // before the operand
  EXPECT_TRUE(apply1(axis_window(0, 1, 20, 22), {0, 4}, 5).empty());          // behind it
  EXPECT_TRUE(apply1(axis_window(0, 2, -1, 1), {4, 4}, 50).empty());          // of nothing, nothing
  EXPECT_EQ(apply1(axis_window(0, 2, -1, 1), {0, 4}, 50), (Interval{0, 8}));  // 3-wide kernel, stride 2, pad 1
  EXPECT_TRUE(apply(Access::nothing(), box1(0, 4), Shape{4}).empty());
  EXPECT_TRUE(apply(Access::nothing(), box1(0, 4), Shape{}).empty());
  EXPECT_EQ(apply(Access::everything(), box1(1, 2), Shape{4}), whole(Shape{4}));
  Box scalar = whole(Shape{});
  EXPECT_FALSE(apply(Access::by_axes(), scalar, Shape{}).empty());
}

TEST(Access, BroadcastFollowsNumPy) {
  Box box = whole(Shape{2, 3, 4});
  box[1] = {1, 2};
  box[2] = {2, 4};
  EXPECT_EQ(to_string(apply(broadcast_access(Shape{3, 4}, Shape{2, 3, 4}), box, Shape{3, 4})), "[1:2,2:4]");
  EXPECT_EQ(to_string(apply(broadcast_access(Shape{2, 1, 4}, Shape{2, 3, 4}), box, Shape{2, 1, 4})), "[0:2,0:1,2:4]");
  EXPECT_EQ(apply(broadcast_access(Shape{}, Shape{2, 3, 4}), box, Shape{}).count(), 1);
}

// A shape with the same number of elements: splits or merges at random.
Shape reshaped(Rng& rng, const Shape& shape) {
  int64_t n = element_count(shape);
  Shape out;
  while (n > 1 && out.size() < 4) {
    int64_t d = pick(rng, 1, n);
    while (n % d != 0) d--;
    out.push_back(d);
    n /= d;
  }
  out.push_back(n);
  std::shuffle(out.begin(), out.end(), rng);
  return out;
}

TEST(Access, RegroupCoversTheSameElements) {
  Rng rng(2);
  int64_t covered = 0, needed = 0;
  for (int trial = 0; trial < 3000; trial++) {
    Shape from = random_shape(rng, static_cast<int>(pick(rng, 0, 4)), 1, 6), to = reshaped(rng, from);
    Box box = whole(from);
    for (size_t i = 0; i < from.size(); i++) {
      box[static_cast<int>(i)].lo = pick(rng, 0, from[i] - 1);
      box[static_cast<int>(i)].hi = pick(rng, box[static_cast<int>(i)].lo + 1, from[i]);
    }
    Box out = apply(Access::regrouped(from), box, to);
    // The tightest box around the images of the elements.
    Box tight;
    for_each(to, [&](const Shape& index) {
      int64_t linear = flat(to, index);
      Shape source(from.size());
      for (size_t i = from.size(); i-- > 0; linear /= from[i]) source[i] = linear % from[i];
      if (!contains(box, source)) return;
      ASSERT_TRUE(contains(out, index)) << to_string(from) << to_string(to) << to_string(box) << to_string(out);
      Box one;
      one.rank = static_cast<int8_t>(to.size());
      for (size_t i = 0; i < to.size(); i++) one[static_cast<int>(i)] = {index[i], index[i] + 1};
      tight = tight.rank ? hull(tight, one) : one;
    });
    for (size_t i = 0; i < to.size(); i++) ASSERT_LE(out[static_cast<int>(i)].hi, to[i]);
    covered += out.count();
    needed += tight.count();
  }
  EXPECT_LE(static_cast<double>(covered), 1.35 * static_cast<double>(needed));
}

TEST(Access, RegroupKeepsDimensionsThatStay) {
  auto regroup = [](Shape from, Shape to, Box box) { return to_string(apply(Access::regrouped(from), box, to)); };
  Box box = whole(Shape{2, 6, 4});
  box[0] = {1, 2};
  box[2] = {1, 3};
  EXPECT_EQ(regroup({2, 6, 4}, {2, 2, 3, 4}, box), "[1:2,0:2,0:3,1:3]");  // heads split off
  box[1] = {3, 6};
  EXPECT_EQ(regroup({2, 6, 4}, {2, 2, 3, 4}, box), "[1:2,1:2,0:3,1:3]");
  EXPECT_EQ(regroup({2, 6, 4}, {1, 2, 6, 1, 4, 1}, box), "[0:1,1:2,3:6,0:1,1:3,0:1]");
  Box rows = whole(Shape{6, 4});
  rows[0] = {2, 4};
  EXPECT_EQ(regroup({6, 4}, {24}, rows), "[8:16]");
  EXPECT_EQ(regroup({6, 4}, {2, 3, 4}, rows), "[0:2,0:3,0:4]");
  EXPECT_TRUE(apply(Access::regrouped(Shape{0, 4}), whole(Shape{0, 4}), Shape{2, 0}).empty());
}

}  // namespace
}  // namespace pando
