#include "kernels/conv/depthwise.hpp"

#include <gtest/gtest.h>

#include "base/cpu.hpp"
#include "kernels/conv_reference.hpp"
#include "kernels/simd.hpp"

namespace pando::kernels {
namespace {

using test::ConvCase;

struct DepthwiseCut {
  int64_t gap = 0;  // channels beyond the tensor's own, in input and output
  int64_t tile_rows = 1 << 20, tile_cols = 1 << 20, tile_channels = 1 << 20;
};

std::vector<float> run_depthwise(const ConvCase& p, const DepthwiseCut& r, const std::vector<float>& x,
                                 const std::vector<float>& w, const std::vector<float>& scale,
                                 const EpilogueArgs& epilogue) {
  const int64_t oh = p.oh(), ow = p.ow(), xc = p.ci + r.gap, yc = p.co + r.gap;
  std::vector<float> wide(static_cast<size_t>(p.n * p.h * p.w * xc), NAN);
  for (int64_t i = 0; i < p.n * p.h * p.w; i++) std::copy_n(&x[i * p.ci], p.ci, &wide[i * xc]);
  std::vector<float> out(static_cast<size_t>(p.n * oh * ow * yc), 7.f), packed(w.size()), y;
  pack_depthwise_weights(test::bytes(w), scale.empty() ? nullptr : test::bytes(scale), p.co, p.kh * p.kw,
                         packed.data());
  const DepthwiseShape shape{p.h,          p.w,          p.ci,         oh,         ow,
                             p.co,         p.kh,         p.kw,         p.stride_y, p.stride_x,
                             p.dilation_y, p.dilation_x, p.pad_y,      p.pad_x,    p.h * p.w * xc,
                             p.w * xc,     xc,           oh * ow * yc, ow * yc,    yc};
  for (int64_t n = 0; n < p.n; n++)
    for (int64_t y0 = 0; y0 < oh; y0 += r.tile_rows)
      for (int64_t x0 = 0; x0 < ow; x0 += r.tile_cols)
        for (int64_t c0 = 0; c0 < p.co; c0 += r.tile_channels)
          depthwise_tile(shape,
                         {n, n + 1, y0, std::min(oh, y0 + r.tile_rows), x0, std::min(ow, x0 + r.tile_cols), c0,
                          std::min(p.co, c0 + r.tile_channels)},
                         wide.data(), packed.data(), out.data(), epilogue);
  for (int64_t i = 0; i < p.n * oh * ow; i++) {
    y.insert(y.end(), &out[i * yc], &out[i * yc] + p.co);
    for (int64_t c = p.co; c < yc; c++) EXPECT_EQ(out[i * yc + c], 7.f) << "written past the last channel";
  }
  return y;
}

const ConvCase cases[] = {
    {.n = 2, .h = 9, .w = 11, .ci = 32, .co = 32},
    {.h = 14, .w = 15, .ci = 40, .co = 40, .stride_y = 2, .stride_x = 2},
    {.h = 7, .w = 7, .ci = 13, .co = 13},
    {.h = 12, .w = 17, .ci = 24, .co = 24, .kh = 5, .kw = 5, .pad_y = 2, .pad_x = 2, .pad_y_end = 2, .pad_x_end = 2},
    {.h = 12, .w = 17, .ci = 17, .co = 17, .kh = 5, .kw = 5, .stride_y = 2, .stride_x = 2, .pad_y = 0, .pad_x = 1},
    {.h = 11, .w = 19, .ci = 16, .co = 16, .kh = 7, .kw = 7, .pad_y = 3, .pad_x = 3, .pad_y_end = 3, .pad_x_end = 3},
    {.h = 13,
     .w = 16,
     .ci = 9,
     .co = 9,
     .dilation_y = 2,
     .dilation_x = 3,
     .pad_y = 2,
     .pad_x = 3,
     .pad_y_end = 2,
     .pad_x_end = 3},
    {.h = 10, .w = 12, .ci = 6, .co = 18},
    {.h = 1, .w = 40, .ci = 20, .co = 20, .kh = 1, .kw = 31, .pad_y = 0, .pad_x = 15, .pad_y_end = 0, .pad_x_end = 15},
    {.h = 2, .w = 3, .ci = 8, .co = 8, .kh = 3, .kw = 2, .pad_y = 4, .pad_x = 3, .pad_y_end = 4, .pad_x_end = 3},
    {.h = 14, .w = 14, .ci = 5, .co = 5, .kh = 12, .kw = 12, .pad_y = 0, .pad_x = 0},
    {.h = 20, .w = 9, .ci = 8, .co = 8, .kh = 5, .kw = 3, .stride_y = 3, .stride_x = 1},
};

TEST(Depthwise, MatchesPlainConvolution) {
  uint32_t seed = 1;
  for (ConvCase p : cases) {
    p.depthwise = true;
    SCOPED_TRACE(testing::Message() << p.h << "x" << p.w << "x" << p.ci << " kernel " << p.kh << "x" << p.kw);
    const auto x = test::random_floats(p.n * p.h * p.w * p.ci, seed++);
    const auto w = test::random_floats(p.weights(), seed++), scale = test::random_floats(p.co, seed++);
    test::expect_near(3e-6, run_depthwise(p, {}, x, w, {}, {}), test::reference_conv(p, x, w, {}));
    test::expect_near(3e-6, run_depthwise(p, {.gap = 3}, x, w, scale, {}), test::reference_conv(p, x, w, scale));
  }
}

TEST(Depthwise, BitsDoNotDependOnTilesOrInstructionSet) {
  for (ConvCase p : cases) {
    p.depthwise = true;
    const auto x = test::random_floats(p.n * p.h * p.w * p.ci, 5), w = test::random_floats(p.weights(), 6);
    const auto whole = run_depthwise(p, {}, x, w, {}, {});
    EXPECT_EQ(run_depthwise(p, {.tile_rows = 3, .tile_cols = 5}, x, w, {}, {}), whole);
    EXPECT_EQ(run_depthwise(p, {.tile_cols = 7, .tile_channels = 16}, x, w, {}, {}), whole);
    EXPECT_EQ(run_depthwise(p, {.tile_cols = 1, .tile_channels = 8}, x, w, {}, {}), whole);
    if (active_isa() < Isa::avx512) continue;
    limit_isa(Isa::avx2);
    apply_isa_limit();
    EXPECT_EQ(run_depthwise(p, {}, x, w, {}, {}), whole);
    limit_isa(Isa::avx512);
    apply_isa_limit();
  }
}

TEST(Depthwise, Epilogues) {
  const ConvCase p{.n = 2, .h = 9, .w = 14, .ci = 21, .co = 21, .depthwise = true};
  const int64_t oh = p.oh(), ow = p.ow();
  const auto x = test::random_floats(p.n * p.h * p.w * p.ci, 1), w = test::random_floats(p.weights(), 2);
  const auto bias = test::random_floats(p.co, 3), factor = test::random_floats(p.n * p.co, 4);
  const auto plain = test::reference_conv(p, x, w, {});
  EpilogueArgs clip;
  clip.bias = bias.data();
  clip.activation = Activation::clip;
  clip.lo = 0;
  clip.hi = 0.5f;
  MapCode scaled{};  // general: v * r, r per image and channel
  scaled.inputs = 2;
  scaled.count = 1;
  scaled.code[0] = {MapOp::mul, 0, 1};
  EpilogueArgs general;
  general.bias = bias.data();
  general.code = &scaled;
  general.operands = 1;
  general.operand[0] = {factor.data(), {p.co, 0, 0, 1}};
  std::vector<double> clipped = plain, multiplied = plain;
  for (size_t i = 0; i < plain.size(); i++) {
    const double v = plain[i] + bias[i % p.co];
    clipped[i] = std::min(0.5, std::max(0.0, v));
    multiplied[i] = v * factor[i / (oh * ow * p.co) * p.co + i % p.co];
  }
  test::expect_near(3e-6, run_depthwise(p, {.gap = 1, .tile_rows = 4, .tile_cols = 6}, x, w, {}, clip), clipped);
  test::expect_near(3e-6, run_depthwise(p, {.gap = 1, .tile_rows = 4, .tile_cols = 6}, x, w, {}, general), multiplied);
}

// Where the output takes the residual's place, no pixel may be computed twice.
TEST(Depthwise, ResidualInPlace) {
  for (const int64_t width : {17, 18, 21}) {
    const ConvCase p{.h = 7, .w = width, .ci = 20, .co = 20, .depthwise = true};
    const auto x = test::random_floats(p.h * p.w * p.ci, 1), w = test::random_floats(p.weights(), 2);
    const auto residual = test::random_floats(p.h * p.w * p.co, 3);
    std::vector<float> packed(w.size()), y = residual;
    pack_depthwise_weights(test::bytes(w), nullptr, p.co, 9, packed.data());
    const int64_t row = p.w * p.ci;
    const DepthwiseShape shape{p.h, p.w, p.ci, p.h, p.w,       p.co, 3,    3,         1,   1,
                               1,   1,   1,    1,   p.h * row, row,  p.ci, p.h * row, row, p.ci};
    EpilogueArgs epilogue;
    epilogue.operands = 1;
    epilogue.operand[0] = {y.data(), {p.h * row, row, p.ci, 1}};
    depthwise_tile(shape, {0, 1, 0, p.h, 0, p.w, 0, p.co}, x.data(), packed.data(), y.data(), epilogue);
    auto expected = test::reference_conv(p, x, w, {});
    for (size_t i = 0; i < expected.size(); i++) expected[i] += residual[i];
    test::expect_near(3e-6, y, expected);
  }
}

}  // namespace
}  // namespace pando::kernels
