// arg_reduce, cumsum, topk and resize: hand values and plain formulations.
#include <cmath>

#include "op_runner.hpp"

namespace pando {
namespace {
using namespace testing;

template <class T>
Case numeric(const OpDef& op, Attributes attrs, Rng& rng, DType dtype, Shape shape, int64_t lo, int64_t hi) {
  Case c{&op, std::move(attrs), {}, {}, {}};
  c.fill = [=](Rng& r, int) { return random_values<T>(r, dtype, shape, lo, hi); };
  c.inputs = {c.fill(rng, 0)};
  return c;
}
Case given(const OpDef& op, Attributes attrs, MutableTensor input) { return {&op, std::move(attrs), {input}, {}, {}}; }

TEST(ArgReduce, MatchesAScan) {
  Rng rng(1);
  for (int trial = 0; trial < 200; trial++) {
    Shape shape = random_shape(rng, static_cast<int>(pick(rng, 1, 4)), 1, 6);
    ArgReduceAttrs a{pick(rng, 0, static_cast<int64_t>(shape.size()) - 1), trial % 2 == 0, trial % 4 < 2};
    Case c = numeric<int8_t>(arg_reduce_op, a, rng, DType::i8, shape, -3, 3);
    auto out = run_and_check(rng, c);
    auto in = values<int8_t>(*c.inputs[0]);
    for_each(out[0]->shape, [&](Shape index) {
      int64_t got = values<int64_t>(*out[0])[flat(out[0]->shape, index)], best = 0, value = 0;
      for (int64_t i = 0; i < shape[a.axis]; i++) {
        index[a.axis] = i;
        int64_t v = in[flat(shape, index)] * (a.max ? 1 : -1);
        if (i == 0 || v > value || (v == value && a.select_last)) value = v, best = i;
      }
      ASSERT_EQ(got, best);
    });
  }
  expect_refused(given(arg_reduce_op, ArgReduceAttrs{1}, make_tensor(DType::f32, {2, 0})), "empty");
  expect_refused(given(arg_reduce_op, ArgReduceAttrs{-1}, make_tensor(DType::f32, {2})), "axis -1");
}

TEST(CumSum, EveryDirection) {
  auto sums = [](bool exclusive, bool reverse) {
    Case c = given(cumsum_op, CumSumAttrs{0, exclusive, reverse}, tensor<float>(DType::f32, {4}, {1, 2, 3, 4}));
    return values<float>(*run(c)[0]);
  };
  EXPECT_EQ(sums(false, false), (std::vector<float>{1, 3, 6, 10}));
  EXPECT_EQ(sums(true, false), (std::vector<float>{0, 1, 3, 6}));
  EXPECT_EQ(sums(false, true), (std::vector<float>{10, 9, 7, 4}));
  EXPECT_EQ(sums(true, true), (std::vector<float>{9, 7, 4, 0}));
  Rng rng(2);
  for (int trial = 0; trial < 100; trial++) {
    Shape shape = random_shape(rng, static_cast<int>(pick(rng, 1, 3)), trial % 10 ? 1 : 0, 6);
    CumSumAttrs a{pick(rng, 0, static_cast<int64_t>(shape.size()) - 1), trial % 2 == 0, trial % 4 < 2};
    Case c = trial % 3 ? numeric<int32_t>(cumsum_op, a, rng, DType::i32, shape, INT32_MIN, INT32_MAX)
                       : numeric<double>(cumsum_op, a, rng, DType::f64, shape, -9, 9);
    run_and_check(rng, c);
  }
  expect_refused(given(cumsum_op, CumSumAttrs{}, make_tensor(DType::boolean, {2})), "booleans");
}

TEST(TopK, MatchesASort) {
  Rng rng(3);
  for (int trial = 0; trial < 300; trial++) {
    Shape shape = random_shape(rng, static_cast<int>(pick(rng, 1, 3)), 1, trial % 10 ? 9 : 40);
    TopKAttrs a{pick(rng, 0, static_cast<int64_t>(shape.size()) - 1), 0, trial % 2 == 0, true};
    a.k = pick(rng, 0, shape[a.axis]);
    Case c = trial % 3 ? numeric<int16_t>(topk_op, a, rng, DType::i16, shape, -4, 4)
                       : numeric<float>(topk_op, a, rng, DType::f32, shape, -1000, 1000);
    auto out = run_and_check(rng, c);
    Shape rows = shape;
    rows[a.axis] = 1;
    for_each(rows, [&](Shape index) {
      auto value = [&](int64_t i) {
        index[a.axis] = i;
        int64_t at = flat(shape, index);
        return trial % 3 ? static_cast<float>(reinterpret_cast<const int16_t*>(c.inputs[0]->data)[at])
                         : reinterpret_cast<const float*>(c.inputs[0]->data)[at];
      };
      std::vector<int64_t> order(shape[a.axis]);
      std::iota(order.begin(), order.end(), 0);
      std::stable_sort(order.begin(), order.end(),
                       [&](int64_t x, int64_t y) { return a.largest ? value(x) > value(y) : value(x) < value(y); });
      for (int64_t i = 0; i < a.k; i++) {
        index[a.axis] = i;
        int64_t at = flat(out[1]->shape, index);
        ASSERT_EQ(reinterpret_cast<const int64_t*>(out[1]->data)[at], order[i]);
        index[a.axis] = order[i];
        ASSERT_TRUE(same_element(*out[0], at, *c.inputs[0], flat(shape, index)));
      }
    });
  }
}

TEST(TopK, NaNCountsAsLargest) {
  float nan = std::nanf("");
  Case c = given(topk_op, TopKAttrs{0, 3, true, true}, tensor<float>(DType::f32, {5}, {1, nan, INFINITY, nan, 2}));
  EXPECT_EQ(values<int64_t>(*run(c)[1]), (std::vector<int64_t>{1, 3, 2}));
  c.attrs = TopKAttrs{0, 3, false, true};
  EXPECT_EQ(values<int64_t>(*run(c)[1]), (std::vector<int64_t>{0, 4, 2}));
  c.attrs = TopKAttrs{0, 6, true, true};
  expect_refused(c, "k is 6");
}

// ---- resize ----

constexpr ResizeCoord all_coords[] = {ResizeCoord::half_pixel,         ResizeCoord::asymmetric,
                                      ResizeCoord::align_corners,      ResizeCoord::pytorch_half_pixel,
                                      ResizeCoord::tf_crop_and_resize, ResizeCoord::half_pixel_symmetric};

ResizeAttrs resize_attrs(ResizeMode mode, const Shape& in, Shape out) {
  ResizeAttrs a;
  a.mode = mode;
  for (size_t i = 0; i < in.size(); i++)
    a.scales.push_back(in[i] ? static_cast<float>(out[i]) / static_cast<float>(in[i]) : 1);
  a.out = std::move(out);
  return a;
}
std::vector<float> resize_line(ResizeAttrs a, std::vector<float> in, int64_t out, float scale = 0) {
  Shape shape{static_cast<int64_t>(in.size())};
  ResizeAttrs sized = resize_attrs(a.mode, shape, {out});
  a.out = sized.out;
  a.scales = scale > 0 ? std::vector<float>{scale} : sized.scales;
  Case c = given(resize_op, a, tensor<float>(DType::f32, shape, in));
  return values<float>(*run(c)[0]);
}
void expect_near(const std::vector<float>& got, const std::vector<float>& want) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); i++) EXPECT_NEAR(got[i], want[i], 1e-5) << i;
}

