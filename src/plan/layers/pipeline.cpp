// Piper's two-level dynamic program: stages are taken off the back, so that what is behind a stage says how many
// microbatches it holds in flight. Labels (slowest stage, devices, replicas) per ideal instead of a table; the limit on
// the slowest stage rises from a lower bound, so that the first plan found is the best one.
#include "plan/layers/pipeline.hpp"

#include <algorithm>
#include <cmath>

#include "plan/layers/labels.hpp"
#include "plan/layers/lattice.hpp"
#include "plan/layers/stage_path.hpp"
#include "plan/layers/stopwatch.hpp"

namespace pando::plan {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

class PipelineSearch {
 public:
  PipelineSearch(const PipelineProblem& problem, const Degrees& degrees, const Lattice& lattice,
                 const SearchControl& control, Stopwatch& watch)
      : p_(problem),
        degrees_(degrees),
        lattice_(lattice),
        watch_(watch),
        knapsack_(problem),
        most_labels_(control.budget_bytes / 2 / sizeof(Label)),
        stride_(walk_stride(static_cast<int>(problem.graph.nodes.size()))) {
    std::vector<double> work(problem.graph.nodes.size());
    for (size_t v = 0; v < work.size(); v++) work[v] = least_work(v);
    done_ = ideal_weights(lattice, work);
  }
  // Device-seconds of a sample; the bound on the value when all devices share them.
  double total_work() const { return done_.back(); }
  bool out_of_budget() const { return out_of_budget_; }
  // Plans below this may have been missed, since a knapsack was not searched to its end.
  double open() const { return open_; }

  // The value of the best plan below `limit`, or infinity.
  double run(double limit) {
    limit_ = limit;
    best_ = infinity;
    open_ = infinity;
    label_count_ = 0;
    labels_.assign(lattice_.size(), {});
    labels_[0].insert({0, 0, 0, 0, 0, 0});
    IntervalWalk walk(lattice_);
    StagePath path(p_, degrees_);
    for (uint32_t from = 0; from + 1 < lattice_.size() && !out_of_budget_; from++) {
      const LabelSet& here = labels_[from];
      if (here.empty()) continue;
      path.limit = limit_;
      path.devices_left = 0;
      path.replicas_behind = std::numeric_limits<int32_t>::max();
      for (const Label& l : here) {
        path.devices_left = std::max(path.devices_left, p_.devices - l.a);
        path.replicas_behind = std::min(path.replicas_behind, l.b);
      }
      int64_t pushes = walk.run(from, path, [&](uint32_t to) { extend(from, to, path); });
      if (watch_.spend(pushes, best_) || label_count_ > most_labels_) out_of_budget_ = true;
    }
    return best_;
  }

  std::vector<LayerStage> stages() {
    std::vector<LayerStage> out;
    uint32_t to = lattice_.size() - 1;
    size_t at = 0;
    for (size_t i = 0; i < labels_[to].size(); i++)
      if (labels_[to][i].value == best_) at = i;
    while (to != 0) {
      Label label = labels_[to][at];
      LayerStage stage;
      stage.nodes = vertices_between(lattice_, label.ideal, to);
      std::reverse(stage.nodes.begin(), stage.nodes.end());
      stage.tensor = degrees_.tensor[label.choice / degrees_.data.size()];
      stage.data = degrees_.data[label.choice % degrees_.data.size()];
      stage.config =
          knapsack_.choose(stage.nodes, stage.data, stage.tensor, ceiling(label.b, stage.data), label.value, infinity)
              .config;
      out.push_back(std::move(stage));
      to = label.ideal;
      at = label.label;
    }
    return out;
  }

 private:
  static int64_t ceiling(int64_t a, int64_t b) { return (a + b - 1) / b; }
  double least_work(size_t v) const {
    double work = infinity;
    for (size_t t = 0; t < degrees_.tensor.size(); t++) {
      const Least& x = degrees_.least[v * degrees_.tensor.size() + t];
      if (x.offered) work = std::min(work, x.time * static_cast<double>(degrees_.tensor[t]));
    }
    return work;
  }

  void extend(uint32_t from, uint32_t to, const StagePath& path) {
    bool last = to + 1 == lattice_.size();
    if (!last && to % stride_ != 0) return;
    double rest = (done_.back() - done_[to]) * (1 - 1e-9);
    for (size_t t = 0; t < path.count; t++) {
      if (path.now(t).missing > 0) continue;
      for (size_t i = degrees_.data.size(); i-- > 0;) {
        int64_t d = degrees_.data[i], devices = d * degrees_.tensor[t];
        if (devices > path.devices_left) continue;
        double time = path.least_time(t, d), enough = infinity;
        for (const Label& l : labels_[from]) enough = std::min(enough, l.value);
        if (time >= limit_) continue;
        auto choice = static_cast<uint32_t>(t * degrees_.data.size() + i);
        int64_t known_for = -1;
        double known = 0;  // time at that many microbatches in flight
        for (uint32_t l = 0; l < labels_[from].size(); l++) {
          const Label& before = labels_[from][l];
          Label next{std::max(before.value, time), before.a + devices, before.b + d, from, l, choice};
          if (next.a > p_.devices || next.b > p_.microbatches || next.value >= limit_) continue;
          if (!last && rest > static_cast<double>(p_.devices - next.a) * limit_) continue;
          if (labels_[to].beaten(next)) continue;
          int64_t in_flight = ceiling(next.b, d);
          if (in_flight != known_for) {
            known_for = in_flight;
            known = stage_time(path, t, d, in_flight, time, enough);
          }
          next.value = std::max(next.value, known);
          if (next.value >= limit_) continue;
          label_count_ += labels_[to].insert(next);
          if (last) limit_ = best_ = std::min(best_, next.value);
        }
      }
    }
  }

