// Memory in turn: buffers whose lifetimes in the serial order do not meet may share bytes. A tile that overwrites bytes
// then waits for the tiles that last read or wrote them; such an edge is left out when other edges imply it.
#include <algorithm>
#include <map>
#include <span>

#include "base/sanitizer.hpp"
#include "tile/internal.hpp"

namespace pando::tiling {
namespace {

constexpr int64_t alignment = 64;
int64_t round_up(int64_t bytes) { return (bytes + alignment - 1) / alignment * alignment; }
constexpr int64_t max_arena = int64_t{1} << 46;        // half of what a process can address
constexpr auto gap = static_cast<int64_t>(gap_bytes);  // behind each buffer
constexpr uint32_t slack_ops = 2;             // memory rests this many operators before it is used again: fewer waits
constexpr uint32_t max_exact_tiles = 16384;   // above it ancestors are not tracked
constexpr uint64_t max_looks_per_tile = 256;  // on average; then a tile waits for all that used a buffer before

}  // namespace

Interval byte_span(const TileGraph& tiles, ValueId v, const Box& box) {
  const Storage& s = tiles.storage[v];
  int64_t size = static_cast<int64_t>(size_of(tiles.graph->values[v].dtype));
  int64_t lo = s.offset, hi = s.offset;
  for (int i = 0; i < box.rank; i++) {
    if (box[i].empty()) return {0, 0};
    lo += box[i].lo * s.strides[i];
    hi += (box[i].hi - 1) * s.strides[i];
  }
  return {lo * size, (hi + 1) * size};
}

struct ArenaPlanner::State {
  struct Accessor {  // a tile reads or writes bytes [lo, hi) of a buffer
    uint32_t tile;
    int64_t lo, hi;
  };

  class Bits {
   public:
    explicit Bits(size_t n = 0) : words_((n + 63) / 64) {}
    bool test(uint32_t i) const { return words_[i / 64] >> (i % 64) & 1; }
    void set(uint32_t i) { words_[i / 64] |= uint64_t{1} << (i % 64); }
    void merge(const Bits& o) {
      for (size_t i = 0; i < words_.size(); i++) words_[i] |= o.words_[i];
    }

   private:
    std::vector<uint64_t> words_;
  };

  const Graph& graph;
  TileGraph& tiles;
  bool exact;
  struct Life {
    uint32_t first = UINT32_MAX, last = 0;
  };
  std::vector<Life> life;
  struct Segment {  // bytes [begin, end) of the arena, held by a buffer
    int64_t end;
    uint32_t buffer;
  };
  std::map<int64_t, Segment> held;
  struct Previous {  // bytes [lo, hi) of the arena belonged to `buffer` before
    uint32_t buffer;
    int64_t lo, hi;
  };
  std::vector<std::vector<Previous>> previous;  // per buffer, once it is claimed
  std::vector<bool> claimed;
  std::vector<std::vector<Accessor>> accessors;  // per buffer, spans within the buffer
  std::vector<Bits> ancestors, event_ancestors;
  // Where ancestors are not tracked:
  uint64_t looks = 0;                // at accessors, so far
  std::vector<uint32_t> done_event;  // per buffer: the event of its last use; none until a tile waits for it
  // Scratch, kept for its memory.
  Bits implied;
  std::vector<std::vector<uint32_t>> lists;
  std::vector<uint32_t> all;

  State(const Graph& g, TileGraph& t) : graph(g), tiles(t), exact(t.tiles <= max_exact_tiles) {
    life.resize(t.buffers.size());
    previous.resize(t.buffers.size());
    claimed.assign(t.buffers.size(), false);
    accessors.resize(t.buffers.size());
    if (exact) ancestors.assign(t.tiles, Bits(t.tiles));
    else done_event.assign(t.buffers.size(), none);
    for (uint32_t o = 0; o < t.ops.size(); o++) {
      const Node& node = g.nodes[t.ops[o].node];
      for (const auto* list : {&node.inputs, &node.outputs})
        for (ValueId v : *list)
          if (v != none) {
            Life& l = life[t.storage[v].buffer];
            l.first = std::min(l.first, o);
            l.last = std::max(l.last, o);
          }
    }
  }

  bool in_arena(uint32_t b) const { return tiles.buffers[b].kind == BufferKind::arena && tiles.buffers[b].bytes > 0; }

  bool meet(uint32_t a, uint32_t b) const {
    return life[a].first <= life[b].last + slack_ops && life[b].first <= life[a].last + slack_ops;
  }

