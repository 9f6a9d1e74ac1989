// pando emulate: a plan for real on logical devices; pando costs: times of real kernels for the cost models.
#include "pando/emulate.hpp"

#include <fmt/format.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "cli/commands.hpp"
#include "cli/files.hpp"
#include "cli/inputs.hpp"
#include "cli/npy.hpp"
#include "cli/printable.hpp"
#include "cli/progress.hpp"
#include "cli/simulate.hpp"

namespace pando::cli {
namespace {

using nlohmann::json;

struct EmulateSettings {
  ModelPlanSettings plan;
  CommonOptions common;  // of inputs
  std::string folder;
  bool random_inputs = false, wall = false;
  int runs = 3;
  std::vector<std::string> plan_files;  // costs
};

// What run's flags say about inputs, and the shapes that they settle.
InputSource feed(EmulateSettings& s, const Model& model, bool draw_missing) {
  s.common.model = s.plan.request.model;
  s.common.shapes = s.plan.shapes;
  s.common.seed = s.plan.request.seed;
  check_common(s.common);
  InputSource source(s.common, model);
  if (!draw_missing) source.require_all();
  s.plan.request.shapes = source.shapes();
  return source;
}

void emulate(EmulateSettings s) {
  s.plan.request.plan = read_file(s.plan.plan_file);
  Model model = Model::load(s.plan.request.model);
  InputSource source = feed(s, model, s.random_inputs || s.folder.empty());
  EmulateRequest request;
  static_cast<SimulateRequest&>(request) = s.plan.request;
  request.input = [&](const Port& port) { return source.make(port); };
  request.runs = s.runs;
  request.wall = s.wall;
  EmulateResult result = emulate_model_plan(request);
  if (!s.plan.json_file.empty()) write_file(s.plan.json_file, result.report);
  json r = parse_printable(result.report);
  fmt::print("predicted  {:.3f} ms ({})\n{:<10} {:.3f} ms, median of {}\nerror      {:+.1f} %\n",
             r["predicted_seconds"].get<double>() * 1e3, r["cost_model"].get<std::string>(),
             s.wall ? "wall" : "emulated", r["emulated_seconds"].get<double>() * 1e3, s.runs,
             100 * (r["error"].is_number() ? r["error"].get<double>() : 0));
  fmt::print("copied     {:.1f} MB\noutputs    {}\n", r["bytes_copied"].get<double>() * 1e-6,
             result.max_difference == 0 ? std::string("bits of the unsplit run")
                                        : fmt::format("within {:.2g} of the unsplit run", result.max_difference));
  if (s.folder.empty()) return;
  make_folder(s.folder);
  std::vector<std::string> names;
  for (const Port& port : model.outputs()) names.push_back(port.name);
  names = file_names(names);
  for (size_t i = 0; i < names.size(); i++)
    write_file(fmt::format("{}/{}.npy", s.folder, names[i]), npy_bytes(result.outputs[i]), false);
}

void costs(EmulateSettings s) {
  Model model = Model::load(s.plan.request.model);
  InputSource source = feed(s, model, true);
  CostsRequest request;
  static_cast<SimulateRequest&>(request) = s.plan.request;
  for (const std::string& file : s.plan_files) request.plans.push_back(read_file(file));
  request.input = [&](const Port& port) { return source.make(port); };
  request.runs = s.runs;
  ProgressBar bar;
  request.measured = [&](double done) {
    bar.show("measure", done);
    return true;
  };
  std::string text = measure_model_costs(request);
  bar.clear();
  write_file(s.plan.output, text);
  fmt::print("{} points -> {}\n", json::parse(text)["points"].size(), s.plan.output);
}

void add_common_flags(CLI::App& c, EmulateSettings& s) {
  c.add_option("MODEL", s.plan.request.model, "ONNX file")->required();
  add_model_plan_options(c, s.plan);
  c.add_option("--batch", s.plan.request.batch, "global batch: the first dimension of every input")
      ->check(CLI::Range(1, 1 << 24));
  c.add_option("--input", s.common.inputs, "NAME=FILE.npy, once per input")
      ->type_name("NAME=FILE")
      ->expected(1)
      ->take_all()
      ->allow_extra_args(false);
  c.add_option("--inputs", s.common.inputs_file, "JSON file that says what to feed, per model and input")
      ->type_name("FILE");
  c.add_option("--seed", s.plan.request.seed, "of random inputs")->check(not_negative)->capture_default_str();
  c.add_option("--runs", s.runs, "timed runs, of which the median counts")
      ->check(CLI::Range(1, 100'000))
      ->capture_default_str();
}

}  // namespace

Command add_emulate(CLI::App& app) {
  auto s = std::make_shared<EmulateSettings>();
  CLI::App& c = *app.add_subcommand("emulate", "Runs a plan for real on logical devices that share this machine.");
  add_common_flags(c, *s);
  c.get_option("--machine")->required();
  c.add_option("--plan", s->plan.plan_file, "plan file")->required()->type_name("FILE");
  c.add_option("--edit", s->plan.request.edits, "change before running: 'OP: sample=4, devices=0-3'")
      ->expected(1)
      ->take_all()
      ->allow_extra_args(false);
  c.add_flag("--random-inputs", s->random_inputs, "draw the inputs that are not given, also for --output-dir");
  c.add_option("--output-dir", s->folder, "write the outputs here; made if missing")->type_name("DIR");
  c.add_flag("--wall", s->wall, "in real time: every device is a thread on a CPU of its own");
  c.add_option("--json", s->plan.json_file, "write the report here")->type_name("FILE");
  return [s] { emulate(*s); };
}

Command add_costs(CLI::App& app) {
  auto s = std::make_shared<EmulateSettings>();
  CLI::App& c = *app.add_subcommand("costs", "Measures what parts of a model's operators take here.");
  add_common_flags(c, *s);
  s->plan.request.machine = "host";
  c.add_option("--plan", s->plan_files, "plan whose parts are measured, for the same machine; any number of them")
      ->type_name("FILE")
      ->expected(1)
      ->take_all()
      ->allow_extra_args(false);
  c.add_option("-o,--output", s->plan.output, "write the cost file here")->required()->type_name("FILE");
  return [s] { costs(*s); };
}

}  // namespace pando::cli
