// A tile graph on any number of cores, in virtual time: the workers make the decisions of schedule/, as those of the
// runtime do; the times of tiles are given.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "schedule/schedule.hpp"

namespace pando::plan {

// Nodes 0..tiles-1 are tiles, then events: counters without work. Edges are CSR over both. Views.
struct TimedTiles {
  uint32_t tiles = 0;
  std::span<const uint32_t> successor_begin, successors;
  std::span<const uint32_t> need;  // predecessors per node
  const float* priority = nullptr;
  std::span<const int64_t> ns;  // per tile
};

struct CoreOptions {
  Policy policy = Policy::depth_first;
  uint32_t workers = 1;  // a core each
  int64_t tile_overhead_ns = 0;
  int64_t steal_ns = 500;      // to find and fetch another worker's tile, or to begin a run beside its caller
  std::vector<double> speeds;  // of the cores against the one that times are from, repeated; empty: all as fast
  double speed(uint32_t core) const { return speeds.empty() ? 1 : speeds[core % speeds.size()]; }
};

struct TileTimeline {
  int64_t makespan_ns = 0;
  uint64_t steals = 0;
  std::vector<uint32_t> order;   // tiles as they began
  std::vector<uint32_t> worker;  // per tile
  std::vector<int64_t> start_ns, end_ns;
  double idle_share(uint32_t workers) const;  // of all cores' time until the end
};

// However many cores there are, memory and caches are not shared. Throws invalid_argument for a graph that has a cycle
// or no workers.
TileTimeline simulate_tiles(const TimedTiles& graph, const CoreOptions& options);

// What engines take that cut every operator into equal shares, one per core, and wait for all of them before the next
// one: each core has as many of an operator's tiles as any other. `op`: per tile; those of an operator are neighbours.
// Waiting costs nothing.
int64_t equal_shares_ns(const TimedTiles& graph, std::span<const uint32_t> op, const CoreOptions& options);

}  // namespace pando::plan
