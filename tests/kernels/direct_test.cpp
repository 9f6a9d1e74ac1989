// Convolution by batch-reduce GEMM against a plain loop: the same fma chain, so the same bits.
#include "kernels/conv/direct.hpp"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "base/cpu.hpp"
#include "kernels/gemm/pack.hpp"

namespace pando::kernels {
namespace {

struct Case {
  int n, h, w, ci, co, groups, kh, kw, sy, sx, dy, dx, pad_y, pad_x, pad_y1, pad_x1;
  int x_gap, y_gap;  // channels of the tensors that lie between pixels
  bool residual;
};

struct Conv {
  Case c;
  int oh, ow, xc, yc;
  std::vector<float> x, w, bias, residual, expected;
  ConvShape shape;

  Conv(const Case& k, std::mt19937& rng) : c(k) {
    oh = (c.h + c.pad_y + c.pad_y1 - (c.kh - 1) * c.dy - 1) / c.sy + 1;
    ow = (c.w + c.pad_x + c.pad_x1 - (c.kw - 1) * c.dx - 1) / c.sx + 1;
    xc = c.ci * c.groups + c.x_gap;
    yc = c.co * c.groups + c.y_gap;
    x.resize(static_cast<size_t>(c.n * c.h * c.w * xc));
    w.resize(static_cast<size_t>(c.co * c.groups * c.ci * c.kh * c.kw));
    bias.resize(static_cast<size_t>(c.co * c.groups));
    residual.resize(static_cast<size_t>(c.n * oh * ow * c.co * c.groups));
    std::normal_distribution<float> value;
    for (auto* v : {&x, &w, &bias, &residual})
      for (float& f : *v) f = value(rng);
    shape = {c.h,
             c.w,
             static_cast<int64_t>(c.h) * c.w * xc,
             static_cast<int64_t>(c.w) * xc,
             xc,
             1,
             static_cast<int64_t>(oh) * ow * yc,
             static_cast<int64_t>(ow) * yc,
             yc,
             c.kh,
             c.kw,
             c.sy,
             c.sx,
             c.dy,
             c.dx,
             c.pad_y,
             c.pad_x,
             c.ci,
             c.co,
             c.groups};
    compute();
  }

  float at(int n, int y, int xx, int o) const {
    const int g = o / c.co;
    float sum = 0;
    for (int kh = 0; kh < c.kh; kh++)
      for (int kw = 0; kw < c.kw; kw++)
        for (int i = 0; i < c.ci; i++) {
          const int iy = y * c.sy + kh * c.dy - c.pad_y, ix = xx * c.sx + kw * c.dx - c.pad_x;
          const bool inside = iy >= 0 && iy < c.h && ix >= 0 && ix < c.w;
          const float v = inside ? x[static_cast<size_t>(((n * c.h + iy) * c.w + ix) * xc + g * c.ci + i)] : 0;
          sum = std::fma(w[static_cast<size_t>(((o * c.ci + i) * c.kh + kh) * c.kw + kw)], v, sum);
        }
    return sum;
  }
  void compute() {
    const int co = c.co * c.groups;
    expected.assign(static_cast<size_t>(c.n * oh * ow * yc), 777);
    for (int n = 0; n < c.n; n++)
      for (int y = 0; y < oh; y++)
        for (int xx = 0; xx < ow; xx++)
          for (int o = 0; o < co; o++) {
            const int pixel = (n * oh + y) * ow + xx;
            float v = at(n, y, xx, o) + bias[static_cast<size_t>(o)];
            if (c.residual) v += residual[static_cast<size_t>(pixel * co + o)];
            expected[static_cast<size_t>(pixel * yc + o)] = std::max(0.0f, v);
          }
  }

