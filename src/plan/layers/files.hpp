// The papers' input files: what they hold, their readers, and one entry that plans any of them.
#pragma once
#include <string>

#include "pando/plan.hpp"
#include "plan/layers/json_fields.hpp"
#include "plan/layers/layer_memory.hpp"
#include "plan/layers/layer_table.hpp"
#include "plan/layers/network.hpp"
#include "plan/layers/pipeline.hpp"
#include "plan/layers/placement.hpp"

namespace pando::plan {

// Readers throw invalid_model with one line that names the place. The request's flags override the file.
PlacementProblem read_placement(const Json& file, const PlanRequest& request);
PipelineProblem read_pipeline(const Json& file, const PlanRequest& request);
NetworkProblem read_network(const Json& file, const PlanRequest& request);
MemoryProblem read_layer_memory(const Json& file, const PlanRequest& request, const Cluster& cluster);
LayerTable read_layer_table(const std::string& text, const PlanRequest& request);

// Recognises the text by its keys, searches, re-scores the plan by the evaluator, and writes the report. `machine`: the
// devices, for files that do not bring their own; else null. Throws invalid_model, invalid_argument; internal when
// evaluator and search disagree.
PlanResult plan_layers(const std::string& text, const PlanRequest& request, const SearchControl& control,
                       const Cluster* machine = nullptr);

}  // namespace pando::plan
