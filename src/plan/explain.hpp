// Why a plan takes as long as it does, and what would help: every "what if" is simulated.
#pragma once
#include <nlohmann/json.hpp>

#include "plan/report.hpp"

namespace pando::plan {

// prediction_json of the plan, and
//   limits   one line
//   path     what the critical path consists of, the longest first: {what: compute | link | update, name, seconds,
//            share}; transfers and exchanges count for the slowest link that they hold
//   memory   {device, peak_bytes, limit_bytes, peak_ns, weights_bytes, activations_bytes}, the fullest first
//   relief   {change, edit, iteration_seconds, gain, peak_memory_bytes, feasible}, the best first: the plan with a
//            link, or all like it, twice as fast; with an operator of the path cut into more parts (edit: the text that
//            makes the change); with other ways to exchange gradients; where memory is short with activations
//            recomputed or offloaded, and states sharded; gain: 1 - new / old time
// Nothing in it is estimated beyond the simulation itself.
nlohmann::json explain_plan(const Space& space, const CostModel& costs, const TaskOptions& tasks,
                            const std::vector<Config>& configs, int64_t memory_limit);

}  // namespace pando::plan
