#include <algorithm>

#include "tile/internal.hpp"
#include "tile/tile_graph.hpp"

namespace pando {
namespace {

using namespace tiling;

constexpr uint32_t max_tiles = 1u << 26;

// Successor lists of tiles and events from the predecessor lists, and the number of edges each node waits for.
void build_successors(const Links& links, TileGraph& g) {
  g.events = static_cast<uint32_t>(links.event_members.size());
  uint32_t nodes = g.tiles + g.events;
  g.need.assign(nodes, 0);
  g.successor_begin.assign(nodes + 1, 0);
  auto each_edge = [&](auto&& f) {
    for (uint32_t t = 0; t < g.tiles; t++)
      for (uint32_t p : links.before[t]) f(p, t);
    for (uint32_t e = 0; e < g.events; e++)
      for (uint32_t p : links.event_members[e]) f(p, g.tiles + e);
  };
  each_edge([&](uint32_t from, uint32_t to) {
    g.successor_begin[from + 1]++;
    g.need[to]++;
  });
  for (uint32_t i = 0; i < nodes; i++) g.successor_begin[i + 1] += g.successor_begin[i];
  g.successors.resize(g.successor_begin[nodes]);
  std::vector<uint32_t> at(g.successor_begin.begin(), g.successor_begin.end() - 1);
  each_edge([&](uint32_t from, uint32_t to) { g.successors[at[from]++] = to; });
}

// Longest predicted path to the end. Tiles are numbered in a topological order; an event lies between its members and
// its successors, so it is computed when its first member (from the back) asks.
void set_priorities(TileGraph& g) {
  g.to_end_us.assign(g.tiles + g.events, -1);
  auto best_after = [&](uint32_t n, auto&& self) -> float {
    float best = 0;
    for (uint32_t i = g.successor_begin[n]; i < g.successor_begin[n + 1]; i++) {
      uint32_t s = g.successors[i];
      if (g.to_end_us[s] < 0) g.to_end_us[s] = self(s, self);  // only events: tiles after n are known
      best = std::max(best, g.to_end_us[s]);
    }
    return best;
  };
  for (uint32_t t = g.tiles; t-- > 0;)
    g.to_end_us[t] = best_after(t, best_after) + static_cast<float>(g.ops[g.tile_op[t]].tile_us);
  for (float& us : g.to_end_us) us = std::max(us, 0.0f);
}

}  // namespace

Box TileGraph::box(uint32_t t) const {
  const OpTiles& op = ops[tile_op[t]];
  if (!op.boxes.empty()) return op.boxes[t - op.first_tile];
  return grid_box(op.grid, t - op.first_tile, [&](int i, int64_t at) {
    return Interval{at * op.block[i], std::min((at + 1) * op.block[i], op.domain[i].extent)};
  });
}

TileGraph tile(Graph graph, const Machine& machine, const TileOptions& options) {
  const CompileContext own;
  const CompileContext& context = options.context ? *options.context : own;
  TileGraph out;
  out.machine = machine;
  std::vector<bool> executed;
  assign_storage(graph, out, executed, context);
  auto shared = std::make_shared<const Graph>(std::move(graph));
  out.graph = shared;
  Splitter splitter(*shared, out.storage, machine, options);
  out.ops.reserve(static_cast<size_t>(std::count(executed.begin(), executed.end(), true)));
  for (NodeId n = 0; n < shared->nodes.size(); n++) {
    context.check();
    if (!executed[n]) continue;
    OpTiles op = splitter.split(n);
    if (op.tile_count > max_tiles - out.tiles)
      fail(ErrorCode::not_supported, "node '{}' ({}): more than {} tiles in all are not supported",
           shared->nodes[n].name, shared->nodes[n].op->name, max_tiles);
    op.first_tile = out.tiles;
    out.tiles += op.tile_count;
    out.tile_op.resize(out.tiles, static_cast<uint32_t>(out.ops.size()));
    out.ops.push_back(op);
  }
  Links links;
  links.before.resize(out.tiles);
  EdgeFinder edges(*shared, executed, out, context);
  ArenaPlanner arena(*shared, out, options.reuse, context);
  for (uint32_t o = 0; o < out.ops.size(); o++) {
    context.check();
    edges.link(o, options.barrier, links);
    arena.link(o, links);
  }
  build_successors(links, out);
  set_priorities(out);
  return out;
}

}  // namespace pando
