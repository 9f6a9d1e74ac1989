// Searches over plans by name: baselines, exact ones over layers, a Markov chain, and `auto`, which runs all of them.
#pragma once
#include "plan/search.hpp"
#include "plan/search/mcmc.hpp"
#include "plan/simulate/memory.hpp"
#include "plan/simulate/pipeline.hpp"

namespace pando::plan {

struct SearchOptions {
  std::string search = "auto";  // see search_names()
  Objective objective = Objective::time;
  SearchControl control;  // without any budget: 20,000 proposals
  TaskOptions tasks;
  bool any_sharding = false;   // layer-memory may choose tasks.sharded_states
  int64_t memory_limit = 0;    // bytes per device; 0: the devices' own
  std::vector<Config> start;   // empty: the best baseline
  std::vector<bool> fixed;     // operators that keep their config of `start`; empty: none
  double temperature = 0.002;  // of the current time
  // For plans that are pipelines: the space of one micro-batch (or null: they are not looked for), and how it runs.
  const Space* micro = nullptr;
  PipelineOptions pipeline;
};

// A simulated plan.
struct Prediction {
  int64_t makespan_ns = 0;
  int64_t max_load_ns = 0;  // of the busiest device or link
  int64_t bytes_moved = 0;
  uint64_t tasks = 0;
  std::vector<DeviceMemory> memory;
  std::string infeasible;  // why; empty: it fits
};
Prediction predict(const Space& space, const CostModel& costs, const TaskOptions& tasks,
                   const std::vector<Config>& configs, int64_t memory_limit = 0);

struct Found {
  std::string name;
  std::vector<Config> configs;
  TaskOptions tasks;  // what it was simulated with: as asked for, but for sharded states and a pipeline's gradients
  Prediction prediction;
  std::optional<double> formula_seconds;    // what the search that found it took it for
  std::optional<PipelineOptions> pipeline;  // then the configs are those of a micro-batch
};
struct SearchResult {
  SearchOutcome outcome;  // seconds of an iteration, or bytes
  Found best;             // when feasible
  std::vector<Found>
      compared;  // single, data-parallel on 2, 4 ... all devices, expert; auto: what the exact ones found
};

// single, data-parallel, expert, random: no search. chain: see partition.hpp. ideals, ideals-linear, local, pipeline:
// layers in stages, as a pipeline of micro-batches where there is one (stages.hpp). layer-memory: degrees, what is kept
// and sharded states (memory_plans.hpp). mcmc: a Markov chain from the best baseline. auto: all of these (layer-memory
// for training, or where nothing else fits), then chains from the best four plans and one more from the best of all;
// never slower than any of them. Throws invalid_argument for an unknown name. Without a plan that fits,
// outcome.feasible is false and says why.
SearchResult search_plan(const Space& space, const CostModel& costs, const SearchOptions& options);
std::vector<std::string> search_names();
void check_search_name(const std::string& name);  // throws invalid_argument

}  // namespace pando::plan
