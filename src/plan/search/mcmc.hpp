// Markov chain over plans (Metropolis-Hastings), as in FlexFlow (Jia, Zaharia, Aiken, SysML 2019), with the acceptance
// threshold drawn before the simulation, which then stops as soon as it cannot be met. No decision changes by that.
#pragma once
#include <optional>

#include "base/random.hpp"
#include "plan/search.hpp"
#include "plan/simulate/simulator.hpp"

namespace pando::plan {

struct ChainOptions {
  double temperature = 0.002;  // of the current value
  uint64_t seed = 1;
  bool delta = true;
  bool early = true;         // stop simulations that cannot be accepted
  int64_t memory_limit = 0;  // bytes per device; 0: the devices' own; < 0: none
  std::vector<bool> fixed;   // operators that keep their config; empty: none
  Objective objective = Objective::time;
};

class Chain {
 public:
  Chain(const Space& space, const CostModel& costs, const TaskOptions& tasks, std::vector<Config> start,
        const ChainOptions& options);
  // One proposal; true when it was accepted.
  bool step();
  int64_t makespan() const { return simulator_.timeline().makespan; }
  int64_t best_value() const { return best_; }  // by the objective
  const std::vector<Config>& best() const { return best_configs_; }
  const TaskGraph& graph() const { return graph_; }
  const Simulator& simulator() const { return simulator_; }
  int64_t proposals() const { return proposals_; }

 private:
  using Change = std::vector<std::pair<uint32_t, Config>>;
  bool propose(Change& change);
  bool add_change(uint32_t op, Config config, Change& change);
  Config moved(uint32_t op, Config c);
  Config copied(uint32_t op, uint32_t neighbour);
  bool too_much_work(const Change& change, int64_t limit);
  int64_t value_of(const Timeline& timeline) const;
  std::optional<int64_t> propose(int64_t limit);
  bool too_much_memory(const Change& change);
  int64_t memory_of(uint32_t op, const Config& config, size_t part);

  const Space& space_;
  ChainOptions options_;
  TaskGraph graph_;
  Simulator simulator_;
  Random random_;
  std::vector<std::vector<Split>> splits_;
  std::vector<std::vector<uint32_t>> neighbours_, alike_;
  std::vector<uint32_t> free_ops_;
  std::vector<int64_t> work_, work_after_, memory_, memory_after_;  // per device
  int64_t value_ = 0, best_ = 0, best_time_ = 0, proposals_ = 0;    // best_time_: of equal values the faster
  std::vector<Config> best_configs_;
  bool bounded_ = false;
};

}  // namespace pando::plan
