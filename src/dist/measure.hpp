// Measures what parts of operators take here, for the cost models of plan/.
#pragma once
#include <functional>

#include "dist/emulator.hpp"
#include "dist/reference_kernel.hpp"
#include "plan/cost/cost_file.hpp"

namespace pando::dist {

// A plan to measure: its space, and an emulator of that space.
struct MeasuredPlan {
  const plan::Space* space = nullptr;
  Emulator* emulator = nullptr;
  std::vector<plan::Config> configs;
};

// Runs the plans in turn, `runs` times after one that warms up, so that every part finds caches and memory as it does
// in a whole run. A part's time is the median of its runs; boxes that cost the same (box_key) share the mean of theirs.
// Times are those of a machine as fast as it was in the median. `progress(fraction)` returning false stops: cancelled.
plan::CostFile measure_costs(const std::vector<MeasuredPlan>& plans, int runs, double reference_ns = 0,
                             const std::function<bool(double)>& progress = {});

// Times of several runs of one plan, part by part: the medians.
PartTimes median_times(const std::vector<PartTimes>& runs);

// Plans to measure or to check a cost model with: `single`, data-parallel on 2, half and all devices, `expert`,
// `random` random ones, and `chain` from a Markov chain of the roofline. The same for the same seed.
std::vector<std::vector<plan::Config>> sample_plans(const plan::Space& space, int random, int chain, uint64_t seed);

}  // namespace pando::dist
