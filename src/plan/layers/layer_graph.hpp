// Graphs of layers whose times are given, as the papers' inputs have them: no operators, no access rules.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "plan/search.hpp"

namespace pando::plan {

// One way to run a layer in a pipeline stage: with or without recomputation, say.
struct LayerConfig {
  std::string id;
  double time = 0;              // forward and backward of one microbatch
  double parameters = 0;        // bytes that replicas exchange
  double memory_per_batch = 0;  // bytes for each microbatch in flight
  double memory_fixed = 0;      // bytes
  // Bytes exchanged on top of the edge's own, parallel to the layer's incoming and outgoing edges.
  std::vector<double> sync_in, sync_out;
};

struct LayerNode {
  int64_t id = 0;  // as in the file
  std::string name;
  double accelerator_time = 0, cpu_time = 0, bytes = 0;
  bool on_accelerator = true;  // may it run on one?
  bool backward = false;
  int64_t colour = -1;  // nodes of one colour share a device; -1: none
  // Per tensor degree (ascending), the configurations that the file offers. Pipelines only.
  std::vector<std::pair<int64_t, std::vector<LayerConfig>>> configs;
};

struct LayerEdge {
  int from = 0, to = 0;  // indices into nodes
  double ms = 0;         // placements: to move the output of `from`, equal for all its edges
  double bytes = 0;      // pipelines: of the output of `from`
};

struct LayerGraph {
  std::vector<LayerNode> nodes;
  std::vector<LayerEdge> edges;
};

// Lists of integers, one after the other: lists[i] spans [offset[i], offset[i+1]).
struct Adjacency {
  std::vector<int> offset, item;
  const int* begin(int i) const { return item.data() + offset[i]; }
  const int* end(int i) const { return item.data() + offset[i + 1]; }
  int size(int i) const { return offset[i + 1] - offset[i]; }
  struct Range {
    const int *b, *e;
    const int* begin() const { return b; }
    const int* end() const { return e; }
  };
  Range operator[](int i) const { return {begin(i), end(i)}; }
};
// Of `count` vertices: the second of every pair, listed under the first, in the order given.
Adjacency adjacency(int count, const std::vector<std::pair<int, int>>& pairs);
Adjacency reversed(const Adjacency& lists);

// Depth-first from the sources, so that branches stay together. Shorter than the graph when there is a cycle.
std::vector<int> topological_order(const Adjacency& successors);
// component[v], numbered so that every edge goes to the same or a higher number (Tarjan 1972, without recursion).
std::vector<int> strong_components(const Adjacency& successors);

// Throws invalid_model, naming a node on a cycle.
void require_acyclic(const LayerGraph& graph);

}  // namespace pando::plan
