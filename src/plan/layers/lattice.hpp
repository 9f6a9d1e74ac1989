// The downsets ("ideals") of an acyclic graph, and walks over the intervals between them.
#pragma once
#include <cstdint>
#include <vector>

#include "plan/layers/layer_graph.hpp"

namespace pando::plan {

// Ideal 0 is empty, the last one holds everything; ideals are numbered by size. Covers lead from an ideal to the ones
// with one vertex more. Bitsets live only while the lattice is built: everything later follows covers.
struct Lattice {
  std::vector<uint32_t> offset;  // covers of ideal i: [offset[i], offset[i+1])
  std::vector<int> vertex;       // per cover: the vertex that is added
  std::vector<uint32_t> ideal;   // per cover: where it leads
  bool complete = true;          // false: some ideals were left out
  uint32_t size() const { return static_cast<uint32_t>(offset.size()) - 1; }
};

constexpr size_t max_ideals = 400'000;  // that a search of loads or stages asks for
constexpr int max_vertices = 4096;      // beyond, only one order is searched

// All ideals, or, when there are more than `most` or than half of control.budget_bytes holds, as many: those along
// `order` (a topological order) are always among them, others may be dead ends. Stops early in the same way when
// control.stop is set.
Lattice build_lattice(const Adjacency& successors, const std::vector<int>& order, size_t most,
                      const SearchControl& control);
// Only the ideals along `order`.
Lattice chain_lattice(const std::vector<int>& order);

// Along one order of many vertices, cuts are tried at every stride-th place only: a walk costs a push for each vertex
// after each cut.
uint32_t walk_stride(int vertices);

// Sums a per-vertex weight over each ideal.
std::vector<double> ideal_weights(const Lattice& lattice, const std::vector<double>& weight);

// Visits the ideals that contain another one, each once. Path must have `bool push(vertex)`, which adds the vertex
// and says whether to go on from there, and `void pop()`.
class IntervalWalk {
 public:
  explicit IntervalWalk(const Lattice& lattice) : lattice_(lattice), seen_(lattice.size(), 0) {}

  // visit(ideal) for every ideal reached from `from` over vertices that the path accepts; the number of pushes.
  template <class Path, class Visit>
  int64_t run(uint32_t from, Path& path, Visit&& visit) {
    int64_t pushes = 0;
    stamp_++;
    stack_.assign(1, {from, lattice_.offset[from]});
    while (!stack_.empty()) {
      Frame& top = stack_.back();
      if (top.cover == lattice_.offset[top.ideal + 1]) {
        stack_.pop_back();
        if (!stack_.empty()) path.pop();
        continue;
      }
      uint32_t cover = top.cover++, next = lattice_.ideal[cover];
      if (seen_[next] == stamp_) continue;
      seen_[next] = stamp_;
      pushes++;
      if (!path.push(lattice_.vertex[cover])) {
        path.pop();
        continue;
      }
      visit(next);
      stack_.push_back({next, lattice_.offset[next]});
    }
    return pushes;
  }

 private:
  struct Frame {
    uint32_t ideal, cover;
  };
  const Lattice& lattice_;
  std::vector<uint32_t> seen_;
  std::vector<Frame> stack_;
  uint32_t stamp_ = 0;
};

// The vertices between two ideals of which the second contains the first and can be reached from it.
std::vector<int> vertices_between(const Lattice& lattice, uint32_t from, uint32_t to);

}  // namespace pando::plan
