// The cost model of tile(): time of a box = arithmetic at the algorithm's efficiency + bytes through the caches.
#include <algorithm>
#include <cmath>

#include "graph/ops/ops.hpp"
#include "tile/internal.hpp"

namespace pando::tiling {
namespace {

// Fraction of the fma peak that an algorithm's arithmetic reaches.
double efficiency(Algorithm a) {
  switch (a) {
    case Algorithm::gemm: return 0.90;
    case Algorithm::depthwise: return 0.30;
    case Algorithm::gemv: return 0.45;
    case Algorithm::flash: return 0.55;
    case Algorithm::vector: return 0.10;
    default: return 0.01;
  }
}

// Winograd F(4x4, 3x3): 36 products per 4x4 block, transforms of its input and output channels, and transformed weights
// (36/9 of the bytes) that stream from the outer caches once per group of blocks.
double winograd_us(const NodeView& view, const Box& box, const Machine& machine) {
  double blocks = static_cast<double>(box[0].size() * ((box[1].size() + 3) / 4) * ((box[2].size() + 3) / 4));
  double ci = static_cast<double>(box[4].size()), co = static_cast<double>(box[3].size());
  double products = 2 * 36 * blocks * ci * co / (0.93 * machine.peak_gflops * 1e3);
  double transforms = blocks * (8 * ci + 6 * co) * 1e-3 * (100 / machine.peak_gflops);  // ns per channel, measured
  double group =
      std::min(std::max(0.85 * machine.l2_bytes / (36 * 4 * (ci + 32)), 16 + ci / 8), 63.0);  // as the kernel groups
  double groups = std::max(1.0, std::ceil(blocks / group));
  double weights = groups * 36 * 4 * ci * co / (machine.memory_gb_per_s * 1e3);
  return products + transforms + weights + bytes_moved(view, box) / (machine.memory_gb_per_s * 1e3);
}

}  // namespace

double box_us(const NodeView& view, const Box& box, Algorithm algorithm, const Machine& machine) {
  if (algorithm == Algorithm::winograd) return winograd_us(view, box, machine);
  double operations = view.node.op->operations(view, box);
  double bytes = bytes_moved(view, box);
  return operations / (efficiency(algorithm) * machine.peak_gflops * 1e3) + bytes / (machine.memory_gb_per_s * 1e3);
}

}  // namespace pando::tiling
