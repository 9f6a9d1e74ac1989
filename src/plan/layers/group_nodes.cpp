// Which nodes must, or may without loss, share a device.
#include <algorithm>
#include <numeric>
#include <unordered_map>

#include "plan/layers/placement.hpp"

namespace pando::plan {
namespace {

using Pairs = std::vector<std::pair<int, int>>;

void sort_unique(Pairs& pairs) {
  std::sort(pairs.begin(), pairs.end());
  pairs.erase(std::unique(pairs.begin(), pairs.end()), pairs.end());
}

// The class of each node: one per colour, one per node without a colour. Numbered by first appearance.
std::vector<int> classes_of(const LayerGraph& graph, int& count) {
  std::vector<int> out(graph.nodes.size());
  std::unordered_map<int64_t, int> by_colour;
  count = 0;
  for (size_t v = 0; v < out.size(); v++) {
    int64_t colour = graph.nodes[v].colour;
    out[v] = colour < 0 ? count : by_colour.try_emplace(colour, count).first->second;
    count += out[v] == count;
  }
  return out;
}

// Forward edges between classes. A class without a forward node (an orphan) has none of its own: edges of the backward
// pass at it hold mirrored, which keeps a backward node without forward part in its place in the line.
Pairs forward_pairs(const LayerGraph& graph, const std::vector<int>& class_of, int count) {
  std::vector<char> orphan(count, 1);
  for (size_t v = 0; v < class_of.size(); v++)
    if (!graph.nodes[v].backward) orphan[class_of[v]] = 0;
  Pairs pairs;
  for (const LayerEdge& e : graph.edges) {
    int from = class_of[e.from], to = class_of[e.to];
    if (from == to) continue;
    bool back_from = graph.nodes[e.from].backward, back_to = graph.nodes[e.to].backward;
    if (!back_from && !back_to) pairs.emplace_back(from, to);
    if (back_from && back_to && (orphan[from] || orphan[to])) pairs.emplace_back(to, from);
  }
  sort_unique(pairs);
  return pairs;
}

using Net = std::pair<std::vector<int>, double>;  // groups and cost

// Makes these the nets; those with equal lists of groups become one.
void set_nets(PlacementGroups& g, std::vector<Net> nets) {
  std::sort(nets.begin(), nets.end());
  Pairs pins;
  g.net_cost.clear();
  for (size_t i = 0; i < nets.size(); i++) {
    if (i > 0 && nets[i].first == nets[i - 1].first) {
      g.net_cost.back() += nets[i].second;
      continue;
    }
    for (int v : nets[i].first) pins.emplace_back(static_cast<int>(g.net_cost.size()), v);
    g.net_cost.push_back(nets[i].second);
  }
  g.net_groups = adjacency(static_cast<int>(g.net_cost.size()), pins);
  for (auto& [net, group] : pins) std::swap(net, group);
  g.group_nets = adjacency(g.size(), pins);
}

PlacementGroups from_classes(const LayerGraph& graph, const std::vector<int>& class_of, int count) {
  PlacementGroups out;
  out.groups.resize(count);
  for (size_t v = 0; v < class_of.size(); v++) {
    const LayerNode& node = graph.nodes[v];
    PlacementGroups::Group& g = out.groups[class_of[v]];
    g.accelerator_time += node.accelerator_time;
    g.cpu_time += node.cpu_time;
    g.bytes += node.bytes;
    g.on_accelerator = g.on_accelerator && node.on_accelerator;
    g.members.push_back(static_cast<int>(v));
  }
  out.successors = adjacency(count, forward_pairs(graph, class_of, count));
  Pairs joined;  // node and class of its net
  std::vector<double> cost(graph.nodes.size(), 0);
  for (const LayerEdge& e : graph.edges) {
    joined.emplace_back(e.from, class_of[e.from]);
    joined.emplace_back(e.from, class_of[e.to]);
    cost[e.from] = e.ms;
  }
  sort_unique(joined);
  std::vector<Net> nets;
  for (size_t i = 0; i < joined.size();) {
    int node = joined[i].first;
    Net net{{class_of[node]}, cost[node]};
    for (; i < joined.size() && joined[i].first == node; i++)
      if (joined[i].second != class_of[node]) net.first.push_back(joined[i].second);
    if (net.first.size() > 1 && net.second > 0) nets.push_back(std::move(net));
  }
  set_nets(out, std::move(nets));
  return out;
}

// Fuses groups of equal label (0..count-1).
PlacementGroups fuse(const PlacementGroups& g, const std::vector<int>& label, int count) {
  PlacementGroups out;
  out.groups.resize(count);
  for (int v = 0; v < g.size(); v++) {
    const PlacementGroups::Group& from = g.groups[v];
    PlacementGroups::Group& to = out.groups[label[v]];
    to.accelerator_time += from.accelerator_time;
    to.cpu_time += from.cpu_time;
    to.bytes += from.bytes;
    to.on_accelerator = to.on_accelerator && from.on_accelerator;
    to.members.insert(to.members.end(), from.members.begin(), from.members.end());
  }
  Pairs edges;
  for (int v = 0; v < g.size(); v++)
    for (int w : g.successors[v])
      if (label[v] != label[w]) edges.emplace_back(label[v], label[w]);
  sort_unique(edges);
  out.successors = adjacency(count, edges);
  std::vector<Net> nets;
  for (int net = 0; net < static_cast<int>(g.net_cost.size()); net++) {
    std::vector<int> pins;
    for (int v : g.net_groups[net]) pins.push_back(label[v]);
    std::sort(pins.begin() + 1, pins.end());
    pins.erase(std::unique(pins.begin() + 1, pins.end()), pins.end());
    pins.erase(std::remove(pins.begin() + 1, pins.end(), pins[0]), pins.end());
    if (pins.size() > 1) nets.emplace_back(std::move(pins), g.net_cost[net]);
  }
  set_nets(out, std::move(nets));
  return out;
}

// Folds every group without time, whose neighbours all lie in one other group, into that group: moving it there never
// raises a load, nor breaks the line. Not where memory or support of accelerators could be lost by it.
bool fold_idle(PlacementGroups& g, bool memory_binds) {
  int count = g.size();
  Pairs near;  // group and neighbour, by edge or by net
  for (int v = 0; v < count; v++)
    for (int w : g.successors[v]) near.insert(near.end(), {{v, w}, {w, v}});
  std::vector<int> first(count, -1);
  std::vector<char> several(count, 0);
  auto meet = [&](int v, int w) {
    if (v == w || first[v] == w) return;
    if (first[v] >= 0) several[v] = 1;
    else first[v] = w;
  };
  for (auto [v, w] : near) meet(v, w);
  for (int net = 0; net < static_cast<int>(g.net_cost.size()); net++) {
    int owner = *g.net_groups.begin(net);
    for (int reader : g.net_groups[net]) {
      meet(reader, owner);
      meet(owner, reader);
    }
  }
  std::vector<int> label(count);
  std::iota(label.begin(), label.end(), 0);
  bool any = false;
  for (int v = 0; v < count; v++) {
    const PlacementGroups::Group& x = g.groups[v];
    int w = first[v];
    bool idle = x.accelerator_time == 0 && x.cpu_time == 0 && (x.bytes == 0 || !memory_binds);
    if (!idle || w < 0 || several[v] || label[w] != w) continue;
    if (!x.on_accelerator && g.groups[w].on_accelerator) continue;
    label[v] = w;
    any = true;
  }
  if (!any) return false;
  // No chains (v into w into x): w has v as a neighbour, so w folds only if v is its only one, and v has moved.
  std::vector<int> dense(count, -1);
  int fresh = 0;
  for (int v = 0; v < count; v++)
    if (label[v] == v) dense[v] = fresh++;
  for (int v = 0; v < count; v++) label[v] = dense[label[v]];
  g = fuse(g, label, fresh);
  return true;
}

}  // namespace

PlacementGroups group_nodes(const PlacementProblem& problem, bool contiguous) {
  int count = 0;
  std::vector<int> class_of = classes_of(problem.graph, count);
  PlacementGroups g = from_classes(problem.graph, class_of, count);
  if (contiguous) {
    std::vector<int> component = strong_components(g.successors);
    int components = component.empty() ? 0 : 1 + *std::max_element(component.begin(), component.end());
    g = fuse(g, component, components);
  }
  double bytes = 0;
  for (const LayerNode& node : problem.graph.nodes) bytes += node.bytes;
  while (fold_idle(g, bytes > problem.memory)) {
  }
  // Who owns a net no longer matters: nets that join the same groups become one, since the walks pay per net.
  std::vector<Net> nets;
  for (int net = 0; net < static_cast<int>(g.net_cost.size()); net++) {
    nets.emplace_back(std::vector<int>(g.net_groups.begin(net), g.net_groups.end(net)), g.net_cost[net]);
    std::sort(nets.back().first.begin(), nets.back().first.end());
  }
  set_nets(g, std::move(nets));
  return g;
}

}  // namespace pando::plan
