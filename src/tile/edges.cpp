// Data edges: which tiles wrote what a tile reads, by intersecting boxes with the producers' regular grids. Where p
// producers feed c consumers and p * c > p + c, an event stands between them.
#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "graph/ops/ops.hpp"
#include "tile/internal.hpp"

namespace pando::tiling {
namespace {

constexpr uint64_t max_edges = uint64_t{1} << 26;  // some GB of lists, and more than any real model has by far

}  // namespace

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

EdgeFinder::EdgeFinder(const Graph& graph, const std::vector<bool>& executed, const TileGraph& tiles,
                       const CompileContext& context)
    : graph_(graph),
      tiles_(tiles),
      context_(context),
      producer_(graph.values.size(), none),
      op_of_node_(graph.nodes.size(), none),
      walk_(graph, producer_, executed),
      events_(std::make_shared<EventTable>()) {
  uint32_t op = 0;
  for (NodeId n = 0; n < graph.nodes.size(); n++) {
    for (ValueId v : graph.nodes[n].outputs) producer_[v] = n;
    if (executed[n]) op_of_node_[n] = op++;
  }
}

void EdgeFinder::producers(ValueId v, const Box& box, std::vector<Range>& out) {
  walk_.for_each_origin(v, box, [&](NodeId n, int output, const Box& written) {
    const OpTiles& op = tiles_.ops[op_of_node_[n]];
    const NodeView view{graph_, graph_.nodes[n]};
    Box from = writers(view.node.op->writes(view, output), written, op.domain);
    Range r{op_of_node_[n], {}, {}};
    for (int i = 0; i < max_rank; i++) {
      r.lo[i] = i < op.domain.rank ? static_cast<uint32_t>(from[i].lo / op.block[i]) : 0;
      r.hi[i] = i < op.domain.rank && !from[i].empty() ? static_cast<uint32_t>((from[i].hi - 1) / op.block[i] + 1) : 1;
    }
    out.push_back(r);
  });
}

void EdgeFinder::members(const Range& range, std::vector<uint32_t>& out) const {
  const OpTiles& op = tiles_.ops[range.op];
  for_each_cell(op.grid, range.lo, range.hi, [&](uint32_t index) { out.push_back(op.first_tile + index); });
}

// Keeps the first of equal ones: the same value read twice.
void EdgeFinder::remove_repeated(std::vector<Range>& list) {
  constexpr size_t few = 16;
  if (list.size() > few) {
    std::unordered_set<Range, Hash> seen;
    std::erase_if(list, [&](const Range& r) { return !seen.insert(r).second; });
    return;
  }
  auto end = list.begin();
  for (const Range& r : list)
    if (std::find(list.begin(), end, r) == end) *end++ = r;
  list.erase(end, list.end());
}

void EdgeFinder::link(uint32_t op_index, bool barrier, Links& links) {
  const OpTiles& op = tiles_.ops[op_index];
  NodeView view{graph_, graph_.nodes[op.node]};
  std::vector<std::vector<Range>> reads(op.tile_count);
  const auto count_edges = [&](uint64_t n) {
    edges_ += n;
    if (edges_ > max_edges)
      fail(ErrorCode::not_supported, "node '{}': more than {} dependencies between tiles are not supported",
           view.node.name, max_edges);
  };
  std::unordered_map<Range, uint32_t, Hash> consumers;  // how many of this operator's tiles wait for a range
  struct Operand {
    ValueId value;
    Access rule;
  };
  std::vector<Operand> operands;  // those that tiles make
  for (int i = 0; i < view.inputs(); i++)
    if (view.has(i) && producer_[view.node.inputs[i]] != none)
      operands.push_back({view.node.inputs[i], view.node.op->reads(view, i)});
  for (uint32_t t = 0; t < op.tile_count; t++) {
    context_.check();
    Box box = tiles_.box(op.first_tile + t);
    for (const Operand& o : operands) producers(o.value, apply(o.rule, box, graph_.shape(o.value)), reads[t]);
    if (barrier)
      for (Range& r : reads[t])
        for (int i = 0; i < tiles_.ops[r.op].domain.rank; i++)
          r.lo[i] = 0, r.hi[i] = static_cast<uint32_t>(tiles_.ops[r.op].grid[i]);
    remove_repeated(reads[t]);
    for (const Range& r : reads[t]) consumers[r]++;
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
          count_edges(p);
          members(r, links.event_members.back());
        }
        count_edges(1);
        before.push_back(tiles_.tiles + known->second);
      } else {
        count_edges(p);
        members(r, before);
      }
    }
    std::sort(before.begin(), before.end());
    before.erase(std::unique(before.begin(), before.end()), before.end());
  }
}

}  // namespace pando::tiling
