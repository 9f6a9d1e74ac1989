// Least maximal load of placements that need not be contiguous: simulated annealing over moves and swaps of groups. The
// energy is a high power of the loads, so that it falls while the largest load stands still.
#include <algorithm>
#include <cmath>
#include <random>

#include "plan/layers/placement.hpp"
#include "plan/layers/stopwatch.hpp"

namespace pando::plan {
namespace {

class Annealer {
 public:
  Annealer(const PlacementProblem& p, const PlacementGroups& g, double bound, const SearchControl& control,
           Stopwatch& watch)
      : p_(p), g_(g), watch_(watch), random_(control.seed), scale_(bound > 0 ? bound : 1) {
    // One count per net and device: fewer devices are used where that outgrows the budget.
    size_t most = std::max<size_t>(1, control.budget_bytes / 8 / (g.net_cost.size() + 1));
    accelerators_ = static_cast<int>(std::min<size_t>(static_cast<size_t>(p.accelerators), most));
    cpus_ = static_cast<int>(std::min<size_t>(static_cast<size_t>(p.cpus), most));
    devices_ = accelerators_ + cpus_;
  }

  double best() const { return best_; }
  bool uses_all(const PlacementProblem& p) const { return p.accelerators == accelerators_ && p.cpus == cpus_; }
  // Numbered as in the problem.
  std::vector<int> best_devices() const {
    std::vector<int> out = best_device_;
    for (int& d : out)
      if (d >= accelerators_) d += static_cast<int>(p_.accelerators) - accelerators_;
    return out;
  }

  void run(const std::vector<int>& start, int64_t proposals) {
    set(start);
    std::uniform_real_distribution<double> uniform(0, 1);
    constexpr double hot = 0.3, cold = 0.002;  // temperatures of the energy's logarithm
    double ratio = std::pow(cold / hot, 1 / std::max(1.0, static_cast<double>(proposals) / 256)), temperature = hot;
    for (int64_t i = 0; i < proposals; i++) {
      if (i % 256 == 255) temperature *= ratio;
      if (watch_.spend(1, best_)) return;
      int v = pick(g_.size()), w = -1, from = device_[v], to = pick(devices_);
      if (i % 2 == 0) {
        w = pick(g_.size());
        to = device_[w];
      }
      if (from == to || !may_run(v, to) || (w >= 0 && !may_run(w, from))) continue;
      double before = energy_;
      move(v, to);
      if (w >= 0) move(w, from);
      if (energy_ > before * std::pow(1 - uniform(random_), -temperature)) {
        if (w >= 0) move(w, to);
        move(v, from);
        energy_ = before;
      } else if (energy_ < before) {
        keep();
      }
    }
  }

  // Groups in order of work on the least loaded device that may take them.
  std::vector<int> spread() {
    std::vector<int> order(g_.size()), out(g_.size(), -1);
    for (int v = 0; v < g_.size(); v++) order[v] = v;
    auto size = [&](int v) {
      return g_.groups[v].bytes / std::max(p_.memory, 1.0) + g_.groups[v].accelerator_time / scale_;
    };
    std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return size(a) > size(b); });
    std::vector<double> load(devices_, 0);
    for (int v : order) {
      int best = -1;
      for (int d = 0; d < devices_; d++)
        if (may_run(v, d) && (best < 0 || load[d] < load[best])) best = d;
      out[v] = best;
      load[best] += size(v);
    }
    return out;
  }

 private:
  int pick(int count) { return static_cast<int>(random_() % static_cast<uint64_t>(count)); }
  bool may_run(int v, int d) const { return d >= accelerators_ || g_.groups[v].on_accelerator; }

