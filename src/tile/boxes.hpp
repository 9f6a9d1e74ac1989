// Cutting and linking by interval arithmetic, shared by all that split operators: tiles on the cores of one machine,
// parts on the devices of a cluster.
#pragma once
#include <algorithm>
#include <unordered_map>
#include <vector>

#include "graph/graph.hpp"

namespace pando {

// An operator whose boxes lie behind a value, with the views between them: a box of the value is pulled back through
// the views' own rules.
struct Origin {
  NodeId node = none;
  int output = 0;  // of the node
  Access writes;   // of that output
  struct Step {
    Access reads;
    Shape shape;  // of what the view reads
  };
  std::vector<Step> views;  // from the value backwards

  // The box of the origin's output behind `box` of the value; empty when the view shows none of it there.
  Box pull(Box box) const {
    for (const Step& s : views) {
      if (box.empty()) break;
      box = apply(s.reads, box, s.shape);
    }
    return box;
  }
};

// All operators that make a part of `v`. `producer`: node per value, none for inputs and constants; `executed`: false
// for the nodes that are looked through. Throws not_supported, naming a node, when the paths through the views have too
// many steps.
void find_origins(const Graph& graph, const std::vector<NodeId>& producer, const std::vector<bool>& executed, ValueId v,
                  std::vector<Origin>& out);

// The same question for one box at a time, without the paths: what shows nothing of the box is not visited, so that
// one of many operands of a concat is found at once.
class ViewWalk {
 public:
  ViewWalk(const Graph& graph, const std::vector<NodeId>& producer, const std::vector<bool>& executed)
      : graph_(graph), producer_(producer), executed_(executed) {}

  // Calls f(node, output, box of that output) for every operator that makes a part of `box` of v, in the order of the
  // views' operands.
  template <class F>
  void for_each_origin(ValueId v, const Box& box, F&& f) {
    stack_.assign(1, {v, box});
    while (!stack_.empty()) {
      const Part part = stack_.back();
      stack_.pop_back();
      const NodeId n = producer_[part.value];
      if (n == none || part.box.empty()) continue;
      if (!executed_[n]) {
        look_through(n, part.box);
        continue;
      }
      int output = 0;
      while (graph_.nodes[n].outputs[static_cast<size_t>(output)] != part.value) output++;
      f(n, output, part.box);
    }
  }

 private:
  struct Part {
    ValueId value;
    Box box;
  };
  void look_through(NodeId view, const Box& box);

  const Graph& graph_;
  const std::vector<NodeId>& producer_;
  const std::vector<bool>& executed_;
  std::vector<Part> stack_;
  std::unordered_map<NodeId, std::vector<int64_t>> begins_;  // of the operands of concats
};

// The part of an operator's domain that writes `box` of an output: whole where the output does not say.
Box writers(const Access& writes, const Box& box, const Domain& domain);

// The cell of a grid with row-major number `index`; interval(dim, i) is piece i of a dimension.
template <class F>
Box grid_box(const Extents& grid, uint64_t index, F&& interval) {
  Box b;
  b.rank = grid.rank;
  for (int i = b.rank - 1; i >= 0; i--) {
    auto pieces = static_cast<uint64_t>(grid[i]);
    b[i] = interval(i, static_cast<int64_t>(index % pieces));
    index /= pieces;
  }
  return b;
}

// Calls f(row-major number) for the cells lo <= cell < hi (per dimension) of a grid, in order. None when a range is
// empty.
template <class Index, class F>
void for_each_cell(const Extents& grid, const std::array<Index, max_rank>& lo, const std::array<Index, max_rank>& hi,
                   F&& f) {
  const int rank = std::max<int>(grid.rank, 0);
  for (int i = 0; i < rank; i++)
    if (lo[i] >= hi[i]) return;
  std::array<Index, max_rank> at = lo;
  for (;;) {
    uint64_t index = 0;
    for (int i = 0; i < rank; i++) index = index * static_cast<uint64_t>(grid[i]) + at[i];
    f(static_cast<uint32_t>(index));
    int i = rank - 1;
    while (i >= 0 && ++at[i] == hi[i]) {
      at[i] = lo[i];
      i--;
    }
    if (i < 0) return;
  }
}

}  // namespace pando
