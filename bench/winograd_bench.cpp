// Winograd against the direct method's peak on the 3x3 layers of ResNet-50, VGG-16 and YOLOv3: warm, and with weights
// and activations evicted from the caches before each call. Times are minima; the peak is measured beside each layer.
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <functional>
#include <vector>

#include "base/cpu.hpp"
#include "base/memory.hpp"
#include "kernels/conv/winograd.hpp"
#include "kernels/simd.hpp"

namespace {
using namespace pando;
using namespace pando::kernels;

// Of this thread's CPU time: other programs on the machine then cost only what they take of the caches.
double seconds(const std::function<void()>& f) {
  auto now = [] {
    timespec t{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
  };
  const double start = now();
  f();
  return now() - start;
}

// The rate of products whose operands stay in L1: what the direct method can reach at most.
double peak_flops() {
  const GemmFamily* family = gemm_family(64, 32, 64, 32);
  family->prepare(32, 30, false);
  static AlignedBuffer a(32 * 64 * 4), b(64 * 30 * 4), c(32 * 30 * 4);
  const GemmOffset zero = 0;
  auto at = [](AlignedBuffer& m) { return reinterpret_cast<float*>(m.data()); };
  double best = 1;
  for (int i = 0; i < 200; i++)
    best = std::min(best, seconds([&] {
                      for (int j = 0; j < 20; j++) (*family)(32, 30, false, at(a), at(b), at(c), 1, &zero, &zero);
                    }));
  return 20 * 2.0 * 32 * 64 * 30 / best;
}

void evict() {
  static std::vector<float> big(24 << 20);
  for (size_t i = 0; i < big.size(); i += 16) big[i] += 1;
}

struct Layer {
  const char* model;
  int64_t size, ci, co;
  int64_t rows = 1 << 20;  // of output per tile
};

void measure(const Layer& l, int64_t group, int repeats) {
  auto floats = [](int64_t n) { return AlignedBuffer(static_cast<size_t>(n) * sizeof(float)); };
  auto data = [](AlignedBuffer& b) { return reinterpret_cast<float*>(b.data()); };
  AlignedBuffer x = floats(l.size * l.size * l.ci), y = floats(l.size * l.size * l.co), w = floats(l.ci * l.co * 9);
  for (size_t i = 0; i < x.size() / 4; i++) data(x)[i] = static_cast<float>(i % 17) * 0.1f - 0.8f;
  for (size_t i = 0; i < w.size() / 4; i++) data(w)[i] = static_cast<float>(i % 13) * 0.02f - 0.12f;
  AlignedBuffer u = floats(static_cast<int64_t>(winograd_weights_size(l.ci, l.co)));
  const double pack = seconds([&] { pack_winograd_weights(w.data(), nullptr, l.ci, l.co, data(u)); });
  WinogradShape shape{l.size,
                      l.size,
                      l.ci,
                      l.size,
                      l.size,
                      l.co,
                      1,
                      1,
                      0,
                      l.size * l.ci,
                      l.ci,
                      0,
                      l.size * l.co,
                      l.co,
                      group > 0 ? group : winograd_group(l.ci, 512 << 10)};
  const WinogradGemm gemm = winograd_gemm(l.ci);
  AlignedBuffer scratch(winograd_scratch_bytes(shape, gemm_max_n));
  EpilogueArgs epilogue;
  epilogue.activation = Activation::relu;
  auto run = [&] {
    for (int64_t y0 = 0; y0 < l.size; y0 += l.rows) {
      WinogradBox box{0, 1, y0, std::min(l.size, y0 + l.rows), 0, l.size, 0, l.co};
      winograd_prepare(shape, gemm, box.blocks());
      winograd_tile(shape, box, gemm, data(x), data(u), data(y), epilogue, scratch.data());
    }
  };
  double warm = 1e9, cold = 1e9, peak = 0;
  run();
  for (int i = 0; i < repeats; i++) {
    warm = std::min(warm, seconds(run));
    if (i % 8 == 0) peak = std::max(peak, peak_flops());
  }
  for (int i = 0; i < repeats / 3 + 1; i++) {
    evict();
    cold = std::min(cold, seconds(run));
  }
  const double direct = 18.0 * static_cast<double>(l.size * l.size * l.ci * l.co) / peak;
  fmt::print(
      "{:9} {:>3}x{:<3} {:>4}->{:<4} T={:<2} direct {:8.3f} ms  warm {:8.3f} ms {:5.2f}x  cold {:8.3f} ms {:5.2f}x"
      "  weights {:5.1f} MB  pack {:6.1f} ms  peak {:.0f}\n",
      l.model, l.size, l.size, l.ci, l.co, shape.group, direct * 1e3, warm * 1e3, direct / warm, cold * 1e3,
      direct / cold, static_cast<double>(u.size()) / 1e6, pack * 1e3, peak / 1e9);
}

}  // namespace

// Arguments: repeats, blocks per group (0: chosen).
int main(int argc, char** argv) {
  apply_isa_limit();
  const int repeats = argc > 1 ? std::atoi(argv[1]) : 30;
  const int64_t group = argc > 2 ? std::atoi(argv[2]) : 0;
  fmt::print("{} {}\n", cpu_name(), name_of(active_isa()));
  for (const Layer& l : {Layer{"resnet50", 56, 64, 64}, Layer{"resnet50", 28, 128, 128},
                         Layer{"resnet50", 14, 256, 256}, Layer{"resnet50", 7, 512, 512}, Layer{"vgg16", 224, 64, 64},
                         Layer{"vgg16", 112, 64, 128}, Layer{"vgg16", 112, 128, 128}, Layer{"vgg16", 56, 128, 256},
                         Layer{"vgg16", 56, 256, 256}, Layer{"vgg16", 28, 256, 512}, Layer{"vgg16", 28, 512, 512},
                         Layer{"vgg16", 14, 512, 512}, Layer{"yolov3", 208, 32, 64}, Layer{"yolov3", 104, 64, 128},
                         Layer{"yolov3", 52, 128, 256}, Layer{"yolov3", 26, 256, 512}, Layer{"yolov3", 13, 512, 1024}})
    measure(l, group, l.size > 100 ? repeats / 3 + 1 : repeats);
}
