// What a simulated plan is told as: JSON with times in seconds, sizes in bytes, unknown values null.
#pragma once
#include <nlohmann/json.hpp>

#include "plan/search/search.hpp"
#include "plan/simulate/staged.hpp"

namespace pando::plan {

// iteration_seconds, samples_per_second, bytes_moved, tasks, devices, links, critical_path of a plan.
nlohmann::json prediction_json(const Space& space, const CostModel& costs, const TaskOptions& tasks,
                               const std::vector<Config>& configs, int64_t memory_limit);
// The same of a plan that is a pipeline, and its stages.
nlohmann::json stages_json(const Space& space, const CostModel& costs, const StagedPrediction& prediction,
                           int64_t memory_limit);
// The report of a search: how it went, the best plan's prediction, the plans that it was compared with.
nlohmann::json search_json(const Space& space, const CostModel& costs, const SearchOptions& options,
                           const SearchResult& result);
// Every task as an event for Chrome's tracing page and Perfetto: one row per device and per link.
std::string trace_json(const TaskGraph& graph, const Timeline& timeline);

}  // namespace pando::plan
