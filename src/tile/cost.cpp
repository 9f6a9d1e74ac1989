// The cost model of tile(): time of a box = arithmetic at the algorithm's efficiency + bytes through the caches.
#include <algorithm>

#include "graph/ops/ops.hpp"
#include "tile/internal.hpp"

namespace pando::tiling {
namespace {

// Fraction of the fma peak that an algorithm's arithmetic reaches, in operations of the direct method.
double efficiency(Algorithm a) {
  switch (a) {
    case Algorithm::gemm: return 0.90;
    case Algorithm::winograd: return 2.4;  // of the direct method's operations
    case Algorithm::depthwise: return 0.30;
    case Algorithm::gemv: return 0.45;
    case Algorithm::flash: return 0.55;
    case Algorithm::vector: return 0.10;
    default: return 0.01;
  }
}

}  // namespace

double box_us(const NodeView& view, const Box& box, Algorithm algorithm, const Machine& machine) {
  double operations = view.node.op->operations(view, box);
  double bytes = bytes_moved(view, box);
  if (algorithm == Algorithm::winograd) {  // transformed weights take 36/9 of the bytes
    Box weights = apply(view.node.op->reads(view, 1), box, view.in_shape(1));
    bytes += 3.0 * 4.0 * static_cast<double>(weights.count());
  }
  return operations / (efficiency(algorithm) * machine.peak_gflops * 1e3) + bytes / (machine.memory_gb_per_s * 1e3);
}

}  // namespace pando::tiling