  // Buffers placed so far, by offset, and by the stretches of the serial order in which they are alive: most live
  // shortly, so that few of them can be in another one's way.
  class Placed {
   public:
    Placed(const State& state, uint32_t ops) : state_(state), alive_(ops / stretch + 1) {}
    void add(uint32_t b) {
      all_.insert(std::upper_bound(all_.begin(), all_.end(), b, before()), b);
      each_stretch(b, 0, [&](std::vector<uint32_t>& list) { list.push_back(b); });
    }
    // Those that meet b in time, by offset; perhaps others as well.
    std::span<const uint32_t> near(uint32_t b) {
      size_t count = 0;
      each_stretch(b, slack_ops, [&](const std::vector<uint32_t>& list) { count += list.size(); });
      if (count > all_.size() / 16) return all_;
      near_.clear();
      each_stretch(b, slack_ops, [&](const std::vector<uint32_t>& list) {
        for (uint32_t p : list)
          if (state_.meet(p, b)) near_.push_back(p);
      });
      std::sort(near_.begin(), near_.end(), before());
      near_.erase(std::unique(near_.begin(), near_.end()), near_.end());
      return near_;
    }

   private:
    static constexpr uint32_t stretch = 64;  // operators
    struct Before {                          // a strict order
      const std::vector<Buffer>& buffers;
      bool operator()(uint32_t x, uint32_t y) const {
        return std::pair(buffers[x].offset, x) < std::pair(buffers[y].offset, y);
      }
    };
    Before before() const { return {state_.tiles.buffers}; }
    template <class F>
    void each_stretch(uint32_t b, uint32_t slack, F&& f) {
      const Life& l = state_.life[b];
      const size_t first = (l.first - std::min(l.first, slack)) / stretch;
      const size_t last = std::min<size_t>((l.last + slack) / stretch, alive_.size() - 1);
      for (size_t i = first; i <= last; i++) f(alive_[i]);
    }
    const State& state_;
    std::vector<uint32_t> all_, near_;
    std::vector<std::vector<uint32_t>> alive_;
  };

  // Largest first, each at the lowest offset that no buffer alive at the same time covers.
  void place(bool reuse, const CompileContext& context) {
    std::vector<uint32_t> order;
    for (uint32_t b = 0; b < tiles.buffers.size(); b++)
      if (in_arena(b)) order.push_back(b);
    std::stable_sort(order.begin(), order.end(),
                     [&](uint32_t a, uint32_t b) { return tiles.buffers[a].bytes > tiles.buffers[b].bytes; });
    Placed placed(*this, static_cast<uint32_t>(tiles.ops.size()));
    for (uint32_t b : order) {
      context.check();
      Buffer& buffer = tiles.buffers[b];
      int64_t offset = reuse ? 0 : tiles.arena_bytes;
      if (reuse)
        for (uint32_t p : placed.near(b)) {
          if (!meet(p, b)) continue;
          if (offset + buffer.bytes + gap <= tiles.buffers[p].offset) break;
          offset = std::max(offset, round_up(tiles.buffers[p].offset + tiles.buffers[p].bytes + gap));
        }
      offset = round_up(offset);
      if (buffer.bytes > max_arena - offset)
        fail(ErrorCode::not_supported, "'{}' and what lives at the same time would take more than {} bytes of memory",
             name_of_buffer(b), max_arena);
      buffer.offset = offset;
      if (reuse) placed.add(b);
      tiles.arena_bytes = std::max(tiles.arena_bytes, offset + buffer.bytes + gap);
    }
  }

  // Of some value that lies in it.
  std::string name_of_buffer(uint32_t b) const {
    const Node& node = graph.nodes[tiles.ops[life[b].first].node];
    return display_name(graph, node);
  }

  // Only the last holder of each byte matters: it waited for the one before.
  void claim(uint32_t b) {
    claimed[b] = true;
    int64_t lo = tiles.buffers[b].offset, hi = lo + tiles.buffers[b].bytes;
    auto it = held.upper_bound(lo);
    if (it != held.begin() && std::prev(it)->second.end > lo) --it;
    while (it != held.end() && it->first < hi) {
      auto [begin, segment] = *it;
      it = held.erase(it);
      previous[b].push_back({segment.buffer, std::max(begin, lo), std::min(segment.end, hi)});
      if (begin < lo) held[begin] = {lo, segment.buffer};
      if (segment.end > hi) held[hi] = segment;
    }
    held[lo] = {hi, b};
  }

