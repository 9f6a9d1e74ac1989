// GFLOP/s of convolution tiles, and of matrix products, on one thread: each layer is run in tiles as an engine would,
// between measurements of the fma peak. A layer's time is the sum of its tiles' best times in several turns, in CPU
// time of the thread, since the machine may be shared. Usage: conv_bench [WORD in layers' names] [TURNS]
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <numeric>
#include <string>
#include <vector>

#include "base/machine.hpp"
#include "base/memory.hpp"
#include "bench/fma_peak.hpp"
#include "kernels/conv/direct.hpp"
#include "kernels/gemm/pack.hpp"

namespace pando {
namespace {

using kernels::gemm_block;

AlignedBuffer floats(int64_t count) {
  AlignedBuffer buffer(static_cast<size_t>(count) * 4);
  float* f = reinterpret_cast<float*>(buffer.data());
  for (int64_t i = 0; i < count; i++) f[i] = 0.01f * static_cast<float>(i % 13 - 6);
  return buffer;
}
float* data(const AlignedBuffer& b) { return reinterpret_cast<float*>(b.data()); }

struct Layer {
  std::string name;
  int h, w, ci, co, kernel, stride, rows, channels;  // rows, channels: of a tile
  bool residual;
  int repeats;  // in the network
};

double measure(const Layer& l, int turns, double& peak) {
  const Machine machine = Machine::host();
  const int oh = (l.h - 1) / l.stride + 1, ow = (l.w - 1) / l.stride + 1;
  const int pad = l.kernel / 2;
  kernels::ConvShape s{l.h,      l.w,      0,        static_cast<int64_t>(l.w) * l.ci,
                       l.ci,     1,        0,        static_cast<int64_t>(ow) * l.co,
                       l.co,     l.kernel, l.kernel, l.stride,
                       l.stride, 1,        1,        pad,
                       pad,      l.ci,     l.co,     1};
  if (l.h == 1) s.kh = s.sy = 1, s.pad_y = 0;
  const kernels::ResidualStrides rs{l.residual, static_cast<int64_t>(ow) * l.co, l.co};
  const auto plan = kernels::plan_direct(s, l.rows, ow, ow, rs, machine.l2_bytes);
  const int64_t depth = s.kh * s.kw * s.ci;
  AlignedBuffer x = floats(static_cast<int64_t>(l.h) * l.w * l.ci), w = floats(l.co * depth);
  AlignedBuffer y = floats(static_cast<int64_t>(oh) * ow * l.co), r = floats(static_cast<int64_t>(oh) * ow * l.co);
  AlignedBuffer bias = floats(l.co), packed(static_cast<size_t>(kernels::packed_floats(l.co, depth)) * 4);
  kernels::pack_conv_weights(w.data(), nullptr, l.co, l.ci, s.kh * s.kw, data(packed));
  kernels::DirectArgs args;
  args.x = data(x);
  args.y = data(y);
  args.weights = data(packed);
  args.epilogue.bias = data(bias);
  args.epilogue.activation = kernels::Activation::relu;
  if (l.residual) {
    args.epilogue.operands = 1;
    args.epilogue.operand[0] = {data(r), {0, rs.y, rs.x, 1}};
  }
  AlignedBuffer scratch(plan.scratch_bytes());
  std::vector<kernels::ConvBox> boxes;
  for (int y0 = 0; y0 < oh; y0 += l.rows)
    for (int c0 = 0; c0 < l.co; c0 += l.channels)
      boxes.push_back({0, 1, y0, std::min(oh, y0 + l.rows), 0, ow, c0, std::min(l.co, c0 + l.channels)});
  std::vector<double> best(boxes.size(), 1e9);
  for (int turn = 0; turn < turns; turn++) {
    peak = std::max(peak, bench::fma_peak_gflops(0.001));
    for (size_t i = 0; i < boxes.size(); i++) {
      const double begin = bench::thread_seconds();
      kernels::conv_direct(plan, args, boxes[i], scratch.data());
      best[i] = std::min(best[i], bench::thread_seconds() - begin);
    }
  }
  return std::accumulate(best.begin(), best.end(), 0.0);
}

const Layer layers[] = {
    {"resnet stem 7x7s2", 224, 224, 3, 64, 7, 2, 14, 64, false, 1},
    {"resnet 1x1 56 64-64", 56, 56, 64, 64, 1, 1, 14, 64, false, 1},
    {"resnet 1x1 56 256-64", 56, 56, 256, 64, 1, 1, 14, 64, false, 2},
    {"resnet 3x3 56 64", 56, 56, 64, 64, 3, 1, 14, 64, false, 3},
    {"resnet 1x1 56 64-256 res", 56, 56, 64, 256, 1, 1, 14, 256, true, 4},
    {"resnet 1x1 56 256-128", 56, 56, 256, 128, 1, 1, 14, 128, false, 1},
    {"resnet 3x3s2 56 128", 56, 56, 128, 128, 3, 2, 7, 128, false, 1},
    {"resnet 1x1 28 512-128", 28, 28, 512, 128, 1, 1, 14, 128, false, 3},
    {"resnet 3x3 28 128", 28, 28, 128, 128, 3, 1, 14, 128, false, 3},
    {"resnet 1x1 28 128-512 res", 28, 28, 128, 512, 1, 1, 14, 512, true, 4},
    {"resnet 1x1s2 56 256-512", 56, 56, 256, 512, 1, 2, 14, 512, false, 1},
    {"resnet 1x1 28 512-256", 28, 28, 512, 256, 1, 1, 14, 256, false, 1},
    {"resnet 3x3s2 28 256", 28, 28, 256, 256, 3, 2, 14, 256, false, 1},
    {"resnet 1x1 14 1024-256", 14, 14, 1024, 256, 1, 1, 14, 256, false, 5},
    {"resnet 3x3 14 256", 14, 14, 256, 256, 3, 1, 14, 256, false, 5},
    {"resnet 1x1 14 256-1024 res", 14, 14, 256, 1024, 1, 1, 14, 1024, true, 6},
    {"resnet 1x1s2 28 512-1024", 28, 28, 512, 1024, 1, 2, 14, 1024, false, 1},
    {"resnet 1x1 14 1024-512", 14, 14, 1024, 512, 1, 1, 14, 512, false, 1},
    {"resnet 3x3s2 14 512", 14, 14, 512, 512, 3, 2, 7, 512, false, 1},
    {"resnet 1x1 7 2048-512", 7, 7, 2048, 512, 1, 1, 7, 512, false, 2},
    {"resnet 3x3 7 512", 7, 7, 512, 512, 3, 1, 7, 512, false, 2},
    {"resnet 1x1 7 512-2048 res", 7, 7, 512, 2048, 1, 1, 7, 2048, true, 3},
    {"resnet 1x1s2 14 1024-2048", 14, 14, 1024, 2048, 1, 2, 7, 2048, false, 1},
    {"vgg 3x3 224 3-64", 224, 224, 3, 64, 3, 1, 28, 64, false, 1},
    {"vgg 3x3 224 64", 224, 224, 64, 64, 3, 1, 14, 64, false, 1},
    {"vgg 3x3 112 128", 112, 112, 128, 128, 3, 1, 14, 128, false, 1},
    {"vgg 3x3 56 256", 56, 56, 256, 256, 3, 1, 14, 256, false, 2},
    {"vgg 3x3 28 512", 28, 28, 512, 512, 3, 1, 14, 512, false, 2},
    {"vgg 3x3 14 512", 14, 14, 512, 512, 3, 1, 14, 512, false, 3},
    {"googlenet 5x5 28 16-32", 28, 28, 16, 32, 5, 1, 28, 32, false, 1},
    {"googlenet 1x1 14 480-208", 14, 14, 480, 208, 1, 1, 14, 208, false, 1},
    {"mobilenet stem 3x3s2", 224, 224, 3, 32, 3, 2, 8, 32, false, 1},
    {"mobilenet 1x1 112 32-16", 112, 112, 32, 16, 1, 1, 8, 16, false, 1},
    {"mobilenet 1x1 112 16-96", 112, 112, 16, 96, 1, 1, 4, 96, false, 1},
    {"mobilenet 1x1 56 24-144", 56, 56, 24, 144, 1, 1, 4, 144, false, 2},
    {"mobilenet 1x1 56 144-24", 56, 56, 144, 24, 1, 1, 4, 24, false, 1},
    {"mobilenet 1x1 28 32-192", 28, 28, 32, 192, 1, 1, 7, 192, false, 3},
    {"mobilenet 1x1 28 192-32", 28, 28, 192, 32, 1, 1, 7, 32, false, 2},
    {"mobilenet 1x1 14 96-576", 14, 14, 96, 576, 1, 1, 14, 576, false, 3},
    {"mobilenet 1x1 14 576-96", 14, 14, 576, 96, 1, 1, 14, 96, false, 2},
    {"mobilenet 1x1 7 960-160", 7, 7, 960, 160, 1, 1, 7, 160, false, 2},
    {"mobilenet 1x1 7 320-1280", 7, 7, 320, 1280, 1, 1, 7, 1280, false, 1},
    {"bert 128x768x768", 1, 128, 768, 768, 1, 1, 1, 768, false, 1},
    {"bert 128x768x3072", 1, 128, 768, 3072, 1, 1, 1, 3072, false, 1},
    {"bert 128x3072x768", 1, 128, 3072, 768, 1, 1, 1, 768, false, 1},
};

}  // namespace
}  // namespace pando

int main(int argc, char** argv) {
  const int turns = argc > 2 ? std::atoi(argv[2]) : 15;
  double flops = 0, seconds = 0, peak = 0;
  for (const auto& l : pando::layers) {
    if (argc > 1 && l.name.find(argv[1]) == std::string::npos) continue;
    double here = 0;
    const double s = pando::measure(l, turns, here);
    const double out = static_cast<double>((l.h - 1) / l.stride + 1) * ((l.w - 1) / l.stride + 1);
    const double f = 2.0 * out * l.ci * l.co * l.kernel * (l.h == 1 ? 1 : l.kernel);
    fmt::print("{:28} {:8.3f} ms {:6.1f} GFLOP/s {:5.1f} % of {:.1f}\n", l.name, s * 1e3, f / s / 1e9,
               f / s / 1e7 / here, here);
    flops += f * l.repeats;
    seconds += s * l.repeats;
    peak = std::max(peak, here);
  }
  fmt::print("all, as often as the network has them: {:.3f} ms, {:.1f} GFLOP/s, {:.1f} % of {:.1f}\n", seconds * 1e3,
             flops / seconds / 1e9, flops / seconds / 1e7 / peak, peak);
}
