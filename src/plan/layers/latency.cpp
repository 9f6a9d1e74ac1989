// Least latency of one sample. Two steps: a dynamic program over ideals, in which accelerators and stretches on the CPU
// take turns (the value of such a plan bounds its latency from above), then annealing with the exact latency, which
// lets pieces and CPU nodes overlap.
#include <algorithm>
#include <cmath>
#include <random>

#include "plan/layers/labels.hpp"
#include "plan/layers/latency_score.hpp"
#include "plan/layers/lattice.hpp"
#include "plan/layers/load_path.hpp"
#include "plan/layers/stopwatch.hpp"

namespace pando::plan {
namespace {

constexpr size_t max_latency_ideals = 50'000;
constexpr int64_t max_accelerators = 200;  // counted in bytes by the evaluation below

// A growing set of groups: as a piece of an accelerator, and as a stretch on CPUs.
struct TurnPath {
  LoadPath load;
  Adjacency before;
  std::vector<double> finish;  // of groups, were the set run on CPUs
  std::vector<char> inside;
  std::vector<double> longest{0};
  double limit = infinity;
  bool accelerator_left = true, cpu = true;

  TurnPath(const PlacementGroups& g, double memory)
      : load(g, memory), before(reversed(g.successors)), finish(g.size(), 0), inside(g.size(), 0) {}

  bool push(int v) {
    load.push(v);
    double start = 0;
    for (int u : before[v])
      if (inside[u]) start = std::max(start, finish[u]);
    finish[v] = start + load.g.groups[v].cpu_time;
    inside[v] = 1;
    longest.push_back(std::max(longest.back(), finish[v]));
    return (accelerator_left && load.accelerator_fits() && load.now.accelerator < limit) ||
           (cpu && longest.back() < limit);
  }
  void pop() {
    inside[load.path.back()] = 0;
    longest.pop_back();
    load.pop();
  }
};

class TurnSearch {
 public:
  TurnSearch(const PlacementProblem& p, const PlacementGroups& g, const Lattice& lattice, int accelerators,
             const SearchControl& control, Stopwatch& watch)
      : p_(p),
        g_(g),
        lattice_(lattice),
        accelerators_(accelerators),
        watch_(watch),
        max_labels_(control.budget_bytes / 2 / sizeof(Label)),
        stride_(walk_stride(g.size())),
        rest_(lattice.size(), 0) {
    // What an ideal leaves takes at least the longest path out of it.
    std::vector<int> order = topological_order(g.successors);
    std::vector<double> tail(g.size(), 0);
    for (size_t i = order.size(); i-- > 0;) {
      int v = order[i];
      for (int w : g.successors[v]) tail[v] = std::max(tail[v], tail[w]);
      const auto& x = g.groups[v];
      double fast = x.on_accelerator && x.bytes <= p.memory ? longest_inside(x) : infinity;
      if (p.cpus > 0) fast = std::min(fast, x.cpu_time);
      tail[v] += fast;
    }
    for (uint32_t i = 0; i < lattice.size(); i++)
      for (uint32_t c = lattice.offset[i]; c < lattice.offset[i + 1]; c++)
        rest_[i] = std::max(rest_[i], tail[lattice.vertex[c]]);
  }

  double run(double limit) {
    limit_ = limit;
    labels_.assign(lattice_.size(), {});
    labels_[0].insert({0, 0, 0, 0, 0, 0});
    IntervalWalk walk(lattice_);
    TurnPath path(g_, p_.memory);
    path.cpu = p_.cpus > 0;
    for (uint32_t from = 0; from + 1 < lattice_.size(); from++) {
      const LabelSet& here = labels_[from];
      if (here.empty()) continue;
      double least = infinity;
      path.accelerator_left = false;
      for (const Label& l : here) {
        least = std::min(least, l.value);
        path.accelerator_left = path.accelerator_left || l.a < accelerators_;
      }
      path.limit = limit_ - least;
      if (path.limit <= 0) continue;
      int64_t pushes = walk.run(from, path, [&](uint32_t to) { extend(from, to, path); });
      if (watch_.spend(pushes, limit_) || labels_made_ > max_labels_) break;
    }
    return best_;
  }

