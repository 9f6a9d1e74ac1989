// Small random problems, seeded.
#pragma once
#include <random>

#include "base/error.hpp"
#include "plan/layers/placement.hpp"

namespace pando::plan::testing {

// The best value over all placements: `score` judges each.
template <class Score>
double best_of_all(const PlacementProblem& p, const Score& score) {
  Placement plan;
  plan.device.assign(p.graph.nodes.size(), 0);
  double best = infinity;
  for (;;) {
    PlacementScore s = score(plan);
    if (s.violation.empty()) best = std::min(best, s.value);
    size_t v = 0;
    while (v < plan.device.size() && ++plan.device[v] == p.accelerators + p.cpus) plan.device[v++] = 0;
    if (v == plan.device.size()) return best;
  }
}
inline double least_load(const PlacementProblem& p, bool contiguous) {
  return best_of_all(p, [&](const Placement& plan) { return evaluate_max_load(p, plan, contiguous); });
}
inline double least_latency(const PlacementProblem& p) {
  return best_of_all(p, [&](const Placement& plan) { return evaluate_latency(p, plan); });
}

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
