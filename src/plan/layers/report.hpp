// The JSON report of a search.
#pragma once
#include "plan/layers/files.hpp"

namespace pando::plan {

// What every report holds. Stages, groups or pieces are added by the caller; see finish().
Json report_of(const SearchOutcome& outcome);
PlanResult finish(const SearchOutcome& outcome, const Json& report);

// Throws internal when the evaluator finds the plan illegal or its value other than the search said.
void require_agreement(const SearchOutcome& outcome, double value, const std::string& violation);

PlanResult report_placement(const PlacementProblem& problem, const PlacementOutcome& outcome, bool contiguous);
PlanResult report_network(const NetworkProblem& problem, const NetworkOutcome& outcome);
PlanResult report_chain(const LayerTable& table, const TableOutcome& outcome);
PlanResult report_layer_memory(const MemoryProblem& problem, const MemoryOutcome& outcome);
PlanResult report_pipeline(const PipelineProblem& problem, const PipelineOutcome& outcome);

}  // namespace pando::plan