  void merge_ancestors(uint32_t tile, uint32_t node, const Links& links) {
    if (node < tiles.tiles) {
      ancestors[tile].merge(ancestors[node]);
      ancestors[tile].set(node);
      return;
    }
    for (uint32_t e = static_cast<uint32_t>(event_ancestors.size()); e < links.event_members.size(); e++) {
      event_ancestors.emplace_back(tiles.tiles);
      for (uint32_t m : links.event_members[e]) {
        event_ancestors[e].merge(ancestors[m]);
        event_ancestors[e].set(m);
      }
    }
    ancestors[tile].merge(event_ancestors[node - tiles.tiles]);
  }

  // Tiles that touch bytes of `old` which a new tile's span [lo, hi) of the arena covers; latest first.
  void touchers(const Previous& old, int64_t lo, int64_t hi, std::vector<uint32_t>& out) const {
    int64_t base = tiles.buffers[old.buffer].offset;
    lo = std::max(lo, old.lo) - base;
    hi = std::min(hi, old.hi) - base;
    if (lo >= hi) return;
    for (const Accessor& a : accessors[old.buffer])
      if (a.lo < hi && lo < a.hi) out.push_back(a.tile);
    std::sort(out.begin(), out.end(), std::greater<>());
    out.erase(std::unique(out.begin(), out.end()), out.end());
  }

  // Drops from `list` (latest first) what `known` or a later member of the list implies.
  void reduce(std::vector<uint32_t>& list, const Bits& known) {
    std::erase_if(list, [&](uint32_t p) { return known.test(p); });
    if (list.size() < 2) return;
    implied = ancestors[list[0]];
    size_t kept = 1;
    for (size_t i = 1; i < list.size(); i++) {
      if (implied.test(list[i])) continue;
      implied.merge(ancestors[list[i]]);
      list[kept++] = list[i];
    }
    list.resize(kept);
  }

  // Whether the tiles of `op` may be compared one by one with those that used a buffer before. Tiles times tiles grow
  // with the square of a model's size where large values are copied again and again.
  bool affords_looks(const OpTiles& op, const Previous& old) {
    if (exact) return true;
    const uint64_t more = uint64_t{op.tile_count} * accessors[old.buffer].size();
    if (looks + more > max_looks_per_tile * tiles.tiles) return false;
    looks += more;
    return true;
  }

  // An event after all tiles that use the buffer, made once. Their operators come before those of the next holder of
  // its bytes, so that the list is complete.
  uint32_t event_after(uint32_t buffer, Links& links) {
    uint32_t& event = done_event[buffer];
    if (event != none) return event;
    event = tiles.tiles + static_cast<uint32_t>(links.event_members.size());
    std::vector<uint32_t> members;
    members.reserve(accessors[buffer].size());
    for (const Accessor& a : accessors[buffer]) members.push_back(a.tile);
    std::sort(members.begin(), members.end());
    members.erase(std::unique(members.begin(), members.end()), members.end());
    tiles.reuse_edges += static_cast<uint32_t>(members.size());
    links.event_members.push_back(std::move(members));
    return event;
  }

  void wait_for_whole(const Previous& old, uint32_t b, const OpTiles& op, const std::vector<Interval>& spans,
                      Links& links) {
    if (accessors[old.buffer].empty()) return;
    const int64_t base = tiles.buffers[b].offset;
    for (uint32_t t = 0; t < op.tile_count; t++) {
      if (spans[t].empty() || base + spans[t].lo >= old.hi || old.lo >= base + spans[t].hi) continue;
      std::vector<uint32_t>& before = links.before[op.first_tile + t];
      const uint32_t event = event_after(old.buffer, links);
      if (std::find(before.begin(), before.end(), event) != before.end()) continue;
      before.push_back(event);
      tiles.reuse_edges++;
    }
  }