TEST(Resize, NearestRoundings) {
  ResizeAttrs a;
  a.mode = ResizeMode::nearest;
  std::vector<float> in{0, 1, 2, 3};
  expect_near(resize_line(a, in, 8), {0, 0, 1, 1, 2, 2, 3, 3});
  a.coord = ResizeCoord::asymmetric;  // places 0, 0.5, 1, 1.5, ...
  expect_near(resize_line(a, in, 8), {0, 0, 1, 1, 2, 2, 3, 3});
  a.round = ResizeRound::prefer_ceil;
  expect_near(resize_line(a, in, 8), {0, 1, 1, 2, 2, 3, 3, 3});
  a.round = ResizeRound::floor;
  expect_near(resize_line(a, in, 8), {0, 0, 1, 1, 2, 2, 3, 3});
  a.round = ResizeRound::ceil;
  expect_near(resize_line(a, in, 8), {0, 1, 1, 2, 2, 3, 3, 3});
  a.round = ResizeRound::floor;  // 0, 3, 6, ... sevenths of 14: whole places must not fall short
  std::vector<float> six{0, 1, 2, 3, 4, 5};
  expect_near(resize_line(a, six, 14), {0, 0, 0, 1, 1, 2, 2, 3, 3, 3, 4, 4, 5, 5});
}

