// Searches over plans by name: baselines, a Markov chain, and `auto`, which starts chains from the best baselines.
#pragma once
#include "plan/search.hpp"
#include "plan/search/mcmc.hpp"
#include "plan/simulate/memory.hpp"

namespace pando::plan {

struct SearchOptions {
  std::string search = "auto";  // single, data-parallel, expert, random, chain, mcmc, auto
  SearchControl control;        // without any budget: 20,000 proposals
  TaskOptions tasks;
  int64_t memory_limit = 0;    // bytes per device; 0: the devices' own
  std::vector<Config> start;   // empty: the best baseline
  std::vector<bool> fixed;     // operators that keep their config of `start`; empty: none
  double temperature = 0.002;  // of the current time
};

// A simulated plan.
struct Prediction {
  int64_t makespan_ns = 0;
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
  Prediction prediction;
};
struct SearchResult {
  SearchOutcome outcome;        // in seconds of an iteration
  Found best;                   // when feasible
  std::vector<Found> compared;  // single, data-parallel on 2, 4 ... all devices, expert
};

// Throws invalid_argument for an unknown name. Without a plan that fits, outcome.feasible is false and says why.
SearchResult search_plan(const Space& space, const CostModel& costs, const SearchOptions& options);
std::vector<std::string> search_names();

}  // namespace pando::plan
