// Least maximal load by dynamic programming over ideals: a device takes the difference of two ideals (Tarnawski et al.
// 2020, section 5). An interval is looked at only while its load can stay below the best value known, and a state only
// when the devices that are left could do the rest.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "plan/layers/labels.hpp"
#include "plan/layers/lattice.hpp"
#include "plan/layers/load_path.hpp"
#include "plan/layers/placement.hpp"
#include "plan/layers/stopwatch.hpp"

namespace pando::plan {
namespace {

// Can `accelerators` and `cpus` devices do what is left of an ideal, each below a limit?
class Remainder {
 public:
  Remainder(const PlacementGroups& g, const Lattice& lattice) {
    std::vector<double> weight;
    for (const auto& x : g.groups) {
      // CPUs take a group's work at the best exchange rate of all groups; a group without CPU time costs them nothing.
      double work = x.on_accelerator && x.cpu_time > 0 ? x.accelerator_time : 0;
      if (work > 0) rate_ = std::max(rate_, work / x.cpu_time);
      weight.push_back(work);
    }
    done_ = ideal_weights(lattice, weight);
  }
  bool possible(uint32_t ideal, int64_t accelerators, int64_t cpus, double limit) const {
    double rest = done_.back() - done_[ideal];
    return rest <= (static_cast<double>(accelerators) + rate_ * static_cast<double>(cpus)) * limit * (1 + 1e-9);
  }

 private:
  double rate_ = 0;
  std::vector<double> done_;
};

class MaxLoadSearch {
 public:
  MaxLoadSearch(const PlacementProblem& problem, const PlacementGroups& groups, const Lattice& lattice,
                const SearchControl& control, Stopwatch& watch)
      : problem_(problem),
        g_(groups),
        lattice_(lattice),
        rest_(groups, lattice),
        watch_(watch),
        accelerators_(std::min<int64_t>(problem.accelerators, groups.size())),
        cpus_(std::min<int64_t>(problem.cpus, groups.size())),
        max_labels_(control.budget_bytes / 2 / sizeof(Label)),
        best_(0),
        stride_(walk_stride(groups.size())) {}

  // Looks for a plan whose load is below `limit`; the load, or infinity. A plan that is found is the best one, unless
  // out_of_budget().
  double run(double limit) {
    limit_ = limit;
    labels_.assign(lattice_.size(), {});
    label_count_ = 0;
    best_ = infinity;
    labels_[0].insert({0, 0, 0, 0, 0, 0});
    IntervalWalk walk(lattice_);
    LoadPath path(g_, problem_.memory);
    for (uint32_t from = 0; from + 1 < lattice_.size() && !out_of_budget_; from++) {
      const LabelSet& here = labels_[from];
      if (here.empty()) continue;
      path.limit = limit_;
      path.cpu_left = std::any_of(here.begin(), here.end(), [&](const Label& l) { return l.b < cpus_; });
      int64_t pushes = walk.run(from, path, [&](uint32_t to) { extend(from, to, path); });
      if (watch_.spend(pushes, best_) || label_count_ > max_labels_) out_of_budget_ = true;
    }
    return best_;
  }
  bool out_of_budget() const { return out_of_budget_; }

  // The device of each group in the best plan.
  std::vector<int> devices() const {
    std::vector<int> out(g_.size(), -1);
    uint32_t to = lattice_.size() - 1;
    const LabelSet* set = &labels_[to];
    size_t at = 0;
    for (size_t i = 0; i < set->size(); i++)
      if ((*set)[i].value == best_) at = i;
    while (to != 0) {
      const Label& label = (*set)[at];
      const LabelSet& before = labels_[label.ideal];
      bool cpu = label.b > before[label.label].b;
      int device = static_cast<int>(cpu ? problem_.accelerators + label.b - 1 : label.a - 1);
      for (int v : vertices_between(lattice_, label.ideal, to)) out[v] = device;
      to = label.ideal;
      at = label.label;
      set = &before;
    }
    return out;
  }

 private:
  void extend(uint32_t from, uint32_t to, const LoadPath& path) {
    bool last = to + 1 == lattice_.size();
    if (!last && to % stride_ != 0) return;
    auto offer = [&](uint32_t index, int64_t a, int64_t b, double load) {
      double value = std::max(labels_[from][index].value, load);
      if (value >= limit_ || (!last && !rest_.possible(to, accelerators_ - a, cpus_ - b, limit_))) return;
      label_count_ += labels_[to].insert({value, a, b, from, index, 0});
      if (last) limit_ = best_ = std::min(best_, value);
    };
    double load = path.accelerator_fits() ? path.load() : infinity;
    const LabelSet& here = labels_[from];
    for (uint32_t i = 0; i < here.size(); i++) {
      const Label& l = here[i];
      if (l.a < accelerators_ && load < limit_) offer(i, l.a + 1, l.b, load);
      if (l.b < cpus_ && path.now.cpu < limit_) offer(i, l.a, l.b + 1, path.now.cpu);
    }
  }

