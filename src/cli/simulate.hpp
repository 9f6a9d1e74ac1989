// What pando plan and pando simulate share where they plan models for machines.
#pragma once
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "pando/simulate.hpp"

namespace pando::cli {

struct ModelPlanSettings {
  SimulateRequest request;
  std::vector<std::string> shapes;  // NAME:DxDxD
  std::string plan_file, start_file, json_file, output, trace_file, html_file;
};

// Adds --machine, --shape, --training, --optimizer, --gradients, --collective.
void add_model_plan_options(CLI::App& command, ModelPlanSettings& settings);
// Reads the settings' shapes and plan file into the request.
void load_plan(ModelPlanSettings& settings);
// Adds MODEL, --plan, --batch, --memory, --edit, those of pipelines, --json and the options above.
void add_plan_options(CLI::App& command, ModelPlanSettings& settings);
// Prints time and memory of a report, and a row per device.
void print_prediction(const nlohmann::json& report);
void print_devices(const nlohmann::json& report);
// "30s" or "20000"; empty: no budget. Throws UsageError.
void parse_budget(const std::string& text, SimulateRequest& request);
// Searches, writes the files that are asked for, prints. Throws NoPlan.
void search_model(ModelPlanSettings settings);

}  // namespace pando::cli