TEST(Resize, LinearCoordinates) {
  ResizeAttrs a;
  a.mode = ResizeMode::linear;
  std::vector<float> in{1, 2};
  expect_near(resize_line(a, in, 4), {1, 1.25f, 1.75f, 2});
  a.coord = ResizeCoord::align_corners;
  expect_near(resize_line(a, in, 4), {1, 4 / 3.f, 5 / 3.f, 2});
  expect_near(resize_line(a, {1, 2, 3, 4}, 2, 0.6f), {1, 1 + 3 / 1.4f});  // the length that the scale implies is 2.4
  a.coord = ResizeCoord::asymmetric;
  expect_near(resize_line(a, in, 4), {1, 1.5f, 2, 2});
  a.coord = ResizeCoord::pytorch_half_pixel;
  expect_near(resize_line(a, {1, 2, 3}, 1), {1});
  a.coord = ResizeCoord::half_pixel;
  expect_near(resize_line(a, {1, 2, 3}, 1), {2});
  a.coord = ResizeCoord::half_pixel_symmetric;  // 2.4 rounded down to 2: 0.2 cut off on either side, in input 1/3
  expect_near(resize_line(a, {1, 2, 3, 4}, 2, 0.6f), {1 + 2 / 3.f, 1 + 7 / 3.f});
  a.coord = ResizeCoord::tf_crop_and_resize;
  a.extrapolation = 9;
  a.roi_begin = {0.25f};
  a.roi_end = {1.25f};  // of the way from first to last: 1 to 5
  expect_near(resize_line(a, {10, 20, 30, 40, 50}, 3), {20, 40, 9});
}

TEST(Resize, CubicAndAntialias) {
  ResizeAttrs a;
  a.mode = ResizeMode::cubic;
  // Keys' kernel, a = -0.75, at 0.25: -0.10546875, 0.87890625, 0.26171875, -0.03515625
  std::vector<float> in{1, 2, 4, 8};
  EXPECT_NEAR(resize_line(a, in, 8)[3], -0.03515625 * 8 + 0.26171875 * 4 + 0.87890625 * 2 - 0.10546875 * 1, 1e-5);
  a.exclude_outside = true;  // index 0 at 0.75 from -1: taps -2, -1 drop out
  EXPECT_NEAR(resize_line(a, in, 8)[0], (0.87890625 * 1 - 0.10546875 * 2) / (0.87890625 - 0.10546875), 1e-5);
  a = ResizeAttrs{};
  a.mode = ResizeMode::linear;
  a.antialias = true;  // halved: a tent of radius 2 at 0.5, 2.5: weights 1/8, 3/8, 3/8, 1/8
  expect_near(resize_line(a, {0, 8, 16, 80}, 2), {(3 * 0 + 3 * 8 + 16 + 0) / 8.f, (8 + 3 * 16 + 3 * 80 + 80) / 8.f});
}

