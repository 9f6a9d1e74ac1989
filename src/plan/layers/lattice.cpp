#include "plan/layers/lattice.hpp"

#include <algorithm>
#include <bit>
#include <numeric>

#include "plan/layers/stopwatch.hpp"

namespace pando::plan {
namespace {

constexpr size_t covers_per_ideal = 16;  // what the number of ideals is limited for

// The ideals of one size: a set of bitsets of equal length, and beside each the vertices that may be added next.
class Level {
 public:
  Level(size_t words, uint32_t first) : words_(words), first_(first), table_(64, 0) {}
  uint32_t first() const { return first_; }
  size_t size() const { return size_; }
  const uint64_t* members(size_t i) const { return bits_.data() + 2 * words_ * i; }
  const uint64_t* next(size_t i) const { return members(i) + words_; }

  // The number of the set within this level, or -1 when it is new and `may_grow` is false.
  int64_t add(const std::vector<uint64_t>& set, const std::vector<uint64_t>& next, bool may_grow) {
    if (2 * (size_ + 1) > table_.size()) grow();
    size_t slot = hash(set.data()) & (table_.size() - 1);
    for (; table_[slot] != 0; slot = (slot + 1) & (table_.size() - 1))
      if (std::equal(set.begin(), set.end(), members(table_[slot] - 1))) return table_[slot] - 1;
    if (!may_grow) return -1;
    bits_.insert(bits_.end(), set.begin(), set.end());
    bits_.insert(bits_.end(), next.begin(), next.end());
    table_[slot] = static_cast<uint32_t>(++size_);
    return static_cast<int64_t>(size_) - 1;
  }

 private:
  uint64_t hash(const uint64_t* set) const {
    uint64_t h = 0x9e3779b97f4a7c15;
    for (size_t i = 0; i < words_; i++) {
      h = (h ^ set[i]) * 0xd6e8feb86659fd93;
      h ^= h >> 32;
    }
    return h;
  }
  void grow() {
    std::vector<uint32_t> old(table_.size() * 2, 0);
    table_.swap(old);
    for (size_t i = 0; i < size_; i++) {
      size_t slot = hash(members(i)) & (table_.size() - 1);
      while (table_[slot] != 0) slot = (slot + 1) & (table_.size() - 1);
      table_[slot] = static_cast<uint32_t>(i + 1);
    }
  }
  size_t words_, size_ = 0;
  uint32_t first_;
  std::vector<uint64_t> bits_;   // per set: its members, then what may be added
  std::vector<uint32_t> table_;  // open addressing; 0: free, else number + 1
};

struct Builder {
  const Adjacency& successors;
  Adjacency predecessors;
  size_t words;
  std::vector<uint64_t> set, next;
  Lattice out;

  bool has(const std::vector<uint64_t>& bits, int v) const { return bits[v / 64] >> (v % 64) & 1; }

  // Adds every cover of set i of `from` that may be added to `to`; `chain`: the vertex of the order, always added.
  void expand(const Level& from, size_t i, Level& to, int chain, size_t width) {
    auto cover = [&](int v, bool must) {
      set.assign(from.members(i), from.members(i) + words);
      next.assign(from.next(i), from.next(i) + words);
      set[v / 64] |= uint64_t{1} << (v % 64);
      next[v / 64] &= ~(uint64_t{1} << (v % 64));
      for (int w : successors[v])
        if (std::all_of(predecessors.begin(w), predecessors.end(w), [&](int u) { return has(set, u); }))
          next[w / 64] |= uint64_t{1} << (w % 64);
      int64_t at = to.add(set, next, must || to.size() < width);
      if (at < 0) {
        out.complete = false;
        return;
      }
      out.vertex.push_back(v);
      out.ideal.push_back(to.first() + static_cast<uint32_t>(at));
    };
    if (chain >= 0) cover(chain, true);
    for (size_t word = 0; word < words; word++)
      for (uint64_t rest = from.next(i)[word]; rest != 0; rest &= rest - 1) {
        int v = static_cast<int>(64 * word) + std::countr_zero(rest);
        if (v != chain) cover(v, false);
      }
    out.offset.push_back(static_cast<uint32_t>(out.vertex.size()));
  }
};

Lattice build_narrow(const Adjacency& successors, const std::vector<int>& order, size_t width, size_t most,
                     const SearchControl& control) {
  size_t words = (order.size() + 63) / 64;
  Stopwatch clock(control);
  Builder b{successors, reversed(successors), words, {}, {}, {}};
  Level level(words, 0);
  b.set.assign(words, 0);
  b.next.assign(words, 0);
  for (int v : order)
    if (b.predecessors.size(v) == 0) b.next[v / 64] |= uint64_t{1} << (v % 64);
  level.add(b.set, b.next, true);
  b.out.offset.push_back(0);
  for (int chain : order) {
    Level above(words, level.first() + static_cast<uint32_t>(level.size()));
    if (control.stop.stop_requested() || clock.seconds() > control.budget_seconds / 4) width = 1;
    if (above.first() > most || b.out.vertex.size() > covers_per_ideal * most) b.out.complete = false;
    if (!b.out.complete && width == most) return std::move(b.out);  // the caller starts again with a narrower one
    for (size_t i = 0; i < level.size(); i++) b.expand(level, i, above, i == 0 ? chain : -1, width);
    level = std::move(above);
  }
  b.out.offset.push_back(b.out.offset.back());
  return std::move(b.out);
}

}  // namespace

Lattice build_lattice(const Adjacency& successors, const std::vector<int>& order, size_t most,
                      const SearchControl& control) {
  const size_t words = (order.size() + 63) / 64;
  most = std::min(most, control.budget_bytes / 2 / (16 * words + 128));
  Lattice all = build_narrow(successors, order, most, most, control);
  if (all.complete) return all;
  size_t dense = std::max(covers_per_ideal, all.vertex.size() / all.offset.size());
  size_t width = covers_per_ideal * most / dense / (order.size() + 2);
  return build_narrow(successors, order, std::max<size_t>(1, width), SIZE_MAX / covers_per_ideal, control);
}

Lattice chain_lattice(const std::vector<int>& order) {
  Lattice out;
  out.vertex = order;
  out.ideal.resize(order.size());
  std::iota(out.ideal.begin(), out.ideal.end(), 1);
  out.offset.resize(order.size() + 2);
  std::iota(out.offset.begin(), out.offset.end(), 0);
  out.offset.back()--;
  out.complete = false;
  return out;
}

uint32_t walk_stride(int vertices) {
  constexpr double max_pushes = 5e7;
  return static_cast<uint32_t>(1 + static_cast<double>(vertices) * vertices / max_pushes);
}

std::vector<double> ideal_weights(const Lattice& lattice, const std::vector<double>& weight) {
  std::vector<double> out(lattice.size(), 0);
  for (uint32_t i = 0; i < lattice.size(); i++)
    for (uint32_t c = lattice.offset[i]; c < lattice.offset[i + 1]; c++)
      out[lattice.ideal[c]] = out[i] + weight[lattice.vertex[c]];
  return out;
}

std::vector<int> vertices_between(const Lattice& lattice, uint32_t from, uint32_t to) {
  struct Path {
    std::vector<int> vertices;
    bool push(int v) {
      vertices.push_back(v);
      return true;
    }
    void pop() { vertices.pop_back(); }
  } path;
  std::vector<int> out;
  IntervalWalk walk(lattice);
  walk.run(from, path, [&](uint32_t ideal) {
    if (ideal == to) out = path.vertices;
  });
  return out;
}

}  // namespace pando::plan
