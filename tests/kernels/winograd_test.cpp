#include "kernels/conv/winograd.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>

#include "base/cpu.hpp"
#include "base/memory.hpp"
#include "kernels/conv_reference.hpp"
#include "kernels/simd.hpp"

namespace pando::kernels {
namespace {

using test::ConvCase;

// How a convolution is run: input and output as sub-boxes of wider tensors, and the cut into boxes.
struct WinogradCut {
  int64_t gap = 0;  // channels beyond the tensor's own, in input and output
  int64_t tile_rows = 1 << 20, tile_cols = 1 << 20, tile_channels = 1 << 20;
  int64_t group = 16;
};

std::vector<float> run_winograd(const ConvCase& p, const WinogradCut& r, const std::vector<float>& x,
                                const std::vector<float>& w, const std::vector<float>& scale,
                                const EpilogueArgs& epilogue) {
  const int64_t oh = p.oh(), ow = p.ow(), xc = p.ci + r.gap, yc = p.co + r.gap;
  std::vector<float> wide(static_cast<size_t>(p.n * p.h * p.w * xc), 1e30f);
  for (int64_t i = 0; i < p.n * p.h * p.w; i++) std::copy_n(&x[i * p.ci], p.ci, &wide[i * xc]);
  wide.resize(wide.size() - r.gap);  // nothing may be read past the last channel
  std::vector<float> out(static_cast<size_t>(p.n * oh * ow * yc), 7.f), y;
  AlignedBuffer u(winograd_weights_size(p.ci, p.co) * sizeof(float));
  float* packed = reinterpret_cast<float*>(u.data());
  pack_winograd_weights(test::bytes(w), scale.empty() ? nullptr : test::bytes(scale), p.ci, p.co, packed);
  WinogradShape shape{p.h,      p.w, p.ci,         oh,      ow, p.co,   p.pad_y, p.pad_x, p.h * p.w * xc,
                      p.w * xc, xc,  oh * ow * yc, ow * yc, yc, r.group};
  const WinogradGemm gemm = winograd_gemm(p.ci);
  for (int64_t n = 0; n < p.n; n++)
    for (int64_t y0 = 0; y0 < oh; y0 += r.tile_rows)
      for (int64_t x0 = 0; x0 < ow; x0 += r.tile_cols)
        for (int64_t c0 = 0; c0 < p.co; c0 += r.tile_channels) {
          WinogradBox box{n,  n + 1,
                          y0, std::min(oh, y0 + r.tile_rows),
                          x0, std::min(ow, x0 + r.tile_cols),
                          c0, std::min(p.co, c0 + r.tile_channels)};
          winograd_prepare(shape, gemm, box.blocks());
          const size_t scratch_bytes = winograd_scratch_bytes(shape, box.blocks());
          std::unique_ptr<void, decltype(&std::free)> scratch(std::aligned_alloc(64, scratch_bytes), &std::free);
          std::fill_n(static_cast<float*>(scratch.get()), scratch_bytes / sizeof(float), NAN);
          winograd_tile(shape, box, gemm, wide.data(), packed, out.data(), epilogue,
                        static_cast<std::byte*>(scratch.get()));
        }
  for (int64_t i = 0; i < p.n * oh * ow; i++) {
    y.insert(y.end(), &out[i * yc], &out[i * yc] + p.co);
    for (int64_t c = p.co; c < yc; c++) EXPECT_EQ(out[i * yc + c], 7.f) << "written past the last channel";
  }
  return y;
}

TEST(Winograd, MatchesDirectConvolution) {
  const ConvCase cases[] = {
      {.n = 2, .h = 9, .w = 11, .ci = 8, .co = 8},
      {.h = 4, .w = 4, .ci = 64, .co = 64},
      {.h = 7, .w = 7, .ci = 128, .co = 32},
      {.h = 14, .w = 13, .ci = 200, .co = 40},
      {.h = 3, .w = 3, .ci = 4, .co = 8, .pad_y = 0, .pad_x = 0, .pad_y_end = 0, .pad_x_end = 0},
      {.h = 6, .w = 10, .ci = 5, .co = 96, .pad_y = 2, .pad_x = 0, .pad_y_end = 1, .pad_x_end = 2},
      {.n = 3, .h = 1, .w = 2, .ci = 67, .co = 72, .pad_y = 2, .pad_x = 2, .pad_y_end = 2, .pad_x_end = 2},
      {.h = 12, .w = 20, .ci = 330, .co = 33},
  };
  uint32_t seed = 1;
  for (const ConvCase& p : cases) {
    SCOPED_TRACE(testing::Message() << p.h << "x" << p.w << " " << p.ci << "->" << p.co);
    const auto x = test::random_floats(p.n * p.h * p.w * p.ci, seed++);
    const auto w = test::random_floats(p.weights(), seed++), scale = test::random_floats(p.co, seed++);
    test::expect_near(3e-5, run_winograd(p, {}, x, w, {}, {}), test::reference_conv(p, x, w, {}));
    test::expect_near(3e-5, run_winograd(p, {.gap = 3}, x, w, scale, {}), test::reference_conv(p, x, w, scale));
  }
}

const ConvCase bits_case{.n = 2, .h = 18, .w = 23, .ci = 148, .co = 104};

TEST(Winograd, BitsDoNotDependOnTiles) {
  const ConvCase& p = bits_case;
  const auto x = test::random_floats(p.n * p.h * p.w * p.ci, 5), w = test::random_floats(p.weights(), 6);
  const auto whole = run_winograd(p, {.group = 64}, x, w, {}, {});
  for (const WinogradCut& r :
       {WinogradCut{.tile_rows = 4, .group = 5}, WinogradCut{.tile_rows = 8, .tile_cols = 12, .tile_channels = 32},
        WinogradCut{.tile_channels = 64, .group = 1}})
    EXPECT_EQ(run_winograd(p, r, x, w, {}, {}), whole);
}

TEST(Winograd, BitsDoNotDependOnVectorWidth) {
  if (active_isa() < Isa::avx512) GTEST_SKIP() << "no AVX-512 here to compare with";
  const ConvCase& p = bits_case;
  const auto x = test::random_floats(p.n * p.h * p.w * p.ci, 5), w = test::random_floats(p.weights(), 6);
  const auto avx512 = run_winograd(p, {}, x, w, {}, {});
  limit_isa(Isa::avx2);
  apply_isa_limit();
  EXPECT_EQ(run_winograd(p, {}, x, w, {}, {}), avx512);
  limit_isa(Isa::avx512);
  apply_isa_limit();
}

TEST(Winograd, PortableInstructionSet) {
  const ConvCase p{.h = 10, .w = 9, .ci = 70, .co = 40};
  const auto x = test::random_floats(p.h * p.w * p.ci, 5), w = test::random_floats(p.weights(), 6);
  limit_isa(Isa::portable);
  apply_isa_limit();
  const auto y = run_winograd(p, {}, x, w, {}, {});
  limit_isa(Isa::avx512);
  apply_isa_limit();
  test::expect_near(3e-5, y, test::reference_conv(p, x, w, {}));
}

TEST(Winograd, Epilogues) {
  const ConvCase p{.n = 2, .h = 9, .w = 14, .ci = 16, .co = 72};
  const int64_t oh = p.oh(), ow = p.ow();
  const auto x = test::random_floats(p.n * p.h * p.w * p.ci, 1), w = test::random_floats(p.weights(), 2);
  const auto bias = test::random_floats(p.co, 3), residual = test::random_floats(p.n * oh * ow * p.co, 4);
  const auto plain = test::reference_conv(p, x, w, {});
  MapCode negated_sum{};  // general: neg(v + r)
  negated_sum.inputs = 2;
  negated_sum.count = 2;
  negated_sum.code[0] = {MapOp::add, 0, 1};
  negated_sum.code[1] = {MapOp::neg, 2};
  for (int kind = 0; kind < 6; kind++) {
    EpilogueArgs e;
    e.bias = bias.data();
    e.operands = kind == 0 ? 0 : 1;
    e.operand[0] = {residual.data(), {oh * ow * p.co, ow * p.co, p.co, 1}};
    e.lo = -0.5f;
    e.hi = 0.75f;
    e.slope = 0.125f;
    e.residual_last = kind == 4;
    e.code = kind == 5 ? &negated_sum : nullptr;
    const Activation kinds[] = {Activation::relu,       Activation::relu,       Activation::clip,
                                Activation::leaky_relu, Activation::leaky_relu, Activation::none};
    e.activation = kinds[kind];
    std::vector<double> want = plain;
    for (size_t i = 0; i < want.size(); i++) {
      const double r = kind == 0 ? 0 : residual[i];
      double v = plain[i] + bias[i % p.co] + (e.residual_last ? 0 : r);
      if (e.activation == Activation::relu) v = std::max(v, 0.0);
      if (e.activation == Activation::clip) v = std::min(0.75, std::max(v, -0.5));
      if (e.activation == Activation::leaky_relu) v = std::max(v, v * 0.125);
      want[i] = kind == 5 ? -v : v + (e.residual_last ? r : 0);
    }
    SCOPED_TRACE(kind);
    test::expect_near(3e-5, run_winograd(p, {.gap = 5, .tile_rows = 4, .tile_channels = 32}, x, w, {}, e), want);
  }
}

TEST(Winograd, KeepsNanThroughRelu) {
  const ConvCase p{.h = 4, .w = 4, .ci = 8, .co = 8};
  auto x = test::random_floats(p.h * p.w * p.ci, 1);
  x[0] = NAN;
  EpilogueArgs e;
  e.activation = Activation::relu;
  const auto y = run_winograd(p, {}, x, test::random_floats(p.weights(), 2), {}, e);
  EXPECT_TRUE(std::isnan(y[0]));
}

}  // namespace
}  // namespace pando::kernels