TEST(Resize, RulesCoverWhatIsSampled) {
  Rng rng(4);
  for (int trial = 0; trial < 300; trial++) {
    Shape in = random_shape(rng, static_cast<int>(pick(rng, 1, 3)), 1, trial % 4 ? 6 : 12), out = in;
    for (int64_t& d : out)
      if (pick(rng, 0, 3)) d = pick(rng, 1, 2 * d);
    ResizeAttrs a = resize_attrs(static_cast<ResizeMode>(trial % 3), in, out);
    a.coord = all_coords[pick(rng, 0, 5)];
    a.round = static_cast<ResizeRound>(pick(rng, 0, 3));
    a.exclude_outside = trial % 2;
    a.antialias = trial % 5 == 0;
    if (a.coord == ResizeCoord::tf_crop_and_resize) {
      for (size_t i = 0; i < in.size(); i++) a.roi_begin.push_back(static_cast<float>(pick(rng, -2, 9)) / 8);
      for (size_t i = 0; i < in.size(); i++) a.roi_end.push_back(static_cast<float>(pick(rng, -2, 9)) / 8);
    } else if (trial % 3 == 0) {  // a scale that does not divide evenly
      for (size_t i = 0; i < in.size(); i++)
        a.scales[i] *= 1 + 0.9f * static_cast<float>(pick(rng, 0, 9)) / 10 / static_cast<float>(out[i]);
    }
    Case c = numeric<float>(resize_op, a, rng, DType::f32, in, -99, 99);
    run_and_check(rng, c, 6);
  }
}

TEST(Resize, RulesAreTight) {
  Rng rng(5);
  for (ResizeMode mode : {ResizeMode::nearest, ResizeMode::linear, ResizeMode::cubic})
    for (ResizeCoord coord : all_coords) {
      if (coord == ResizeCoord::tf_crop_and_resize) continue;
      Shape in{2, 300, 40}, out{2, 600, 40};
      ResizeAttrs a = resize_attrs(mode, in, out);
      a.coord = coord;
      Case c = numeric<float>(resize_op, a, rng, DType::f32, in, 0, 9);
      c.build();
      Box box = whole(resize_op.domain(c.view()));
      box[1] = {200, 240};
      box[2] = {5, 9};
      Box reads = apply(resize_op.reads(c.view(), 0), box, in);
      EXPECT_EQ(reads[2], (Interval{5, 9}));  // not resized
      int64_t taps = mode == ResizeMode::nearest ? 1 : mode == ResizeMode::linear ? 2 : 4;
      EXPECT_LE(reads[1].size(), 20 + taps + 1);
      EXPECT_NEAR(static_cast<double>(reads[1].lo + reads[1].hi) / 2, 110, 2);
    }
}

TEST(Resize, OtherTypesAndRefusals) {
  Rng rng(6);
  for (DType t : {DType::u8, DType::f16, DType::i64, DType::boolean}) {
    Case c = given(resize_op, resize_attrs(ResizeMode::nearest, {3}, {6}), random_tensor(rng, t, {3}));
    auto out = run(c);
    for (int64_t i = 0; i < 6; i++) EXPECT_TRUE(same_element(*out[0], i, *c.inputs[0], i / 2));
  }
  Case c = given(resize_op, resize_attrs(ResizeMode::linear, {2}, {4}), tensor<uint8_t>(DType::u8, {2}, {10, 20}));
  EXPECT_EQ(values<uint8_t>(*run(c)[0]), (std::vector<uint8_t>{10, 12, 17, 20}));
  ResizeAttrs a = resize_attrs(ResizeMode::linear, {2}, {4});
  a.scales[0] = 0;
  expect_refused(given(resize_op, a, c.inputs[0]), "scale of dimension 0");
  a.scales[0] = 5;
  expect_refused(given(resize_op, a, c.inputs[0]), "does not give 4");
  a.scales = {2, 2};
  expect_refused(given(resize_op, a, c.inputs[0]), "scales has 2 values");
  a = resize_attrs(ResizeMode::linear, {2}, {4});
  a.coord = ResizeCoord::tf_crop_and_resize;
  expect_refused(given(resize_op, a, c.inputs[0]), "roi");
  Case none = given(resize_op, resize_attrs(ResizeMode::linear, {2, 3}, {0, 6}), make_tensor(DType::f32, {2, 3}));
  EXPECT_EQ(run(none)[0]->shape, (Shape{0, 6}));
}

}  // namespace
}  // namespace pando
