// Depthwise convolution on MobileNetV2's layers and some larger kernels: time and the bytes of input and output per
// second.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>

#include "base/cpu.hpp"
#include "base/memory.hpp"
#include "kernels/conv/depthwise.hpp"
#include "kernels/simd.hpp"

namespace {
using namespace pando;
using namespace pando::kernels;

struct Layer {
  int64_t size, channels, kernel, stride;
};

void measure(const Layer& l, int repeats) {
  auto floats = [](int64_t n) { return AlignedBuffer(static_cast<size_t>(n) * sizeof(float)); };
  auto data = [](AlignedBuffer& b) { return reinterpret_cast<float*>(b.data()); };
  const int64_t pad = l.kernel / 2, out = (l.size + 2 * pad - l.kernel) / l.stride + 1, c = l.channels;
  AlignedBuffer x = floats(l.size * l.size * c), y = floats(out * out * c), w = floats(l.kernel * l.kernel * c);
  for (size_t i = 0; i < x.size() / 4; i++) data(x)[i] = static_cast<float>(i % 17) * 0.1f - 0.8f;
  const DepthwiseShape shape{l.size, l.size, c,   out, out, c,          l.kernel, l.kernel, l.stride, l.stride,
                             1,      1,      pad, pad, 0,   l.size * c, c,        0,        out * c,  c};
  EpilogueArgs epilogue;
  epilogue.activation = Activation::clip;
  epilogue.hi = 6;
  double best = 1;
  for (int i = 0; i < repeats; i++) {
    const auto start = std::chrono::steady_clock::now();
    depthwise_tile(shape, {0, 1, 0, out, 0, out, 0, c}, data(x), data(w), data(y), epilogue);
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  const double flops = 2.0 * static_cast<double>(out * out * c * l.kernel * l.kernel);
  fmt::print("{:>3}x{:<3}x{:<4} kernel {} stride {}  {:8.3f} ms  {:6.1f} GFLOP/s  {:6.1f} GB/s\n", l.size, l.size, c,
             l.kernel, l.stride, best * 1e3, flops / best / 1e9, static_cast<double>(x.size() + y.size()) / best / 1e9);
}

}  // namespace

// Argument: repeats.
int main(int argc, char** argv) {
  apply_isa_limit();
  const int repeats = argc > 1 ? std::atoi(argv[1]) : 100;
  fmt::print("{} {}\n", cpu_name(), name_of(active_isa()));
  for (const Layer& l :
       {Layer{112, 32, 3, 1}, Layer{112, 96, 3, 2}, Layer{56, 144, 3, 1}, Layer{56, 144, 3, 2}, Layer{28, 192, 3, 1},
        Layer{28, 192, 3, 2}, Layer{14, 384, 3, 1}, Layer{14, 576, 3, 1}, Layer{14, 576, 3, 2}, Layer{7, 960, 3, 1},
        Layer{28, 240, 5, 1}, Layer{14, 672, 5, 2}, Layer{56, 96, 7, 1}, Layer{56, 96, 9, 1}})
    measure(l, repeats);
}
