// The report of a simulated plan: JSON with times in seconds, sizes in bytes, unknown values null.
#pragma once
#include <nlohmann/json.hpp>

#include "plan/search/search.hpp"
#include "plan/simulate/staged.hpp"

namespace pando::plan {

inline double seconds(int64_t ns) { return static_cast<double>(ns) * 1e-9; }

// The operator that a block's time is charged to: the one that computes, who made what is moved, who is first to share
// parameters. Not of a barrier.
uint32_t operator_of(const TaskGraph& graph, uint32_t block);
// Per device: the time of all transfers that it takes part in.
std::vector<int64_t> device_transfer_ns(const TaskGraph& graph);

// "OPERATOR (gradient of inputs)", "transfer from OPERATOR" ...
std::string task_name(const TaskGraph& graph, uint32_t block);
// Tasks (block << 32 | task) from the first to the last: from the end back to the task that each waited for, the task
// before it on a device or link, or an operand.
std::vector<uint64_t> critical_path(const TaskGraph& graph, const Timeline& timeline);

// iteration_seconds, samples_per_second, bytes_moved, tasks, devices, links, critical_path of a plan.
nlohmann::json prediction_json(const TaskGraph& graph, const Timeline& timeline, int64_t memory_limit);
// The same of a plan that is a pipeline, and its stages.
nlohmann::json stages_json(const Space& space, const CostModel& costs, const StagedPrediction& prediction,
                           int64_t memory_limit);
// The report of a search: how it went, the best plan's prediction, the plans that it was compared with.
nlohmann::json search_json(const Space& space, const CostModel& costs, const SearchOptions& options,
                           const SearchResult& result);

}  // namespace pando::plan