  std::vector<int> devices() const {
    std::vector<int> out(g_.size(), accelerators_);
    uint32_t to = lattice_.size() - 1;
    size_t at = 0;
    for (size_t i = 0; i < labels_[to].size(); i++)
      if (labels_[to][i].value == best_) at = i;
    while (to != 0) {
      const Label& label = labels_[to][at];
      if (label.choice == 1)
        for (int v : vertices_between(lattice_, label.ideal, to)) out[v] = static_cast<int>(label.a) - 1;
      to = label.ideal;
      at = label.label;
    }
    return out;
  }

 private:
  static double longest_inside(const PlacementGroups::Group& x) {
    return x.members.size() == 1 ? x.accelerator_time : 0;
  }

  void extend(uint32_t from, uint32_t to, const TurnPath& path) {
    bool last = to + 1 == lattice_.size();
    if (!last && to % stride_ != 0) return;
    double piece = path.load.accelerator_fits() ? path.load.load() : infinity;
    double stretch = path.cpu ? path.longest.back() : infinity;
    const LabelSet& here = labels_[from];
    for (uint32_t i = 0; i < here.size(); i++) {
      auto offer = [&](double value, int64_t a, uint32_t choice) {
        if (value + rest_[to] >= limit_) return;
        labels_made_ += labels_[to].insert({value, a, 0, from, i, choice});
        if (last) limit_ = best_ = std::min(best_, value);
      };
      if (here[i].a < accelerators_) offer(here[i].value + piece, here[i].a + 1, 1);
      // Two stretches on CPUs in a row are one, or worse.
      if (here[i].choice != 2) offer(here[i].value + stretch, here[i].a, 2);
    }
  }

  const PlacementProblem& p_;
  const PlacementGroups& g_;
  const Lattice& lattice_;
  int accelerators_;
  Stopwatch& watch_;
  size_t max_labels_, labels_made_ = 0;
  uint32_t stride_;
  double limit_ = infinity, best_ = infinity;
  std::vector<double> rest_;
  std::vector<LabelSet> labels_;
};

// Annealing over the device of each group, with the exact latency.
class LatencyAnnealer {
 public:
  LatencyAnnealer(const PlacementProblem& p, const PlacementGroups& g, int accelerators, const SearchControl& control,
                  Stopwatch& watch)
      : p_(p),
        g_(g),
        accelerators_(accelerators),
        devices_(accelerators + (p.cpus > 0)),
        watch_(watch),
        random_(control.seed),
        score_(p, accelerators),
        group_of_(p.graph.nodes.size()) {
    for (int v = 0; v < g.size(); v++)
      for (int node : g.groups[v].members) group_of_[node] = v;
    std::vector<char> seen(g.size(), 0);
    for (int node : score_.order())
      if (!seen[group_of_[node]]++) order_.push_back(group_of_[node]);
  }
  double best() const { return best_; }
  const std::vector<int>& best_devices() const { return best_device_; }

  void run(const std::vector<int>& start, int64_t proposals, double heat) {
    device_ = start;
    nodes_.resize(group_of_.size());
    bytes_.assign(devices_, 0);
    for (int v = 0; v < g_.size(); v++) {
      bytes_[device_[v]] += g_.groups[v].bytes;
      for (int node : g_.groups[v].members) nodes_[node] = device_[v];
    }
    double now = score_(nodes_);
    if (now == infinity || !fits()) return;
    keep(now);
    std::uniform_real_distribution<double> uniform(0, 1);
    const double hot = heat * now, cold = 1e-5 * now;
    for (int64_t i = 0; i < proposals; i++) {
      if (watch_.spend(static_cast<int64_t>(1), best_)) return;
      double temperature = hot * std::pow(cold / hot, static_cast<double>(i) / static_cast<double>(proposals));
      if (!propose()) {
        undo();
        continue;
      }
      double next = score_(nodes_);
      if (next > now - temperature * std::log(1 - uniform(random_))) {
        undo();
        continue;
      }
      now = next;
      if (now < best_) keep(now);
    }
  }

