#include "plan/search/memory_plans.hpp"

#include <algorithm>
#include <cmath>
#include <set>

#include "plan/formulas.hpp"
#include "plan/search.hpp"
#include "plan/search/baselines.hpp"

namespace pando::plan {
namespace {

constexpr int64_t steps = 1024;  // of the memory that may be used

std::vector<uint32_t> degrees_of(size_t devices) {
  std::vector<uint32_t> out;
  for (uint32_t k = 1; k < devices; k *= 2) out.push_back(k);
  out.push_back(static_cast<uint32_t>(devices));
  return out;
}

double bytes_of(const Space& space, const Parameter& p) {
  return static_cast<double>(element_count(space.graph().shape(p.value))) *
         static_cast<double>(size_of(space.graph().values[p.value].dtype));
}

// Parameters that several operators read count at the first one.
struct Owned {
  double trained = 0, constant = 0;
  std::vector<const Parameter*> updated;
};
std::vector<Owned> owned_parameters(const Space& space) {
  std::vector<Owned> out(space.ops().size());
  std::set<ValueId> seen;
  for (size_t o = 0; o < out.size(); o++)
    for (const Parameter& p : space.ops()[o].parameters) {
      if (!seen.insert(p.value).second) continue;
      (p.update != none ? out[o].trained : out[o].constant) += bytes_of(space, p);
      if (p.update != none) out[o].updated.push_back(&p);
    }
  return out;
}

// Operators whose result their own gradients, or those of a reader, need again.
std::vector<bool> kept_results(const Space& space) {
  std::vector<bool> out(space.ops().size());
  for (size_t o = 0; o < out.size(); o++) out[o] = space.training() && space.ops()[o].output_kept;
  for (const Flow& f : space.flows())
    if (f.kept && space.stages()[f.from].role == Role::forward) out[space.stages()[f.from].op] = true;
  return out;
}

}  // namespace

MemoryPlanner::MemoryPlanner(const Space& space, const CostModel& costs, const TaskOptions& tasks, int64_t memory)
    : space_(space),
      tasks_(tasks),
      step_(std::max(1.0, static_cast<double>(memory) / steps)),
      degrees_(degrees_of(space.cluster().size())) {
  const Cluster& cluster = space.cluster();
  auto count = static_cast<uint32_t>(space.ops().size());
  std::vector<Owned> owned = owned_parameters(space);
  std::vector<bool> kept = kept_results(space);
  ways_.resize(count);
  for (uint32_t k : degrees_) {
    // As the baselines: with one device everything is on the fastest.
    TaskGraph graph(space, costs, tasks, k > 1 ? data_parallel_plan(space, k) : single_plan(space));
    for (uint32_t o = 0; o < count; o++) {
      const PlannedOp& op = space.ops()[o];
      Way w;
      w.config = graph.configs()[o];
      auto stage_ns = [&](uint32_t stage) {
        return stage == none ? 0.0 : static_cast<double>(slowest_ns(graph.blocks()[stage]));
      };
      w.forward = stage_ns(op.stages[0]);
      w.gradients = stage_ns(op.stages[1]) + stage_ns(op.stages[2]);
      w.recompute = w.forward;
      w.trained = owned[o].trained;
      w.constant = owned[o].constant;
      // What comes back is paid for before an operator's gradients: without any there is no time for it.
      bool gradients = op.stages[1] != none || op.stages[2] != none;
      const std::vector<int64_t>& results = graph.part_bytes(o, w.config.split).outputs;
      if (kept[o]) w.result = static_cast<double>(*std::max_element(results.begin(), results.end()));
      if (!gradients) w.recompute = w.offload = infinity;
      for (uint32_t d : w.config.devices) {
        const DeviceKind& kind = cluster.kind_of(d);
        w.offload = std::max(w.offload, kind.host_gb_per_s > 0 ? w.result / kind.host_gb_per_s : infinity);
        double update = 0;
        for (const Parameter* p : owned[o].updated)
          update +=
              static_cast<double>(costs.compute_ns(p->update_work[0], whole(space.graph().shape(p->value)), kind));
        w.update = std::max(w.update, update);
      }
      if (auto members = static_cast<uint32_t>(w.config.devices.size()); members > 1 && w.trained > 0) {
        auto bytes = static_cast<int64_t>(w.trained);
        int64_t known = costs.collective_ns(members, bytes);
        w.exchange = static_cast<double>(
            known >= 0 ? known : collective_cost(cluster, w.config.devices, tasks.collective, bytes).ns(bytes));
      }
      ways_[o].push_back(std::move(w));
    }
  }
  input_bytes_.assign(count, 0);
  for (const Flow& f : space.flows()) {
    const Stage &from = space.stages()[f.from], &to = space.stages()[f.to];
    if (from.role == Role::forward && to.role == Role::forward && from.op != to.op)
      input_bytes_[to.op] += static_cast<double>(element_count(f.origin_shape) * f.element_bytes);
  }
}

// The side with fewer devices sends or receives everything; gradients go the same way back.
double MemoryPlanner::relayout_ns(uint32_t op, uint32_t from, uint32_t to) const {
  if (from == to) return 0;
  Cluster::RouteCost route = space_.cluster().route_cost(0, std::max(from, to) - 1);
  double once = route.latency_ns + input_bytes_[op] / std::min(from, to) * route.ns_per_byte;
  return space_.training() ? 2 * once : once;
}

// Every option of every operator; `degree`: of this one only.
StepChain MemoryPlanner::chain_of(uint8_t sharded, std::optional<size_t> degree, std::vector<Options>& options) const {
  auto states = static_cast<double>(space_.optimizer_states());
  StepChain chain;
  chain.layouts = degree ? 1 : static_cast<int>(degrees_.size());
  for (uint32_t o = 0; o < ways_.size(); o++) {
    StepLayer& layer = chain.layers.emplace_back();
    Options& ways = options.emplace_back();
    for (int layout = 0; layout < chain.layouts; layout++) {
      const Way& w = ways_[o][degree.value_or(static_cast<size_t>(layout))];
      auto holders = static_cast<double>(w.config.devices.size());
      double resident = w.constant;
      if (space_.training())
        resident += w.trained * (states / (sharded >= 1 ? holders : 1) + 1 / (sharded >= 2 ? holders : 1) +
                                 1 / (sharded >= 3 ? holders : 1));
      double exchange = sharded == 3 ? 1.5 * w.exchange : w.exchange;
      double update = sharded >= 1 ? w.update / holders : w.update;
      auto add = [&](Keep keep, double back, double held) {
        double gradients = w.gradients + back;
        double rest = tasks_.gradients == Gradients::after ? gradients + exchange : std::max(gradients, exchange);
        // Rounded to the nearest: small operators are many, and who calls simulates.
        layer.options.push_back({w.forward + rest + update, std::llround((resident + held) / step_), layout});
        ways.push_back({&w, keep});
      };
      add(Keep::keep, 0, w.result);  // first: of equals the first is chosen
      double back = std::min(w.recompute, w.offload);
      if (w.result > 0 && back < infinity) add(w.offload < w.recompute ? Keep::offload : Keep::recompute, back, 0);
    }
    if (degree) layer.enter = {0};
    else
      for (uint32_t from : degrees_)
        for (uint32_t to : degrees_) layer.enter.push_back(relayout_ns(o, from, to));
  }
  return chain;
}

std::optional<MemoryPlan> MemoryPlanner::choose(uint8_t sharded, std::optional<size_t> degree, int64_t bytes) const {
  std::vector<Options> options;
  StepChain chain = chain_of(sharded, degree, options);
  // The leanest choice of one degree has to have room in any case.
  int64_t leanest = std::numeric_limits<int64_t>::max();
  for (int layout = 0; layout < chain.layouts; layout++) {
    int64_t sum = 0;
    for (const StepLayer& layer : chain.layers) {
      int64_t least = std::numeric_limits<int64_t>::max();
      for (const StepOption& option : layer.options)
        if (option.layout == layout) least = std::min(least, option.memory);
      sum += least;
    }
    leanest = std::min(leanest, sum);
  }
  if (leanest > steps) return {};
  auto wanted = static_cast<int64_t>(static_cast<double>(std::max<int64_t>(bytes, 0)) / step_);
  int64_t capacity = std::clamp<int64_t>(wanted, leanest, steps);
  StepTable table(chain, capacity);
  int end = 0;
  for (int layout = 1; layout < chain.layouts; layout++)
    if (table.least(capacity, layout) < table.least(capacity, end)) end = layout;
  std::vector<int> chosen = table.choose(capacity, end);
  MemoryPlan plan;
  plan.seconds = table.least(capacity, end) * 1e-9;
  int64_t used = 0;
  for (size_t o = 0; o < chosen.size(); o++) {
    used += chain.layers[o].options[static_cast<size_t>(chosen[o])].memory;
    const auto& [way, keep] = options[o][static_cast<size_t>(chosen[o])];
    plan.configs.push_back(way->config);
    plan.configs.back().keep = keep;
    plan.keeps_all = plan.keeps_all && keep == Keep::keep;
  }
  plan.bytes = static_cast<int64_t>(static_cast<double>(used) * step_);
  return plan;
}

}  // namespace pando::plan
