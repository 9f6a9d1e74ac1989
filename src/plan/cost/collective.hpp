// Sums over devices: who talks over which links, and for how long.
#pragma once
#include <vector>

#include "plan/cluster/cluster.hpp"
#include "plan/plan.hpp"

namespace pando::plan {

// An all-reduce among fixed devices: `fixed_ns` + bytes * `ns_per_byte`, during which it holds all its links.
struct CollectiveCost {
  int64_t fixed_ns = 0;
  double ns_per_byte = 0;
  std::vector<uint32_t> links;  // distinct, sorted
  uint32_t members = 0;
  int64_t ns(int64_t bytes) const;
};

// Ring: reduce-scatter and all-gather around the devices in order, 2 (k-1) steps of bytes/k (Patarasuk & Yuan, JPDC
// 2009). Hierarchical: reduce-scatter in each node, a ring between nodes for each share, all-gather in each node; it
// needs nodes with equally many of the devices, else it is the ring. Automatic: by time for `bytes`.
CollectiveCost collective_cost(const Cluster& cluster, const std::vector<uint32_t>& devices, Collective kind,
                               int64_t bytes);

}  // namespace pando::plan