  double stage_time(const StagePath& path, size_t t, int64_t d, int64_t in_flight, double least, double enough) {
    const StagePath::Sums& s = path.now(t);
    double y = static_cast<double>(in_flight);
    if (s.per_batch * y + s.fixed > p_.memory * (1 + 1e-12)) return infinity;
    if (s.unsettled == 0 && s.fast_per_batch * y + s.fast_fixed <= p_.memory) return least;
    double need = s.tied_per_batch * y + s.tied_fixed - p_.memory;
    // Almost all stages end here: the whole choice is made only for those that the bound lets pass.
    double extra = knapsack_.least_extra_time(path.inside, degrees_.tensor[t], in_flight, need);
    if (least + extra * (1 - 1e-9) / static_cast<double>(d) >= limit_) return infinity;
    StageChoice choice = knapsack_.choose(path.path, d, degrees_.tensor[t], in_flight, enough, limit_);
    if (choice.time > enough && choice.bound < choice.time * (1 - 1e-12))
      open_ = std::min(open_, std::max(choice.bound, enough));
    return choice.time;
  }

  const PipelineProblem& p_;
  const Degrees& degrees_;
  const Lattice& lattice_;
  Stopwatch& watch_;
  StageKnapsack knapsack_;
  std::vector<double> done_;
  size_t most_labels_, label_count_ = 0;
  uint32_t stride_;
  double limit_ = infinity, best_ = infinity, open_ = infinity;
  bool out_of_budget_ = false;
  std::vector<LabelSet> labels_;
};

// Steps of the limit from the bound up to what is known already; the first plan found is the best.
double run_rising(PipelineSearch& search, double bound, double known) {
  for (int step = 0; step < 12; step++) {
    double limit = bound * (1 + 0.02 * (1 << step));
    if (limit >= known) break;
    double value = search.run(limit);
    if (value < infinity || search.out_of_budget()) return value;
  }
  return search.run(known);
}

std::string unplannable(const PipelineProblem& p) {
  for (const LayerNode& n : p.graph.nodes) {
    double least = infinity;
    for (const auto& [degree, configs] : n.configs)
      if (degree <= p.devices)
        for (const LayerConfig& c : configs) least = std::min(least, c.memory_per_batch + c.memory_fixed);
    if (least == infinity)
      return "node " + std::to_string(n.id) + " has no configuration that the flags and the number of devices allow";
    if (least > p.memory) return "node " + std::to_string(n.id) + " alone needs more memory than a device has";
  }
  return "";
}

}  // namespace

PipelineOutcome search_pipeline(const PipelineProblem& problem, const SearchControl& control) {
  Stopwatch watch(control);
  PipelineOutcome out;
  out.search = "pipeline";
  out.objective = "time";
  out.unit = "s";
  out.reason = unplannable(problem);
  if (!out.reason.empty()) return out;
  Degrees degrees(problem);
  std::vector<std::pair<int, int>> pairs;  // reversed: ideals grow from the back
  for (const LayerEdge& e : problem.graph.edges) pairs.emplace_back(e.to, e.from);
  std::sort(pairs.begin(), pairs.end());
  pairs.erase(std::unique(pairs.begin(), pairs.end()), pairs.end());
  Adjacency behind = adjacency(static_cast<int>(problem.graph.nodes.size()), pairs);
  std::vector<int> order = topological_order(behind);
  double best = infinity, bound = 0;
  {
    Lattice chain = chain_lattice(order);
    PipelineSearch search(problem, degrees, chain, control, watch);
    bound = search.total_work() / static_cast<double>(problem.devices);
    best = run_rising(search, bound, infinity);
    if (best < infinity) out.stages = search.stages();
  }
  bool proven = false;
  if (problem.graph.nodes.size() <= most_vertices && !watch.ended()) {
    Lattice lattice = build_lattice(behind, order, most_ideals, control);
    PipelineSearch search(problem, degrees, lattice, control, watch);
    double value = run_rising(search, bound, best);
    if (value < best) {
      best = value;
      out.stages = search.stages();
    }
    proven = lattice.complete && !search.out_of_budget();
    if (proven) bound = std::max(bound, std::min(best, search.open()));
    proven = proven && search.open() >= best;
  }
  out.proposals = watch.proposals();
  out.seconds = watch.seconds();
  out.lower_bound = bound;
  if (best == infinity) {
    out.reason = proven ? "no pipeline fits the devices' memory"
                        : "no pipeline that fits the devices' memory was found; none is ruled out";
    return out;
  }
  out.feasible = true;
  out.value = best;
  out.optimal = proven;
  return out;
}

}  // namespace pando::plan
