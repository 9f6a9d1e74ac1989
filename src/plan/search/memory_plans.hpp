// Plans of models for little memory: per operator how many devices share its samples, and what becomes of its result
// until its gradients need it.
#pragma once
#include <optional>

#include "plan/layers/memory_steps.hpp"
#include "plan/simulate/task_graph.hpp"

namespace pando::plan {

struct MemoryPlan {
  std::vector<Config> configs;
  double seconds = 0;     // the formula's, of an iteration
  int64_t bytes = 0;      // the formula's, resident on a device
  bool keeps_all = true;  // nothing is recomputed or offloaded
};

// The dynamic program over memory steps (memory_steps.hpp) with a model's operators, in topological order, as its
// layers. An option is a degree (the first 1, 2, 4 ... or all devices share the samples) and keep, or the cheaper of
// recompute and offload; times are those of the simulator's tasks on the slowest device that takes part:
//   time: forward + max(gradients + what comes back before them, exchange of gradients) + update
//   resident: weights, gradients and states, sharded as asked for, and the result if gradients need it
// Where the degree changes, an operator's inputs move; they are taken to come from the operator before it.
// The formula leaves out: branches (operators side by side, inputs from further back), links that are shared, results
// that live only for a while, received copies, gathered weights. So who calls simulates what comes out, and asks again
// for less room. Tensor degrees are no option here (`chain` has them), nor are the optimizer's states on the host,
// which the simulator does not know. Without training only degrees are left to choose. Not thread-safe.
class MemoryPlanner {
 public:
  // `memory`: of a device; a step is a 1,024th of it. `space` must outlive the planner.
  MemoryPlanner(const Space& space, const CostModel& costs, const TaskOptions& tasks, int64_t memory);
  // The fastest within `bytes` of a device, the leanest of one degree where that is too little; none: that does not fit
  // into `memory` either. `degree`: index of the only one; else operators may differ.
  std::optional<MemoryPlan> choose(uint8_t sharded_states, std::optional<size_t> degree, int64_t bytes) const;
  size_t degrees() const { return degrees_.size(); }

 private:
  struct Way {  // an operator at one degree
    Config config;
    double forward = 0, gradients = 0, recompute = 0, offload = 0, exchange = 0, update = 0;  // ns
    double trained = 0, constant = 0, result = 0;  // bytes: parameters, what gradients need
  };
  using Options = std::vector<std::pair<const Way*, Keep>>;
  double relayout_ns(uint32_t op, uint32_t from, uint32_t to) const;
  StepChain chain_of(uint8_t sharded_states, std::optional<size_t> degree, std::vector<Options>& options) const;
  const Space& space_;
  TaskOptions tasks_;
  double step_;  // bytes
  std::vector<uint32_t> degrees_;
  std::vector<std::vector<Way>> ways_;  // [operator][degree]
  std::vector<double> input_bytes_;     // per operator
};

}  // namespace pando::plan
