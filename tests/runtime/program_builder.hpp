// Makes Programs from nodes and edges, for tests and benches of the scheduler.
#pragma once
#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "runtime/program.hpp"

namespace pando {

// Collects nodes and edges, then makes a Program of them. Nodes must be added so that edges go from lower to higher.
class ProgramBuilder {
 public:
  uint32_t add_tile(float us) { return add(us, false); }
  uint32_t add_event() { return add(0, true); }
  void add_edge(uint32_t from, uint32_t to) { edges_.emplace_back(from, to); }

  // Numbers the tiles first, as Program wants them. `kernel` runs every tile.
  std::shared_ptr<Program> build(Kernel kernel) const {
    auto p = std::make_shared<Program>();
    auto total = static_cast<uint32_t>(nodes_.size());
    for (const Node& n : nodes_) (n.event ? p->events : p->tiles)++;
    std::vector<uint32_t> number(total);
    uint32_t tile = 0, event = p->tiles;
    for (uint32_t n = 0; n < total; n++) number[n] = nodes_[n].event ? event++ : tile++;

    p->successor_begin.assign(total + 1, 0);
    p->successors.resize(edges_.size());
    p->need.assign(total, 0);
    for (auto [from, to] : edges_) p->successor_begin[number[from] + 1]++, p->need[number[to]]++;
    for (uint32_t n = 0; n < total; n++) p->successor_begin[n + 1] += p->successor_begin[n];
    std::vector<uint32_t> next(p->successor_begin.begin(), p->successor_begin.end() - 1);
    for (auto [from, to] : edges_) p->successors[next[number[from]]++] = number[to];

    p->priority.assign(total, 0);
    for (uint32_t n = total; n-- > 0;) {
      uint32_t i = number[n];
      for (uint32_t e = p->successor_begin[i]; e < p->successor_begin[i + 1]; e++)
        p->priority[i] = std::max(p->priority[i], p->priority[p->successors[e]]);
      p->priority[i] += nodes_[n].us;
    }
    p->code.resize(p->tiles);
    p->arguments.resize(16);
    p->kernels = {kernel};
    return p;
  }
  float total_us() const {
    float sum = 0;
    for (const Node& n : nodes_) sum += n.us;
    return sum;
  }

 private:
  struct Node {
    float us;
    bool event;
  };
  uint32_t add(float us, bool event) {
    nodes_.push_back({us, event});
    return static_cast<uint32_t>(nodes_.size() - 1);
  }
  std::vector<Node> nodes_;
  std::vector<std::pair<uint32_t, uint32_t>> edges_;
};

}  // namespace pando
