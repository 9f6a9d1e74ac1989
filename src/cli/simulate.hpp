// What pando plan and pando simulate share where they plan models for machines.
#pragma once
#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "pando/simulate.hpp"

namespace pando::cli {

struct ModelPlanSettings {
  SimulateRequest request;
  std::vector<std::string> shapes;  // NAME:DxDxD
  std::string plan_file, start_file, json_file, output, trace_file;
};

// Adds --machine, --shape, --training, --optimizer, --gradients, --collective.
void add_model_plan_options(CLI::App& command, ModelPlanSettings& settings);
// "30s" or "20000"; empty: no budget. Throws UsageError.
void parse_budget(const std::string& text, SimulateRequest& request);
// Searches, writes the files that are asked for, prints. Throws NoPlan.
void search_model(ModelPlanSettings settings);

}  // namespace pando::cli
