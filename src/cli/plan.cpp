#include "pando/plan.hpp"

#include <fmt/format.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "cli/commands.hpp"
#include "cli/files.hpp"
#include "cli/options.hpp"
#include "cli/printable.hpp"
#include "cli/progress.hpp"
#include "cli/simulate.hpp"

namespace pando::cli {
namespace {

using nlohmann::json;

struct LayerPlanSettings {
  PlanRequest request;
  std::string json_file;
  ModelPlanSettings model;  // with --machine: INPUT is an ONNX model
  std::string budget;
};

// At most `most` characters of a list, then how many there are.
std::string listed(const json& items, size_t most = 60) {
  std::string text;
  for (const json& item : items) {
    std::string next = item.is_string() ? item.get<std::string>() : item.dump();
    if (text.size() + next.size() > most) return text + fmt::format(" ... {} in all", items.size());
    text += (text.empty() ? "" : " ") + next;
  }
  return text;
}

std::string number(const json& value) { return value.is_number() ? fmt::format("{:.6g}", value.get<double>()) : "-"; }

void print_stages(const char* title, const json& stages) {
  fmt::print("\n{:<8} {:<12} {:>6} {:>7} {:>10} {:>12}  {}\n", title, "kind", "data", "tensor", "MB", "devices",
             "nodes");
  int i = 0;
  for (const json& s : stages)
    fmt::print("{:<8} {:<12} {:>6} {:>7} {:>10.1f} {:>12}  {}\n", i++, s["kind"].get<std::string>(),
               s["data"].get<int64_t>(), s["tensor"].get<int64_t>(), s["memory_bytes"].get<double>() * 1e-6,
               listed(s["devices"], 12), listed(s["nodes"]));
}

void print_plan(const json& report) {
  const json& objective = report["objective"];
  fmt::print("search     {}\n{:<10} {} {}{}\n", report["search"].get<std::string>(),
             objective["name"].get<std::string>(), number(objective["value"]), objective["unit"].get<std::string>(),
             report["optimal"].get<bool>() ? ", proven optimal" : "");
  fmt::print("bound      {} (gap {} %)\nseconds    {:.3f}\n", number(report["lower_bound"]),
             report["gap"].is_number() ? fmt::format("{:.2f}", 100 * report["gap"].get<double>()) : "-",
             report["seconds"].get<double>());
  if (report.contains("stages")) print_stages("stage", report["stages"]);
  if (report.contains("pieces")) print_stages("piece", report["pieces"]);
  if (report.contains("groups")) {
    fmt::print("\n{:<8} devices\n", "group");
    int i = 0;
    for (const json& group : report["groups"]) fmt::print("{:<8} {}\n", i++, listed(group, 100));
  }
  if (report.contains("layers")) {
    fmt::print(
        "memory     {:.2f} GB at most on a device, states {:.2f} GB\n\n{:<8} {:>6} {:>6} {:>7} {:>8}  {:<12} states\n",
        report["peak_memory_bytes"].get<double>() * 1e-9, report["state_bytes"].get<double>() * 1e-9, "layer", "count",
        "data", "tensor", "sharded", "activations");
    for (const json& l : report["layers"])
      fmt::print("{:<8} {:>6} {:>6} {:>7} {:>8}  {:<12} {}\n", l["first"].get<int64_t>(), l["count"].get<int64_t>(),
                 l["data"].get<int64_t>(), l["tensor"].get<int64_t>(), l["sharded_states"].get<int>(),
                 l["activations"].get<std::string>(), l["states"].get<std::string>());
  }
  if (report.contains("levels")) {
    fmt::print("\n{:<6} {:>14}  types per layer\n", "level", "elements");
    int i = 0;
    for (const json& level : report["levels"])
      fmt::print("{:<6} {:>14.0f}  {}\n", i++, level["elements_moved"].get<double>(), listed(level["types"], 200));
  }
}

// INPUT is a model that is split over the devices of a machine.
void plan_model(const LayerPlanSettings& settings, const CLI::App& given) {
  ModelPlanSettings model = settings.model;
  const PlanRequest& r = settings.request;
  for (const char* flag : {"--noncontiguous", "--devices", "--cpus", "--bandwidth", "--time-unit", "--no-data",
                           "--no-tensor", "--no-recompute", "--repeat-layers", "--groups", "--gradient-bytes",
                           "--activation-bytes", "--levels", "--shortcut", "--budget-bytes"})
    if (given.count(flag) > 0)
      throw UsageError(fmt::format("{}: of files of layers and networks, not of a model on a machine", flag));
  PlanRequest checked = r;
  checked.search.clear();
  model.request.model = r.input;
  if (!r.search.empty()) model.request.search = r.search;
  model.request.seed = r.seed;
  if (r.batch) model.request.batch = *r.batch;
  if (r.microbatches) model.request.micro_batches = *r.microbatches;
  if (r.memory && *r.memory >= 0)  // 0 bytes are little, not the machine's own
    model.request.memory = static_cast<int64_t>(std::clamp(*r.memory, 1.0, 1e15));
  if (given.count("--budget-seconds") > 0) model.request.budget_seconds = r.budget_seconds;
  if (!r.objective.empty()) model.request.objective = r.objective;
  checked.objective.clear();
  parse_budget(settings.budget, model.request);
  try {
    validate(checked);
    validate(model.request);
  } catch (const Error& e) {
    throw UsageError(e.what());
  }
  model.json_file = settings.json_file;
  search_model(std::move(model));
}

// ONNX files are no text that begins with a brace or a word.
bool is_text(const std::string& file) {
  constexpr size_t looked_at = 4096;
  std::string first = read_file(file, looked_at);
  first.erase(0, first.find_first_not_of(" \t\r\n"));
  return first.starts_with('{') || first.starts_with("num_layers");
}

void plan(const LayerPlanSettings& settings, const CLI::App& given) {
  PlanRequest request = settings.request;
  request.machine = settings.model.request.machine;
  if (!request.machine.empty() && !is_text(request.input)) return plan_model(settings, given);
  if (request.objective == "memory") throw UsageError("--objective memory: of a model, with --machine");
  if (!settings.budget.empty()) throw UsageError("--budget: of a model on a machine; else --budget-seconds");
  try {
    validate(request);
  } catch (const Error& e) {
    throw UsageError(e.what());
  }
  ProgressBar bar;
  request.progress = [&](double best, double seconds) {
    double of = request.budget_seconds;
    bar.show(fmt::format("best {:.6g}", best), of > 0 && of < 1e9 ? seconds / of : 0);
  };
  PlanResult result = make_plan(request);
  bar.clear();
  if (!settings.json_file.empty()) write_file(settings.json_file, result.json);
  if (!result.feasible) throw NoPlan(result.reason);
  print_plan(parse_printable(result.json));
}

template <class T>
void add(CLI::App& command, const char* flag, std::optional<T>& value, const char* help) {
  command.add_option(flag, value, help);
}

}  // namespace

Command add_plan(CLI::App& app) {
  auto settings = std::make_shared<LayerPlanSettings>();
  PlanRequest& r = settings->request;
  CLI::App& c = *app.add_subcommand("plan", "Searches for a plan: which part of a model goes where.");
  c.add_option("INPUT", r.input,
               "placement, pipeline, network or layers file (JSON), a table of layers, or an ONNX model")
      ->required();
  c.add_option(
      "--search", r.search,
      "ideals, ideals-linear, local, pipeline, geo, chain or layer-memory (default: by the file); for models: "
      "single, data-parallel, expert, random, chain, ideals, ideals-linear, local, pipeline, layer-memory, mcmc "
      "or auto (default)");
  c.add_option(
      "--objective", r.objective,
      "of placements: max-load (default) or latency; of pipelines: time, of a whole batch (default: of a sample); of "
      "models: time (default), latency, max-load or memory");
  c.add_flag("--noncontiguous", r.noncontiguous, "placements whose devices form no line");
  add(c, "--devices", r.devices, "accelerators");
  add(c, "--cpus", r.cpus, "CPUs of a placement");
  add(c, "--memory", r.memory, "bytes of one accelerator");
  add(c, "--microbatches", r.microbatches,
      "of a pipeline's batch; of a file of layers: passes of a step; of a model: for plans that are pipelines");
  add(c, "--bandwidth", r.bandwidth, "of a pipeline, bytes per second");
  c.add_option("--time-unit", r.time_unit, "of a pipeline's times: s or ms (default: s, numbers as they stand)");
  c.add_flag("--no-data", r.no_data, "pipelines without data parallelism");
  c.add_flag("--no-tensor", r.no_tensor, "pipelines without tensor parallelism");
  c.add_flag("--no-recompute", r.no_recompute, "pipelines that keep all activations");
  c.add_option("--repeat-layers", r.repeat_layers, "more copies of a pipeline's node 34");
  add(c, "--groups", r.groups, "of a network's devices (default: 8)");
  add(c, "--gradient-bytes", r.gradient_bytes, "exchanged within a group of a network");
  add(c, "--activation-bytes", r.activation_bytes, "sent between groups of a network");
  add(c, "--levels", r.levels, "of halving, for a table of layers (default: 7)");
  add(c, "--batch", r.batch,
      "of a table of layers (default: 512), of a file of layers; of a model: global, the inputs' first dimension");
  add(c, "--shortcut", r.shortcut, "layers per residual block of a table: 0, 2 or 3 (default: by its kernels)");
  c.add_option("--seed", r.seed, "of random searches")->check(not_negative)->capture_default_str();
  c.add_option("--budget-seconds", r.budget_seconds,
               "then the best plan so far is taken (default: 60; of models: see --budget)");
  c.add_option("--budget-bytes", r.budget_bytes, "of the search's tables (default: 4e9)");
  add_model_plan_options(c, settings->model);
  c.add_option("--budget", settings->budget, "of a model's search: seconds like 30s, or proposals like 20000");
  c.add_option("--start", settings->model.start_file, "plan file that a model's search begins from")->type_name("FILE");
  c.add_option("--fix", settings->model.request.fix, "decision that the search holds: 'OP: sample=4, devices=0-3'")
      ->expected(1)
      ->take_all()
      ->allow_extra_args(false);
  c.add_option("-o,--output", settings->model.output, "write a model's plan here")->type_name("FILE");
  c.add_option("--json", settings->json_file, "write the report here")->type_name("FILE");
  return [settings, &c] { plan(*settings, c); };
}

}  // namespace pando::cli
