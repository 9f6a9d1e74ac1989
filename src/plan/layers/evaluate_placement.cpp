// Scores a placement from the problem as it was read. Slow and plain on purpose: no groups, no nets, no lattice.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "plan/layers/placement.hpp"

namespace pando::plan {
namespace {

// The first rule that a plan breaks, whatever the objective; `share_colours`: colours share a device.
std::string broken_rule(const PlacementProblem& p, const Placement& plan) {
  if (plan.device.size() != p.graph.nodes.size()) return "the plan does not cover every node";
  std::map<int, double> bytes;
  std::map<int64_t, int> colour;
  for (size_t v = 0; v < plan.device.size(); v++) {
    const LayerNode& node = p.graph.nodes[v];
    int d = plan.device[v];
    if (d < 0 || d >= p.accelerators + p.cpus) return fmt::format("node {} is on no device", node.id);
    if (node.colour >= 0 && colour.try_emplace(node.colour, d).first->second != d)
      return fmt::format("node {} is apart from others of colour {}", node.id, node.colour);
    if (d >= p.accelerators) continue;
    if (!node.on_accelerator) return fmt::format("node {} is on an accelerator that does not support it", node.id);
    bytes[d] += node.bytes;
  }
  for (auto [d, sum] : bytes)
    if (sum > p.memory * (1 + 1e-12)) return fmt::format("accelerator {} holds {} bytes of {}", d, sum, p.memory);
  return "";
}

// True when the arcs between devices have no cycle: then the devices can be put in a line.
bool in_a_line(const std::set<std::pair<int, int>>& arcs) {
  std::map<int, int> incoming;
  for (auto [a, b] : arcs) {
    incoming[a];
    incoming[b]++;
  }
  size_t left = incoming.size();
  for (bool moved = true; moved;) {
    moved = false;
    for (auto& [d, count] : incoming)
      if (count == 0) {
        count = -1;
        left--;
        moved = true;
        for (auto [a, b] : arcs)
          if (a == d) incoming[b]--;
      }
  }
  return left == 0;
}

}  // namespace

PlacementScore evaluate_max_load(const PlacementProblem& p, const Placement& plan, bool contiguous) {
  PlacementScore out;
  out.violation = broken_rule(p, plan);
  if (!out.violation.empty()) return out;
  const auto& nodes = p.graph.nodes;
  std::map<int, double> load;
  std::set<std::pair<int, int>> charged, arcs;  // (node, device) whose output moves to or from there; line of devices
  std::set<int64_t> has_forward;
  for (const LayerNode& node : nodes)
    if (node.colour >= 0 && !node.backward) has_forward.insert(node.colour);
  auto orphan = [&](const LayerNode& n) { return n.backward && (n.colour < 0 || !has_forward.contains(n.colour)); };
  for (size_t v = 0; v < nodes.size(); v++)
    load[plan.device[v]] += plan.device[v] < p.accelerators ? nodes[v].accelerator_time : nodes[v].cpu_time;
  for (const LayerEdge& e : p.graph.edges) {
    int a = plan.device[e.from], b = plan.device[e.to];
    if (a == b) continue;
    for (int d : {a, b})
      if (d < p.accelerators && charged.emplace(e.from, d).second) load[d] += e.ms;
    const LayerNode &u = nodes[e.from], &v = nodes[e.to];
    if (!u.backward && !v.backward) arcs.emplace(a, b);
    if (u.backward && v.backward && (orphan(u) || orphan(v))) arcs.emplace(b, a);
  }
  for (auto [d, sum] : load) out.value = std::max(out.value, sum);
  if (contiguous && !in_a_line(arcs)) out.violation = "the devices cannot be put in a line";
  return out;
}

PlacementScore evaluate_latency(const PlacementProblem& p, const Placement& plan) {
  PlacementScore out;
  out.violation = broken_rule(p, plan);
  if (!out.violation.empty()) return out;
  int count = static_cast<int>(plan.device.size());
  std::vector<std::vector<const LayerEdge*>> in(count), after(count);
  std::vector<int> waiting(count, 0), order;
  for (const LayerEdge& e : p.graph.edges) {
    in[e.to].push_back(&e);
    after[e.from].push_back(&e);
    waiting[e.to]++;
  }
  for (int v = 0; v < count; v++)
    if (waiting[v] == 0) order.push_back(v);
  for (size_t i = 0; i < order.size(); i++)
    for (const LayerEdge* e : after[order[i]])
      if (--waiting[e->to] == 0) order.push_back(e->to);
  // entries[v][d]: how often a path to v has entered the set of accelerator d.
  std::map<std::pair<int, int>, std::vector<int>> pieces;  // (device, entries) -> nodes; CPU nodes are alone
  std::vector<std::pair<int, int>> piece_of(count);
  std::vector<std::map<int, int>> entries(count);
  for (int v : order) {
    int here = plan.device[v];
    for (const LayerEdge* e : in[v])
      for (auto [d, n] : entries[e->from]) {
        int enters = d == here && plan.device[e->from] != here;
        entries[v][d] = std::max(entries[v][d], n + enters);
      }
    bool cpu = here >= p.accelerators;
    if (!cpu) entries[v][here] = std::max(entries[v][here], 1);
    piece_of[v] = cpu ? std::pair(here, -1 - v) : std::pair(here, entries[v][here]);
    pieces[piece_of[v]].push_back(v);
  }
  // Pieces start once all nodes outside that they read are done: repeat until nothing changes or nothing can move.
  std::map<std::pair<int, int>, double> finish;
  std::vector<std::pair<double, std::pair<int, int>>> started;
  for (bool moved = true; moved && finish.size() < pieces.size();) {
    moved = false;
    for (auto& [key, members] : pieces) {
      if (finish.contains(key)) continue;
      bool ready = true, cpu = key.second < 0;
      double start = 0, takes = 0;
      std::set<int> read;
      for (int v : members) {
        takes += cpu ? p.graph.nodes[v].cpu_time : p.graph.nodes[v].accelerator_time;
        for (const LayerEdge* e : in[v]) {
          if (piece_of[e->from] == key) continue;
          auto done = finish.find(piece_of[e->from]);
          ready = ready && done != finish.end();
          if (done != finish.end()) start = std::max(start, done->second);
          if (!cpu && read.insert(e->from).second) takes += e->ms;
        }
        double leaving = 0;
        for (const LayerEdge* e : after[v])
          if (piece_of[e->to] != key) leaving = e->ms;
        if (!cpu) takes += leaving;
      }
      if (!ready) continue;
      finish[key] = start + takes;
      started.emplace_back(start, key);
      out.value = std::max(out.value, start + takes);
      moved = true;
    }
  }
  if (finish.size() < pieces.size()) {
    out.violation = "pieces of the accelerators wait for each other";
    return out;
  }
  std::sort(started.begin(), started.end());
  for (auto& [start, key] : started) {
    out.pieces.push_back(pieces[key]);
    out.piece_device.push_back(key.first);
  }
  return out;
}

}  // namespace pando::plan