  // Runs with boxes of these extents.
  std::vector<float> run(int rows, int cols, int channels, double l2, ProductType type = ProductType::f32) const {
    const int co = c.co * c.groups;
    const ResidualStrides rs{c.residual, static_cast<int64_t>(ow) * co, co};
    DirectPlan plan = plan_direct(shape, rows, cols, ow, rs, l2, type);
    const bool bf16 = type == ProductType::bf16;
    const int taps = c.kh * c.kw;
    const int64_t group = bf16 ? packed_bf16(c.co, taps, c.ci) : packed_floats(c.co, taps * c.ci);
    std::vector<std::byte> packed(static_cast<size_t>(group * c.groups * value_bytes(type)));
    for (int g = 0; g < c.groups; g++) {
      const auto* from = reinterpret_cast<const std::byte*>(w.data() + static_cast<size_t>(g * c.co * c.ci * taps));
      std::byte* to = packed.data() + g * group * value_bytes(type);
      if (bf16) pack_bf16({from, c.ci * taps, 1, taps}, nullptr, c.co, taps, c.ci, reinterpret_cast<uint16_t*>(to));
      else pack_conv_weights(from, nullptr, c.co, c.ci, taps, reinterpret_cast<float*>(to));
    }
    std::vector<float> out(expected.size(), 777);
    DirectArgs args;
    args.x = x.data();
    args.y = out.data();
    args.group_stride = group;
    args.weights = packed.data();
    args.epilogue.bias = bias.data();
    args.epilogue.activation = Activation::relu;
    if (c.residual) {
      args.epilogue.operands = 1;
      args.epilogue.operand[0] = {residual.data(),
                                  {static_cast<int64_t>(oh) * ow * co, static_cast<int64_t>(ow) * co, co, 1}};
    }
    std::vector<std::byte> scratch(plan.scratch_bytes());
    for (int n = 0; n < c.n; n++)
      for (int y = 0; y < oh; y += rows)
        for (int xx = 0; xx < ow; xx += cols)
          for (int o = 0; o < co; o += channels) {
            ConvBox box{
                n, n + 1, y, std::min(oh, y + rows), xx, std::min(ow, xx + cols), o, std::min(co, o + channels)};
            std::memset(scratch.data(), 0x7f, scratch.size());
            conv_direct(plan, args, box, scratch.data());
          }
    return out;
  }
};

struct Way {
  int rows, cols, channels;
  double l2;
};
std::vector<Way> ways_to_cut(const Conv& conv) {
  const int whole = conv.c.co * conv.c.groups;
  return {{conv.oh, conv.ow, whole, 512e3},
          {3, conv.ow, conv.c.groups > 1 ? whole : 32, 64e3},
          {2, 5, conv.c.groups > 1 ? whole : 64, 4e3}};
}

const Case image_cases[] = {
    {1, 7, 7, 64, 64, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, true},     // in place, flat
    {2, 9, 5, 24, 40, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 3, 5, false},    // gaps between pixels, 8 channels over
    {1, 6, 11, 512, 33, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, true},   // 2 KB from pixel to pixel
    {1, 9, 9, 16, 32, 1, 1, 1, 2, 2, 1, 1, 0, 0, 0, 0, 0, 0, false},    // strided 1x1
    {2, 8, 10, 64, 48, 1, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, true},    // 3x3
    {1, 11, 12, 97, 35, 1, 3, 3, 2, 2, 1, 1, 1, 1, 0, 1, 0, 7, false},  // strided, prime channels
    {1, 10, 13, 32, 16, 1, 3, 3, 1, 1, 2, 3, 2, 3, 2, 3, 0, 0, true},   // dilated
    {1, 15, 17, 8, 64, 1, 5, 3, 3, 2, 2, 1, 4, 1, 3, 1, 0, 0, false},   // merged, dilated and strided rows
    {1, 23, 70, 3, 70, 1, 7, 7, 2, 2, 1, 1, 3, 3, 3, 3, 0, 0, true},    // stem
    {2, 9, 8, 3, 5, 1, 3, 3, 2, 2, 1, 1, 0, 0, 1, 1, 0, 0, false},      // few of everything
    {1, 1, 300, 1, 20, 1, 1, 33, 1, 7, 1, 1, 0, 5, 0, 5, 0, 0, false},  // 1-D, one channel
    {2, 6, 7, 4, 4, 8, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, true},       // small groups
    {1, 6, 7, 32, 48, 3, 3, 3, 2, 1, 1, 1, 1, 1, 1, 1, 2, 1, true},     // groups with a part block
    {1, 2, 3, 16, 8, 1, 5, 5, 1, 1, 1, 1, 2, 2, 2, 2, 0, 0, false},     // kernel larger than the image
};

TEST(DirectConv, EqualsThePlainChainForAnyBoxAndBlocking) {
  if (active_isa() == Isa::portable) GTEST_SKIP() << "no fma";
  std::mt19937 rng(5);
  for (const Case& k : image_cases) {
    Conv conv(k, rng);
    for (const Way& way : ways_to_cut(conv)) {
      auto got = conv.run(way.rows, way.cols, way.channels, way.l2);
      for (size_t i = 0; i < got.size(); i++)
        ASSERT_EQ(got[i], conv.expected[i])
            << "case " << (&k - image_cases) << " rows " << way.rows << " element " << i;
    }
  }
}

// Sums of the rounded operands, in the same order however they are cut. Numbers below the normal range count as zero.
TEST(DirectConv, Bf16) {
  if (!has_bf16()) GTEST_SKIP() << "no AVX512_BF16";
  std::mt19937 rng(6);
  for (const Case& k : image_cases) {
    Conv conv(k, rng);
    conv.x[3] = 1e-40f;
    std::vector<float> first;
    for (const Way& way : ways_to_cut(conv)) {
      auto got = conv.run(way.rows, way.cols, way.channels, way.l2, ProductType::bf16);
      if (first.empty()) first = got;
      ASSERT_TRUE(std::memcmp(first.data(), got.data(), got.size() * sizeof(float)) == 0) << (&k - image_cases);
    }
    for (auto* v : {&conv.x, &conv.w})
      for (float& f : *v) f = to_float(to_bfloat16(f));
    conv.compute();
    const double depth = k.ci * k.kh * k.kw;
    for (size_t i = 0; i < first.size(); i++)
      ASSERT_NEAR(first[i], conv.expected[i], 1e-6 * depth + 1e-5) << (&k - image_cases) << " element " << i;
  }
}

// The last pixels of an image of more than 2^31: only the pages that they lie on are touched.
TEST(DirectConv, PixelsBeyond32Bits) {
  constexpr int64_t width = (int64_t{1} << 31) + 100;
  const auto reserve = [] {
    void* p = mmap(nullptr, width * sizeof(float), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                   -1, 0);
    return p == MAP_FAILED ? nullptr : static_cast<float*>(p);
  };
  float *x = reserve(), *y = reserve();
  if (x == nullptr || y == nullptr) GTEST_SKIP() << "no address space";
  ConvShape shape;
  shape.in_w = width;
  shape.x_x = shape.y_x = 1;
  DirectPlan plan = plan_direct(shape, 1, 40, width, {}, 1 << 20);
  const float two = 2;
  std::vector<float> packed(static_cast<size_t>(packed_floats(1, 1)));
  pack_conv_weights(reinterpret_cast<const std::byte*>(&two), nullptr, 1, 1, 1, packed.data());
  DirectArgs args;
  args.x = x;
  args.y = y;
  args.weights = packed.data();
  std::vector<std::byte> scratch(plan.scratch_bytes() + 64);
  for (int64_t i = width - 40; i < width; i++) x[i] = static_cast<float>(i % 97);
  conv_direct(plan, args, {0, 1, 0, 1, width - 40, width, 0, 1}, scratch.data());
  for (int64_t i = width - 40; i < width; i++) EXPECT_EQ(y[i], 2 * x[i]);
  munmap(x, width * sizeof(float));
  munmap(y, width * sizeof(float));
}

}  // namespace
}  // namespace pando::kernels