  double load(int d) const { return d < accelerators_ ? time_[d] + moves_[d] : time_[d]; }
  double term(int d) const {
    double x = load(d) / scale_, x4 = x * x * x * x;
    double over = d < accelerators_ && bytes_[d] > p_.memory ? bytes_[d] - p_.memory : 0;
    return x4 * x4 * x4 + (over > 0 ? 1e3 * (1 + over / (p_.memory + 1)) : 0);
  }
  void set(const std::vector<int>& start) {
    device_.assign(g_.size(), -1);
    time_.assign(devices_, 0);
    bytes_.assign(devices_, 0);
    moves_.assign(devices_, 0);
    inside_.assign(g_.net_cost.size() * static_cast<size_t>(devices_), 0);
    for (int v = 0; v < g_.size(); v++) change(v, start[v], 1);
    energy_ = 0;
    for (int d = 0; d < devices_; d++) energy_ += term(d);
    keep();
  }
  void change(int v, int d, int by) {
    const auto& x = g_.groups[v];
    time_[d] += by * (d < accelerators_ ? x.accelerator_time : x.cpu_time);
    bytes_[d] += by * x.bytes;
    for (int net : g_.group_nets[v]) {
      int& count = inside_[static_cast<size_t>(net) * devices_ + d];
      int size = g_.net_groups.size(net);
      bool cut = count > 0 && count < size;
      count += by;
      bool now = count > 0 && count < size;
      moves_[d] += (now - cut) * g_.net_cost[net];
    }
    if (by > 0) device_[v] = d;
  }
  void move(int v, int to) {
    int from = device_[v];
    double before = term(from) + term(to);
    change(v, from, -1);
    change(v, to, 1);
    energy_ += term(from) + term(to) - before;
  }
  void keep() {
    double most = 0;
    for (int d = 0; d < devices_; d++) {
      most = std::max(most, load(d));
      if (d < accelerators_ && bytes_[d] > p_.memory) return;
    }
    if (most >= best_) return;
    // Sums that are kept up to date drift; memory must not be exceeded by that.
    std::fill(bytes_.begin(), bytes_.end(), 0.0);
    for (int v = 0; v < g_.size(); v++) bytes_[device_[v]] += g_.groups[v].bytes;
    for (int d = 0; d < accelerators_; d++)
      if (bytes_[d] > p_.memory) return;
    best_ = most;
    best_device_ = device_;
  }

  const PlacementProblem& p_;
  const PlacementGroups& g_;
  Stopwatch& watch_;
  std::mt19937_64 random_;
  double scale_, best_ = infinity, energy_ = 0;
  int accelerators_, cpus_, devices_;
  std::vector<int> device_, best_device_, inside_;
  std::vector<double> time_, bytes_, moves_;
};

}  // namespace

PlacementOutcome search_local(const PlacementProblem& problem, const SearchControl& control, int64_t moves) {
  Stopwatch watch(control);
  PlacementGroups groups = group_nodes(problem, false);
  double bound = max_load_bound(problem, groups);
  PlacementOutcome out = bound == infinity ? PlacementOutcome{} : search_ideals(problem, true, control);
  out.search = "local";
  out.objective = "max-load";
  out.unit = "ms";
  out.lower_bound = bound;
  out.optimal = false;
  if (bound == infinity) {
    out.reason = unplaceable(problem, groups);
    return out;
  }
  Annealer annealer(problem, groups, bound, control, watch);
  constexpr int rounds = 8;
  auto each = static_cast<int64_t>(static_cast<double>(moves) / rounds / (1 + 1e-3 * groups.size()));
  for (int round = 0; round < rounds && !watch.ended(); round++) {
    std::vector<int> start(groups.size());
    // Half of the rounds from the contiguous plan, whose shape the others would have to find.
    bool contiguous = out.feasible && round % 2 == 0 && annealer.uses_all(problem);
    if (contiguous)
      for (int v = 0; v < groups.size(); v++) start[v] = out.plan.device[groups.groups[v].members.front()];
    annealer.run(contiguous ? start : annealer.spread(), each);
  }
  out.proposals += watch.proposals();
  out.seconds = watch.seconds();
  if (annealer.best() < infinity && (!out.feasible || annealer.best() < out.value)) {
    std::vector<int> device = annealer.best_devices();
    out.plan.device.assign(problem.graph.nodes.size(), -1);
    for (int v = 0; v < groups.size(); v++)
      for (int node : groups.groups[v].members) out.plan.device[node] = device[v];
    out.feasible = true;
    out.reason.clear();
    out.value = annealer.best();
  }
  if (!out.feasible) out.reason = "no placement that fits the accelerators' memory was found; none is ruled out";
  if (out.feasible && out.value <= bound) out.optimal = true;
  // Sums that were kept up to date over millions of moves have drifted.
  if (out.feasible) out.value = evaluate_max_load(problem, out.plan, false).value;
  return out;
}

}  // namespace pando::plan