  // The tiles of `op` wait for those that used the bytes before; spans: what each tile writes of buffer b.
  void wait_for(const Previous& old, uint32_t b, const OpTiles& op, const std::vector<Interval>& spans, Links& links) {
    if (!affords_looks(op, old)) return wait_for_whole(old, b, op, spans, links);
    if (lists.size() < op.tile_count) lists.resize(op.tile_count);
    all.clear();
    uint64_t direct = 0, waiting = 0;
    int64_t base = tiles.buffers[b].offset;
    for (uint32_t t = 0; t < op.tile_count; t++) {
      lists[t].clear();
      touchers(old, base + spans[t].lo, base + spans[t].hi, lists[t]);
      if (exact) reduce(lists[t], ancestors[op.first_tile + t]);
      direct += lists[t].size();
      waiting += !lists[t].empty();
      all.insert(all.end(), lists[t].begin(), lists[t].end());
    }
    if (direct == 0) return;
    std::sort(all.begin(), all.end(), std::greater<>());
    all.erase(std::unique(all.begin(), all.end()), all.end());
    if (exact) reduce(all, Bits(tiles.tiles));
    uint32_t event = 0;
    bool joined = direct > all.size() + waiting;
    if (joined) {
      event = tiles.tiles + static_cast<uint32_t>(links.event_members.size());
      links.event_members.push_back(all);
      tiles.reuse_edges += static_cast<uint32_t>(all.size());
    }
    for (uint32_t t = 0; t < op.tile_count; t++) {
      if (lists[t].empty()) continue;
      if (joined) lists[t].assign(1, event);
      tiles.reuse_edges += static_cast<uint32_t>(lists[t].size());
      std::vector<uint32_t>& before = links.before[op.first_tile + t];
      before.insert(before.end(), lists[t].begin(), lists[t].end());
      if (exact)
        for (uint32_t p : lists[t]) merge_ancestors(op.first_tile + t, p, links);
    }
  }

  // The same for all holders of the bytes before; they lie in order and do not overlap.
  void wait_for_all(uint32_t b, const OpTiles& op, const std::vector<Interval>& spans, Links& links) {
    Interval all_of_op{INT64_MAX, 0};
    for (const Interval& s : spans)
      if (!s.empty()) all_of_op = {std::min(all_of_op.lo, s.lo), std::max(all_of_op.hi, s.hi)};
    if (all_of_op.empty()) return;
    const int64_t base = tiles.buffers[b].offset;
    const std::vector<Previous>& holders = previous[b];
    auto old = std::partition_point(holders.begin(), holders.end(),
                                    [&](const Previous& p) { return p.hi <= base + all_of_op.lo; });
    for (; old != holders.end() && old->lo < base + all_of_op.hi; ++old) wait_for(*old, b, op, spans, links);
  }

  // Per tile of `op`: the bytes of v's buffer that it reads or writes.
  std::vector<Interval> spans_of(const OpTiles& op, ValueId v, const Access& rule) const {
    std::vector<Interval> spans;
    spans.reserve(op.tile_count);
    for (uint32_t t = 0; t < op.tile_count; t++)
      spans.push_back(byte_span(tiles, v, apply(rule, tiles.box(op.first_tile + t), graph.shape(v))));
    return spans;
  }

  void record(const OpTiles& op, uint32_t b, const std::vector<Interval>& spans) {
    for (uint32_t t = 0; t < op.tile_count; t++)
      if (!spans[t].empty()) accessors[b].push_back({op.first_tile + t, spans[t].lo, spans[t].hi});
  }

  void link(uint32_t index, Links& links) {
    const OpTiles& op = tiles.ops[index];
    NodeView view{graph, graph.nodes[op.node]};
    if (exact)
      for (uint32_t t = op.first_tile; t < op.first_tile + op.tile_count; t++)
        for (uint32_t p : links.before[t]) merge_ancestors(t, p, links);
    std::vector<std::vector<Interval>> written(view.node.outputs.size());
    for (int i = 0; i < view.outputs(); i++) {
      ValueId v = view.node.outputs[i];
      uint32_t b = tiles.storage[v].buffer;
      if (!in_arena(b)) continue;
      if (!claimed[b]) claim(b);
      written[i] = spans_of(op, v, view.node.op->writes(view, i));
      wait_for_all(b, op, written[i], links);
    }
    for (int i = 0; i < view.inputs(); i++)
      if (view.has(i) && in_arena(tiles.storage[view.node.inputs[i]].buffer))
        record(op, tiles.storage[view.node.inputs[i]].buffer,
               spans_of(op, view.node.inputs[i], view.node.op->reads(view, i)));
    for (int i = 0; i < view.outputs(); i++)
      if (!written[i].empty()) record(op, tiles.storage[view.node.outputs[i]].buffer, written[i]);
  }
};

ArenaPlanner::ArenaPlanner(const Graph& graph, TileGraph& tiles, bool reuse, const CompileContext& context)
    : state_(std::make_unique<State>(graph, tiles)) {
  state_->place(reuse, context);
}
ArenaPlanner::~ArenaPlanner() = default;
void ArenaPlanner::link(uint32_t op, Links& links) { state_->link(op, links); }

}  // namespace pando::tiling