  const PlacementProblem& problem_;
  const PlacementGroups& g_;
  const Lattice& lattice_;
  Remainder rest_;
  Stopwatch& watch_;
  int64_t accelerators_, cpus_;
  size_t max_labels_, label_count_ = 0;
  double limit_ = infinity, best_;
  bool out_of_budget_ = false;
  uint32_t stride_;
  std::vector<LabelSet> labels_;
};

// Raises the limit step by step from the lower bound: low limits prune most, and the first plan found is the best.
double run_rising(MaxLoadSearch& search, double bound) {
  for (int step = 0; step < 12; step++) {
    double value = search.run(bound * (1 + 0.02 * (1 << step)));
    if (value < infinity || search.out_of_budget()) return value;
  }
  return search.run(infinity);
}

}  // namespace

double max_load_bound(const PlacementProblem& problem, const PlacementGroups& groups) {
  double largest = 0, work = 0, rate = 0;
  for (const auto& x : groups.groups) {
    bool accelerator = problem.accelerators > 0 && x.on_accelerator && x.bytes <= problem.memory;
    double least = infinity;
    if (accelerator) least = x.accelerator_time;
    if (problem.cpus > 0) least = std::min(least, x.cpu_time);
    largest = std::max(largest, least);
    if (!accelerator || x.cpu_time == 0) continue;
    work += x.accelerator_time;
    rate = std::max(rate, x.accelerator_time / x.cpu_time);
  }
  double devices = static_cast<double>(problem.accelerators) + rate * static_cast<double>(problem.cpus);
  return devices > 0 ? std::max(largest, work / devices) : largest;
}

PlacementOutcome search_ideals(const PlacementProblem& problem, bool linear, const SearchControl& control) {
  Stopwatch watch(control);
  PlacementOutcome out;
  out.search = linear ? "ideals-linear" : "ideals";
  out.objective = "max-load";
  out.unit = "ms";
  PlacementGroups groups = group_nodes(problem, true);
  double bound = max_load_bound(problem, groups);
  out.lower_bound = bound;
  if (bound == infinity) {
    out.reason = unplaceable(problem, groups);
    return out;
  }
  std::vector<int> order = topological_order(groups.successors), device;
  double best = infinity;
  bool proven = true;
  {
    Lattice chain = chain_lattice(order);
    MaxLoadSearch search(problem, groups, chain, control, watch);
    best = run_rising(search, bound);
    if (best < infinity) device = search.devices();
    if (search.out_of_budget()) proven = false;
  }
  if (!linear && groups.size() <= max_vertices && !watch.ended()) {
    Lattice lattice = build_lattice(groups.successors, order, max_ideals, control);
    MaxLoadSearch search(problem, groups, lattice, control, watch);
    double value = best < infinity ? search.run(best) : run_rising(search, bound);
    if (value < best) {
      best = value;
      device = search.devices();
    }
    proven = proven && lattice.complete && !search.out_of_budget();
  } else {
    proven = false;
  }
  out.proposals = watch.proposals();
  out.seconds = watch.seconds();
  if (best == infinity) {
    out.reason = proven ? "no contiguous placement fits the accelerators' memory"
                        : "no placement that fits the accelerators' memory was found; none is ruled out";
    return out;
  }
  out.feasible = true;
  out.plan.device.assign(problem.graph.nodes.size(), -1);
  for (int v = 0; v < groups.size(); v++)
    for (int node : groups.groups[v].members) out.plan.device[node] = device[v];
  out.value = best;
  out.optimal = proven || best <= bound;
  if (out.optimal) out.lower_bound = best;
  return out;
}

std::string unplaceable(const PlacementProblem& problem, const PlacementGroups& groups) {
  for (const auto& x : groups.groups) {
    if (problem.cpus > 0) break;
    int64_t id = problem.graph.nodes[x.members.front()].id;
    if (problem.accelerators == 0) return "there is no device";
    std::string with =
        x.members.size() > 1 ? " with the " + std::to_string(x.members.size() - 1) + " that share its device" : "";
    if (!x.on_accelerator) return "node " + std::to_string(id) + with + " needs a CPU, and there is none";
    if (x.bytes > problem.memory)
      return "node " + std::to_string(id) + with + " needs more memory than an accelerator has, and there is no CPU";
  }
  return "some node has no device that it can run on";
}

}  // namespace pando::plan
