// Data edges: which tiles wrote what a tile reads, by intersecting boxes with the producers' regular grids. Where p
// producers feed c consumers and p * c > p + c, an event stands between them.
#include <algorithm>
#include <unordered_map>

#include "graph/ops/ops.hpp"
#include "tile/internal.hpp"

namespace pando::tiling {

uint64_t EdgeFinder::Range::count() const {
  uint64_t n = 1;
  for (int i = 0; i < max_rank; i++) n *= hi[i] - lo[i];
  return n;
}

size_t EdgeFinder::Hash::operator()(const Range& r) const {
  uint64_t h = r.op * 0x9e3779b97f4a7c15ull;
  for (int i = 0; i < max_rank; i++)
    h = (h ^ (uint64_t{r.lo[i]} << 32 | r.hi[i])) * 0xff51afd7ed558ccdull, h ^= h >> 29;
  return h;
}

struct EdgeFinder::EventTable {
  std::unordered_map<Range, uint32_t, Hash> events;
};

EdgeFinder::EdgeFinder(const Graph& graph, const std::vector<bool>& executed, const TileGraph& tiles)
    : graph_(graph),
      tiles_(tiles),
      executed_(executed),
      producer_(graph.values.size(), none),
      op_of_node_(graph.nodes.size(), none),
      events_(std::make_shared<EventTable>()) {
  uint32_t op = 0;
  for (NodeId n = 0; n < graph.nodes.size(); n++) {
    for (ValueId v : graph.nodes[n].outputs) producer_[v] = n;
    if (executed[n]) op_of_node_[n] = op++;
  }
}

std::vector<Origin> EdgeFinder::origins(ValueId v) const {
  std::vector<Origin> out;
  find_origins(graph_, producer_, executed_, v, out);
  return out;
}

void EdgeFinder::producers(const Origin& origin, const Box& box, std::vector<Range>& out) const {
  Box written = origin.pull(box);
  if (written.empty()) return;
  const OpTiles& op = tiles_.ops[op_of_node_[origin.node]];
  Box from = writers(origin.writes, written, op.domain);
  Range r{op_of_node_[origin.node], {}, {}};
  for (int i = 0; i < max_rank; i++) {
    r.lo[i] = i < op.domain.rank ? static_cast<uint32_t>(from[i].lo / op.block[i]) : 0;
    r.hi[i] = i < op.domain.rank && !from[i].empty() ? static_cast<uint32_t>((from[i].hi - 1) / op.block[i] + 1) : 1;
  }
  out.push_back(r);
}

void EdgeFinder::members(const Range& range, std::vector<uint32_t>& out) const {
  const OpTiles& op = tiles_.ops[range.op];
  for_each_cell(op.grid, range.lo, range.hi, [&](uint32_t index) { out.push_back(op.first_tile + index); });
}

void EdgeFinder::link(uint32_t op_index, bool barrier, Links& links) {
  const OpTiles& op = tiles_.ops[op_index];
  NodeView view{graph_, graph_.nodes[op.node]};
  std::vector<std::vector<Range>> reads(op.tile_count);
  std::unordered_map<Range, uint32_t, Hash> consumers;  // how many of this operator's tiles wait for a range
  struct Operand {
    ValueId value;
    Access rule;
    std::vector<Origin> origins;
  };
  std::vector<Operand> operands;  // those that tiles make
  for (int i = 0; i < view.inputs(); i++)
    if (view.has(i) && producer_[view.node.inputs[i]] != none)
      operands.push_back({view.node.inputs[i], view.node.op->reads(view, i), origins(view.node.inputs[i])});
  for (uint32_t t = 0; t < op.tile_count; t++) {
    Box box = tiles_.box(op.first_tile + t);
    for (const Operand& o : operands) {
      Box read = apply(o.rule, box, graph_.shape(o.value));
      for (const Origin& origin : o.origins) producers(origin, read, reads[t]);
    }
    if (barrier)
      for (Range& r : reads[t])
        for (int i = 0; i < tiles_.ops[r.op].domain.rank; i++)
          r.lo[i] = 0, r.hi[i] = static_cast<uint32_t>(tiles_.ops[r.op].grid[i]);
    auto& list = reads[t];
    for (size_t i = 0; i < list.size(); i++)  // the same value read twice
      for (size_t j = i + 1; j < list.size();)
        if (list[i] == list[j]) list.erase(list.begin() + static_cast<std::ptrdiff_t>(j));
        else j++;
    for (const Range& r : list) consumers[r]++;
  }
  for (uint32_t t = 0; t < op.tile_count; t++) {
    std::vector<uint32_t>& before = links.before[op.first_tile + t];
    for (const Range& r : reads[t]) {
      uint64_t p = r.count(), c = consumers[r];
      auto known = events_->events.find(r);
      if (p > 1 && (known != events_->events.end() || (barrier ? c > 1 : p * c > p + c))) {
        if (known == events_->events.end()) {
          known = events_->events.emplace(r, static_cast<uint32_t>(links.event_members.size())).first;
          links.event_members.emplace_back();
          members(r, links.event_members.back());
        }
        before.push_back(tiles_.tiles + known->second);
      } else {
        members(r, before);
      }
    }
    std::sort(before.begin(), before.end());
    before.erase(std::unique(before.begin(), before.end()), before.end());
  }
}

}  // namespace pando::tiling
