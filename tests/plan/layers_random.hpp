// Small random problems, seeded.
#pragma once
#include <random>

#include "base/error.hpp"
#include "plan/layers/placement.hpp"

namespace pando::plan::testing {

// Edges run from lower to higher index; costs are whole so that sums are exact.
inline PlacementProblem random_placement(uint32_t seed, int nodes, int accelerators, int cpus) {
  std::mt19937 random(seed);
  auto upto = [&](int n) { return static_cast<int>(random() % static_cast<uint32_t>(n)); };
  PlacementProblem p;
  p.accelerators = accelerators;
  p.cpus = cpus;
  double bytes = 0;
  int backward_from = upto(2) == 0 ? nodes : nodes / 2 + upto(2);
  for (int v = 0; v < nodes; v++) {
    LayerNode n;
    n.id = 10 + v;
    n.accelerator_time = upto(3) == 0 ? 0 : 1 + upto(9);
    n.cpu_time = n.accelerator_time == 0 && upto(2) == 0 ? 0 : n.accelerator_time * 2 + upto(5);
    n.bytes = upto(3) == 0 ? 0 : upto(8);
    n.on_accelerator = cpus == 0 || upto(8) != 0;
    n.backward = v >= backward_from;
    // Backward nodes mirror forward ones; some nodes have no colour.
    if (n.backward && upto(4) != 0) n.colour = std::max(0, 2 * backward_from - 1 - v);
    else if (!n.backward && upto(6) != 0) n.colour = v - (v > 0 && upto(5) == 0);
    bytes += n.bytes;
    p.graph.nodes.push_back(n);
  }
  p.memory = upto(2) == 0 ? bytes : bytes * 0.6;
  for (int u = 0; u < nodes; u++) {
    double cost = upto(4);
    for (int v = u + 1; v < nodes; v++)
      if (upto(nodes) < 2) p.graph.edges.push_back({u, v, cost});
  }
  return p;
}

}  // namespace pando::plan::testing
