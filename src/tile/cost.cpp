// The cost model of tile(): time of a box = arithmetic at the algorithm's efficiency + bytes through the caches.
#include <algorithm>
#include <cmath>

#include "base/blocks.hpp"
#include "tile/internal.hpp"

namespace pando::tiling {
namespace {

constexpr double window_gb_per_s = 10;  // at which overlapping windows read their input again
constexpr double copy_gb_per_s = 20;    // at which a tile copies its input, rounded or widened

constexpr double weight_rows = 12;  // bringing weights to L1 costs as much as this many rows of products

// Bytes a box touches, apart: constants come from the outer caches or memory, once per tile; activations were just
// written by a producer's tile, and are still in this core's L2 when they and the result fit into it.
struct Traffic {
  double weights = 0, activations = 0;
};

Traffic traffic(const NodeView& view, const Box& box) {
  Traffic t;
  auto bytes = [&](const Access& rule, const Value& v) {
    return static_cast<double>(apply(rule, box, v.shape).count()) * static_cast<double>(size_of(v.dtype));
  };
  for (int i = 0; i < view.inputs(); i++)
    if (view.has(i))
      (view.in(i).constant ? t.weights : t.activations) += bytes(view.node.op->reads(view, i), view.in(i));
  for (int i = 0; i < view.outputs(); i++) t.activations += bytes(view.node.op->writes(view, i), view.out(i));
  return t;
}

double transfer_us(const Traffic& t, const Machine& machine) {
  bool near = t.activations < 0.6 * machine.l2_bytes;
  return (t.weights + t.activations * (near ? 0.4 : 1.0)) / (machine.memory_gb_per_s * 1e3);
}

}  // namespace

// Winograd F(4x4, 3x3): 36 products per 4x4 block, transforms of its input and output channels, and transformed weights
// (36/9 of the bytes) that stream from the outer caches once per group of blocks.
double winograd_us(const NodeView& view, const Box& box, const AlgorithmRow& row, const Machine& machine) {
  const auto blocks_along = [](Interval i) { return (i.size() + winograd_rows - 1) / winograd_rows; };
  double blocks = static_cast<double>(box[0].size() * blocks_along(box[1]) * blocks_along(box[2]));
  double ci = static_cast<double>(box[4].size()), co = static_cast<double>(box[3].size());
  double products = 2 * 36 * blocks * ci * co / (row.efficiency * machine.peak_gflops * 1e3);
  double transforms = blocks * (8 * ci + 6 * co) * 1e-3 * (100 / machine.peak_gflops);  // ns per channel, measured
  double group =
      std::min(std::max(0.85 * machine.l2_bytes / (36 * 4 * (ci + 32)), 16 + ci / 8), 63.0);  // as the kernel
  Traffic t = traffic(view, box);
  t.weights *= 4 * std::max(1.0, std::ceil(blocks / group));
  return products + transforms + transfer_us(t, machine);
}

double box_us(const NodeView& view, const Box& box, const AlgorithmRow& row, const Machine& machine) {
  if (row.us) return row.us(view, box, row, machine);
  double us = view.node.op->operations(view, box) / (row.efficiency * machine.peak_gflops * 1e3);
  if (row.product_rows) us *= 1 + weight_rows / static_cast<double>(std::max<int64_t>(row.product_rows(view, box), 1));
  us += transfer_us(traffic(view, box), machine);
  // Every cut of the channels reads the windows' input again, from L2 or L3. (What convolution really takes is up to a
  // third less than all this. Closer formulas were tried: they chose smaller tiles, 2 to 3 % slower on one thread.)
  using Reads = AlgorithmRow::Reads;
  const auto windows = [&] { return view.in_shape(1).size() > 2 && view.in_shape(1).back() > 1; };
  if (row.reads == Reads::copies || (row.reads == Reads::windows && windows())) {
    Box x = apply(view.node.op->reads(view, 0), box, view.in_shape(0));
    us += static_cast<double>(x.count()) * 4 / ((windows() ? window_gb_per_s : copy_gb_per_s) * 1e3);
  }
  return us;
}

}  // namespace pando::tiling
