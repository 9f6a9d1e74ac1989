#include "plan/layers/layer_graph.hpp"

#include <algorithm>

#include "base/error.hpp"

namespace pando::plan {

Adjacency adjacency(int count, const std::vector<std::pair<int, int>>& pairs) {
  Adjacency out;
  out.offset.assign(static_cast<size_t>(count) + 1, 0);
  out.item.resize(pairs.size());
  for (auto [from, to] : pairs) out.offset[from + 1]++;
  for (int i = 0; i < count; i++) out.offset[i + 1] += out.offset[i];
  std::vector<int> next(out.offset.begin(), out.offset.end() - 1);
  for (auto [from, to] : pairs) out.item[next[from]++] = to;
  return out;
}

Adjacency reversed(const Adjacency& lists) {
  std::vector<std::pair<int, int>> pairs;
  pairs.reserve(lists.item.size());
  int count = static_cast<int>(lists.offset.size()) - 1;
  for (int i = 0; i < count; i++)
    for (int j : lists[i]) pairs.emplace_back(j, i);
  return adjacency(count, pairs);
}

std::vector<int> topological_order(const Adjacency& successors) {
  int count = static_cast<int>(successors.offset.size()) - 1;
  std::vector<int> waiting(count, 0), ready, order;
  order.reserve(count);
  for (int v : successors.item) waiting[v]++;
  for (int v = count - 1; v >= 0; v--)
    if (waiting[v] == 0) ready.push_back(v);
  while (!ready.empty()) {
    int v = ready.back();
    ready.pop_back();
    order.push_back(v);
    for (int w : successors[v])
      if (--waiting[w] == 0) ready.push_back(w);
  }
  return order;
}

std::vector<int> strong_components(const Adjacency& successors) {
  int count = static_cast<int>(successors.offset.size()) - 1, clock = 0, components = 0;
  std::vector<int> found(count, -1), low(count, 0), component(count, -1), open, path;
  std::vector<int> next(successors.offset.begin(), successors.offset.end() - 1);
  for (int root = 0; root < count; root++) {
    if (found[root] >= 0) continue;
    path.push_back(root);
    while (!path.empty()) {
      int v = path.back();
      if (found[v] < 0) {
        found[v] = low[v] = clock++;
        open.push_back(v);
      }
      if (next[v] < successors.offset[v + 1]) {
        int w = successors.item[next[v]++];
        if (found[w] < 0) path.push_back(w);
        else if (component[w] < 0) low[v] = std::min(low[v], found[w]);
        continue;
      }
      path.pop_back();
      if (!path.empty()) low[path.back()] = std::min(low[path.back()], low[v]);
      if (low[v] != found[v]) continue;
      for (int w = -1; w != v;) {
        w = open.back();
        open.pop_back();
        component[w] = components;
      }
      components++;
    }
  }
  for (int& c : component) c = components - 1 - c;  // Tarjan closes sinks first
  return component;
}

void require_acyclic(const LayerGraph& graph) {
  int count = static_cast<int>(graph.nodes.size());
  std::vector<std::pair<int, int>> pairs;
  pairs.reserve(graph.edges.size());
  for (const LayerEdge& e : graph.edges) {
    if (e.from == e.to)
      fail(ErrorCode::invalid_model, "the graph has a cycle: an edge from node {} to itself", graph.nodes[e.from].id);
    pairs.emplace_back(e.from, e.to);
  }
  Adjacency successors = adjacency(count, pairs);
  if (topological_order(successors).size() == graph.nodes.size()) return;
  std::vector<int> component = strong_components(successors), size(count, 0);
  for (int c : component) size[c]++;
  for (int v = 0; v < count; v++)
    if (size[component[v]] > 1)
      fail(ErrorCode::invalid_model, "the graph has a cycle: node {} is one of {} on it", graph.nodes[v].id,
           size[component[v]]);
}

}  // namespace pando::plan
