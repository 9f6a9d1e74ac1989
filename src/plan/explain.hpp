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
//   formulas {name, seconds, error, terms, operators}: what the searches' formulas make of this plan, and which of
//   their
//            terms, {what, formula_s, simulated_s}, are wrong (plan/formulas.hpp); error: formula / simulated - 1
//   relief   {change, edit, iteration_seconds, gain, peak_memory_bytes, feasible}, the best first: the plan with a
//            link, or all like it, twice as fast; with an operator of the path cut into more parts (edit: the text that
//            makes the change); with other ways to exchange gradients; where memory is short with activations
//            recomputed or offloaded, and states sharded; gain: 1 - new / old time
// Nothing in it is estimated beyond the simulation itself.
nlohmann::json explain_plan(const Space& space, const CostModel& costs, const TaskOptions& tasks,
                            const std::vector<Config>& configs, int64_t memory_limit);

// The same of a plan that is a pipeline (stages_json first); `path` is about the slowest stage's devices: compute,
// wait, update; relief by other schedules, faster links, activations recomputed or offloaded. Throws as
// simulate_stages.
nlohmann::json explain_pipeline(const Space& space, const CostModel& costs, const TaskOptions& tasks,
                                const std::vector<Config>& configs, const PipelineOptions& pipeline,
                                int64_t memory_limit);

}  // namespace pando::plan
