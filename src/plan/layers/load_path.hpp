// What a device pays for a set of groups, kept up to date while the set grows along a walk.
#pragma once
#include <limits>
#include <vector>

#include "plan/layers/placement.hpp"

namespace pando::plan {

// The load of a growing set of groups, kept up to date in the time of the added group's nets.
struct LoadPath {
  const PlacementGroups& g;
  double memory,
      limit = std::numeric_limits<double>::infinity();  // sets whose load cannot fall below the limit are refused
  bool cpu_left = true;
  struct Sums {
    double accelerator = 0, cpu = 0, bytes = 0, moves = 0;
    int unsupported = 0;
  } now;
  std::vector<Sums> before;
  std::vector<int> inside, path;  // groups of each net that are in the set

  LoadPath(const PlacementGroups& groups, double memory_limit)
      : g(groups), memory(memory_limit), inside(groups.net_cost.size(), 0) {}

  bool accelerator_fits() const { return now.unsupported == 0 && now.bytes <= memory; }
  double load() const { return now.accelerator + now.moves; }

  bool push(int v) {
    before.push_back(now);
    path.push_back(v);
    const PlacementGroups::Group& x = g.groups[v];
    now.accelerator += x.accelerator_time;
    now.cpu += x.cpu_time;
    now.bytes += x.bytes;
    now.unsupported += !x.on_accelerator;
    for (int net : g.group_nets[v]) {
      int count = ++inside[net];
      if (count == 1) now.moves += g.net_cost[net];
      else if (count == g.net_groups.size(net)) now.moves -= g.net_cost[net];
    }
    return (accelerator_fits() && now.accelerator < limit) || (cpu_left && now.cpu < limit);
  }
  void pop() {
    for (int net : g.group_nets[path.back()]) inside[net]--;
    path.pop_back();
    now = before.back();
    before.pop_back();
  }
};

}  // namespace pando::plan