 private:
  int pick(size_t count) { return static_cast<int>(random_() % count); }
  bool fits() const {
    for (int d = 0; d < accelerators_; d++)
      if (bytes_[d] > p_.memory) return false;
    return true;
  }
  void keep(double value) {
    if (value >= best_) return;
    std::fill(bytes_.begin(), bytes_.end(), 0.0);
    for (int v = 0; v < g_.size(); v++) bytes_[device_[v]] += g_.groups[v].bytes;
    if (!fits()) return;
    best_ = value;
    best_device_ = device_;
  }
  bool put(int v, int d) {
    if (device_[v] == d) return true;
    moved_.emplace_back(v, device_[v]);
    bytes_[device_[v]] -= g_.groups[v].bytes;
    bytes_[d] += g_.groups[v].bytes;
    device_[v] = d;
    for (int node : g_.groups[v].members) nodes_[node] = d;
    return d >= accelerators_ || g_.groups[v].on_accelerator;
  }
  void undo() {
    for (size_t i = moved_.size(); i-- > 0;) {
      auto [v, d] = moved_[i];
      bytes_[device_[v]] -= g_.groups[v].bytes;
      bytes_[d] += g_.groups[v].bytes;
      device_[v] = d;
      for (int node : g_.groups[v].members) nodes_[node] = d;
    }
    moved_.clear();
  }
  // A device of one of v's neighbours, most often: pieces grow and shrink at their borders.
  int device_near(int v) {
    if (pick(8) == 0) return pick(static_cast<size_t>(devices_));
    int node = g_.groups[v].members[pick(g_.groups[v].members.size())];
    const Adjacency& side = pick(2) == 0 ? score_.before() : score_.after();
    if (side.size(node) == 0) return pick(static_cast<size_t>(devices_));
    return nodes_[side.begin(node)[pick(static_cast<size_t>(side.size(node)))]];
  }
  // Changes some devices; false when the result is not allowed.
  bool propose() {
    moved_.clear();
    int kind = pick(8);
    size_t at = static_cast<size_t>(pick(order_.size()));
    int v = order_[at], to = device_near(v);
    bool allowed = true;
    if (kind < 3) {
      allowed = put(v, to);
    } else if (kind < 6) {  // a run along the order
      size_t length = 1 + static_cast<size_t>(pick(kind == 3 ? 4 : kind == 4 ? 16 : 64));
      for (size_t i = at; i < std::min(order_.size(), at + length) && allowed; i++) allowed = put(order_[i], to);
    } else if (kind == 6) {  // the connected part of v's device around it, a while
      grow(v, 2 + static_cast<size_t>(pick(30)));
      for (int u : part_) allowed = put(u, to) && allowed;
    } else {  // two devices trade two groups
      int w = order_[pick(order_.size())], from = device_[v];
      to = device_[w];
      allowed = put(v, to);
      allowed = put(w, from) && allowed;
    }
    return allowed && !moved_.empty() && fits();
  }
  void grow(int v, size_t most) {
    part_.assign(1, v);
    for (size_t i = 0; i < part_.size() && part_.size() < most; i++)
      for (int node : g_.groups[part_[i]].members)
        for (const Adjacency* side : {&score_.before(), &score_.after()})
          for (int other : (*side)[node]) {
            int u = group_of_[other];
            if (device_[u] == device_[v] && std::find(part_.begin(), part_.end(), u) == part_.end()) part_.push_back(u);
          }
  }

