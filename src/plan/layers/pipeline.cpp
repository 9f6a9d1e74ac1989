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

constexpr double near_best = 1.02;  // of the sum for a batch: plans that the flow shop judges
constexpr size_t max_judged = 16;

// Stages off the back: the slowest, their sum (0 where it does not count), devices and replicas.
struct StageLabel {
  double value, sum;
  int64_t a, b;
  uint32_t ideal, label, choice;
  bool as_good_as(const StageLabel& y) const { return value <= y.value && sum <= y.sum && a <= y.a && b <= y.b; }
};

class PipelineSearch {
 public:
  PipelineSearch(const PipelineProblem& problem, const Degrees& degrees, const Lattice& lattice,
                 const SearchControl& control, Stopwatch& watch)
      : p_(problem),
        degrees_(degrees),
        lattice_(lattice),
        watch_(watch),
        knapsack_(problem),
        max_labels_(control.budget_bytes / 2 / sizeof(StageLabel)),
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
    cost_limit_ = infinity;
    walk_all();
    return best_;
  }
  // The least sum for a batch that is at most `known`, or infinity; plans near it stay for frontier().
  double run_batch(double known) {
    batch_ = true;
    lower_cost_limit(known * near_best);
    walk_all();
    return best_;
  }

  std::vector<LayerStage> stages() {
    const auto& last = labels_.back();
    for (size_t i = 0; i < last.size(); i++)
      if (last[i].value == best_) return stages(i);
    return {};
  }
  // Plans whose sum for a batch is within a few percent of the least, best first.
  std::vector<std::vector<LayerStage>> frontier() {
    std::vector<std::pair<double, size_t>> order;
    for (size_t i = 0; i < labels_.back().size(); i++)
      if (cost(labels_.back()[i]) <= cost_limit_) order.emplace_back(cost(labels_.back()[i]), i);
    std::sort(order.begin(), order.end());
    std::vector<std::vector<LayerStage>> out;
    for (size_t i = 0; i < std::min(order.size(), max_judged); i++) out.push_back(stages(order[i].second));
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

  double cost(const StageLabel& l) const { return static_cast<double>(p_.microbatches - 1) * l.value + l.sum; }
  // No stage may then be slower than what is left when the sum is the least there is.
  void lower_cost_limit(double limit) {
    if (limit >= cost_limit_) return;
    cost_limit_ = limit;
    auto n = static_cast<double>(p_.microbatches);
    double others = total_work() / static_cast<double>(p_.devices);
    limit_ = limit / n;
    if (n > 1) limit_ = std::max(limit_, (limit - others) / (n - 1));
    limit_ *= 1 + 1e-12;  // limits are exclusive
  }

  void walk_all() {
    best_ = infinity;
    open_ = infinity;
    label_count_ = 0;
    labels_.assign(lattice_.size(), {});
    labels_[0].insert({0, 0, 0, 0, 0, 0, 0});
    IntervalWalk walk(lattice_);
    StagePath path(p_, degrees_);
    for (uint32_t from = 0; from + 1 < lattice_.size() && !out_of_budget_; from++) {
      const auto& here = labels_[from];
      if (here.empty()) continue;
      path.limit = limit_;
      path.devices_left = 0;
      path.replicas_behind = std::numeric_limits<int32_t>::max();
      for (const StageLabel& l : here) {
        path.devices_left = std::max(path.devices_left, p_.devices - l.a);
        path.replicas_behind = std::min(path.replicas_behind, l.b);
      }
      int64_t pushes = walk.run(from, path, [&](uint32_t to) { extend(from, to, path); });
      if (watch_.spend(pushes, best_) || label_count_ > max_labels_) out_of_budget_ = true;
    }
  }

  std::vector<LayerStage> stages(size_t at) {
    std::vector<LayerStage> out;
    uint32_t to = lattice_.size() - 1;
    while (to != 0) {
      StageLabel label = labels_[to][at];
      LayerStage stage;
      stage.nodes = vertices_between(lattice_, label.ideal, to);
      std::reverse(stage.nodes.begin(), stage.nodes.end());
      stage.tensor = degrees_.tensor[label.choice / degrees_.data.size()];
      stage.data = degrees_.data[label.choice % degrees_.data.size()];
      double enough = batch_ ? 0 : label.value;
      stage.config =
          knapsack_.choose(stage.nodes, stage.data, stage.tensor, ceiling(label.b, stage.data), enough, infinity)
              .config;
      out.push_back(std::move(stage));
      to = label.ideal;
      at = label.label;
    }
    return out;
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
        double time = path.least_time(t, d), enough = batch_ ? 0 : infinity;
        for (const StageLabel& l : labels_[from]) enough = std::min(enough, l.value);
        if (time >= limit_) continue;
        auto choice = static_cast<uint32_t>(t * degrees_.data.size() + i);
        int64_t known_for = -1;
        double known = 0;  // time at that many microbatches in flight
        for (uint32_t l = 0; l < labels_[from].size(); l++) {
          const StageLabel& before = labels_[from][l];
          StageLabel next{std::max(before.value, time),
                          batch_ ? before.sum + time : 0,
                          before.a + devices,
                          before.b + d,
                          from,
                          l,
                          choice};
          if (next.a > p_.devices || (next.b > p_.microbatches && p_.samples == 0) || next.value >= limit_) continue;
          auto left = static_cast<double>(p_.devices - next.a);
          if (!last && rest > left * limit_) continue;
          if (batch_ && cost(next) + (rest > 0 ? rest / left : 0) > cost_limit_) continue;
          if (labels_[to].beaten(next)) continue;
          int64_t in_flight = ceiling(next.b, d);
          if (in_flight != known_for) {
            known_for = in_flight;
            known = stage_time(path, t, d, in_flight, time, enough);
          }
          next.value = std::max(next.value, known);
          if (batch_) next.sum = before.sum + known;
          if (next.value >= limit_ || (batch_ && cost(next) > cost_limit_)) continue;
          label_count_ += labels_[to].insert(next);
          if (last && batch_) {
            best_ = std::min(best_, cost(next));
            lower_cost_limit(best_ * near_best);
          } else if (last) {
            limit_ = best_ = std::min(best_, next.value);
          }
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
  size_t max_labels_, label_count_ = 0;
  uint32_t stride_;
  double limit_ = infinity, cost_limit_ = infinity, best_ = infinity, open_ = infinity;
  bool out_of_budget_ = false, batch_ = false;
  std::vector<LabelSetOf<StageLabel>> labels_;
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

// From the plan with the least slowest stage to the one with the least time for the batch.
void refine_for_batch(const PipelineProblem& p, PipelineSearch& search, bool complete, PipelineOutcome& out) {
  out.objective = "batch-time";
  double slowest_bound = *out.lower_bound, known = evaluate_pipeline(p, out.stages).batch_sum;
  double least = std::min(known, search.run_batch(known));
  bool proven = complete && !search.out_of_budget() && search.open() == infinity;
  out.lower_bound = proven ? least : static_cast<double>(p.microbatches) * slowest_bound;
  std::vector<std::vector<LayerStage>> plans = search.frontier();
  plans.push_back(out.stages);
  out.value = infinity;
  for (std::vector<LayerStage>& plan : plans) {
    PipelineScore score = evaluate_pipeline(p, plan);
    if (!score.violation.empty() || score.batch_time >= out.value) continue;
    out.value = score.batch_time;
    out.stages = std::move(plan);
  }
  out.optimal = proven && out.value <= least * (1 + 1e-12);
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
  Lattice lattice = chain_lattice(order);
  bool whole = problem.graph.nodes.size() <= max_vertices && !watch.ended();
  if (whole) {
    lattice = build_lattice(behind, order, max_ideals, control);
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
  out.lower_bound = bound;
  if (best < infinity) {
    out.feasible = true;
    out.value = best;
    out.optimal = proven;
    if (problem.whole_batch) {
      PipelineSearch search(problem, degrees, lattice, control, watch);
      refine_for_batch(problem, search, whole && lattice.complete, out);
    }
  } else {
    out.reason = proven ? "no pipeline fits the devices' memory"
                        : "no pipeline that fits the devices' memory was found; none is ruled out";
  }
  out.proposals = watch.proposals();
  out.seconds = watch.seconds();
  return out;
}

}  // namespace pando::plan