  const PlacementProblem& p_;
  const PlacementGroups& g_;
  int accelerators_, devices_;
  Stopwatch& watch_;
  std::mt19937_64 random_;
  LatencyScore score_;
  std::vector<int> group_of_, order_, device_, nodes_, best_device_, part_;
  std::vector<std::pair<int, int>> moved_;
  std::vector<double> bytes_;
  double best_ = infinity;
};

// Every path takes its nodes' times on their faster devices.
double latency_bound(const PlacementProblem& p) {
  int count = static_cast<int>(p.graph.nodes.size());
  std::vector<std::pair<int, int>> pairs;
  for (const LayerEdge& e : p.graph.edges) pairs.emplace_back(e.from, e.to);
  Adjacency after = adjacency(count, pairs);
  std::vector<double> start(count, 0);
  double last = 0;
  for (int v : topological_order(after)) {
    const LayerNode& n = p.graph.nodes[v];
    double fast = p.accelerators > 0 && n.on_accelerator && n.bytes <= p.memory ? n.accelerator_time : infinity;
    if (p.cpus > 0) fast = std::min(fast, n.cpu_time);
    last = std::max(last, start[v] + fast);
    for (int w : after[v]) start[w] = std::max(start[w], start[v] + fast);
  }
  return last;
}

}  // namespace

PlacementOutcome search_latency(const PlacementProblem& problem, bool linear, const SearchControl& control) {
  Stopwatch watch(control);
  PlacementOutcome out;
  out.search = linear ? "ideals-linear" : "ideals";
  out.objective = "latency";
  out.unit = "ms";
  // Every edge has to be waited for: those of the backward pass are as good as any.
  PlacementProblem all = problem;
  for (LayerNode& n : all.graph.nodes) n.backward = false;
  PlacementGroups groups = group_nodes(all, true);
  out.lower_bound = latency_bound(problem);
  if (max_load_bound(problem, groups) == infinity) {
    out.reason = unplaceable(problem, groups);
    return out;
  }
  int accelerators = static_cast<int>(std::min(problem.accelerators, max_accelerators));
  std::vector<int> order = topological_order(groups.successors);
  LatencyAnnealer annealer(problem, groups, accelerators, control, watch);
  std::vector<std::vector<int>> starts;
  Lattice chain = chain_lattice(order);
  TurnSearch first(all, groups, chain, accelerators, control, watch);
  double turns = first.run(infinity);
  if (turns < infinity) starts.push_back(first.devices());
  if (!linear && groups.size() <= max_vertices && !watch.ended()) {
    Lattice lattice = build_lattice(groups.successors, order, max_latency_ideals, control);
    TurnSearch second(all, groups, lattice, accelerators, control, watch);
    if (second.run(turns) < turns) starts.push_back(second.devices());
  }
  if (problem.cpus > 0) starts.emplace_back(groups.size(), accelerators);
  for (const auto& start : starts) annealer.run(start, 0, 0);
  // A few seconds in all: a proposal is scored in the time of the whole graph.
  constexpr int rounds = 4;
  double work = static_cast<double>(problem.graph.nodes.size() + problem.graph.edges.size());
  auto proposals = static_cast<int64_t>(std::min(2e8 / work, 1e4 * groups.size()));
  for (int round = 0; round < rounds && !linear; round++) {
    if (annealer.best() == infinity || annealer.best() <= *out.lower_bound) break;
    std::vector<int> start = annealer.best_devices();
    annealer.run(start, proposals, 0.04 / (1 << round));  // ever closer to the best plan so far
  }
  out.proposals = watch.proposals();
  out.seconds = watch.seconds();
  if (annealer.best() == infinity) {
    out.reason = "no placement that fits the accelerators' memory was found; none is ruled out";
    return out;
  }
  out.feasible = true;
  out.value = annealer.best();
  out.optimal = out.value <= *out.lower_bound;
  out.plan.device.assign(problem.graph.nodes.size(), -1);
  for (int v = 0; v < groups.size(); v++)
    for (int node : groups.groups[v].members) {
      int d = annealer.best_devices()[v];
      out.plan.device[node] = d < accelerators ? d : static_cast<int>(problem.accelerators);
    }
  return out;
}

}  // namespace pando::plan
