// pando machine, pando simulate, and what pando plan does when it is given a machine.
#include "cli/simulate.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/commands.hpp"
#include "cli/files.hpp"
#include "cli/interrupt.hpp"
#include "cli/options.hpp"
#include "cli/printable.hpp"
#include "cli/progress.hpp"
#include "cli/session.hpp"

namespace pando::cli {
namespace {

using nlohmann::json;

std::string ms_text(const json& seconds) { return fmt::format("{:.3f} ms", seconds.get<double>() * 1e3); }
double gib(double bytes) { return bytes / (1 << 30); }

double peak(const json& report) {
  double most = 0;
  for (const json& d : report["devices"]) most = std::max(most, d["peak_memory_bytes"].get<double>());
  return most;
}

void print_stages(const json& r) {
  if (!r.contains("stages")) return;
  fmt::print("schedule   {}, {} micro-batches, idle {:.1f} %\n\n{:>6} {:>12} {:>12} {:>12} {:>10}  operators\n",
             r["schedule"].get<std::string>(), r["micro_batches"].get<int64_t>(), 100 * r["idle_share"].get<double>(),
             "stage", "forward ms", "backward ms", "transfer ms", "in flight");
  size_t i = 0;
  for (const json& s : r["stages"])
    fmt::print("{:>6} {:>12.3f} {:>12.3f} {:>12.3f} {:>10}  {} ... {}\n", i++, s["forward_s"].get<double>() * 1e3,
               s["backward_s"].get<double>() * 1e3, s["transfer_s"].get<double>() * 1e3, s["in_flight"].get<int>(),
               s["operators"].front().get<std::string>(), s["operators"].back().get<std::string>());
}

void print_compared(const json& r) {
  fmt::print("\n{:<24} {:>14} {:>14} {:>10} {:>12}\n", "plan", "time", "by formula", "peak GiB", "moved MB");
  auto row = [](const std::string& name, const json& c, double memory) {
    const json& formula = c["formula_seconds"];
    fmt::print("{:<24} {:>14} {:>14} {:>10.2f} {:>12.1f}{}\n", name, ms_text(c["iteration_seconds"]),
               formula.is_number() ? ms_text(formula) : "-", gib(memory), c["bytes_moved"].get<double>() * 1e-6,
               c["feasible"].get<bool>() ? "" : "  does not fit");
  };
  for (const json& c : r["compared"]) row(c["name"], c, c["peak_memory_bytes"].get<double>());
  row(r["search"].get<std::string>() + " (found)", r, peak(r));
}

void load_shapes(ModelPlanSettings& s) {
  for (const std::string& text : s.shapes) {
    NamedShape shape = parse_shape(text);
    s.request.shapes[shape.name] = shape.shape;
  }
}

void write_results(const ModelPlanSettings& s, const SimulateResult& result) {
  if (!s.json_file.empty()) write_file(s.json_file, result.report);
  if (!s.trace_file.empty()) write_file(s.trace_file, result.trace);
  if (!s.html_file.empty()) write_file(s.html_file, result.html);
  if (!result.feasible) throw NoPlan(result.reason);
  if (!s.output.empty()) write_file(s.output, result.plan);
}

void simulate(ModelPlanSettings s) {
  load_plan(s);
  s.request.trace = !s.trace_file.empty();
  s.request.html = !s.html_file.empty();
  SimulateResult result = simulate_model_plan(s.request);
  write_results(s, result);
  json report = parse_printable(result.report);
  print_prediction(report);
  print_stages(report);
  print_devices(report);
}

struct CoreSettings {
  std::vector<int> cores;
  std::vector<double> speeds;
  std::string policy = "depth-first";
  bool measure = false;
  int runs = 11;
};

double measured_ms(CommonOptions common, int threads, int runs) {
  common.threads = threads;
  Session session = prepare(common);
  std::vector<double> ms;
  for (int i = 0; i < runs + 2; i++) {
    auto begin = std::chrono::steady_clock::now();
    session.run();
    if (i >= 2)
      ms.push_back(std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count());
  }
  std::nth_element(ms.begin(), ms.begin() + runs / 2, ms.end());
  return ms[static_cast<size_t>(runs / 2)];
}

// The prediction for one number of cores, the model being cut for it.
json predict(CommonOptions common, const CoreSettings& c, const std::string& policy, int cores) {
  common.policy = policy;
  common.cores = cores;
  Session session = prepare(common);
  PredictOptions options;
  options.cores = {cores};
  options.speeds = c.speeds;
  options.runs = c.runs;
  options.cancel = interrupt_token();
  json report = json::parse(session.model->predict_json(session.input_data, session.output_data, options));
  report["cores"][0]["tiles"] = report["tiles"];
  return report;
}

// Beside the policy: what waiting for every operator would cost, and equal shares of it per core.
json core_row(const CommonOptions& common, const CoreSettings& c, int cores, double one_core_ms) {
  json row = predict(common, c, c.policy, cores)["cores"][0];
  row["speedup"] = one_core_ms / std::max(row["predicted_ms"].get<double>(), 1e-6);
  const json barrier = c.policy == "barrier" ? row : predict(common, c, "barrier", cores)["cores"][0];
  row["barrier_ms"] = barrier["predicted_ms"];
  row["static_ms"] = barrier["static_ms"];
  return row;
}

void print_cores(const json& report, bool measured) {
  fmt::print("policy     {}\none core   {:.3f} ms measured, {} ns between two tiles\n\n",
             report["policy"].get<std::string>(), report["measured_one_core_ms"].get<double>(),
             report["tile_overhead_ns"].get<int>());
  fmt::print("{:>6} {:>8} {:>13} {:>9} {:>8} {:>8} {:>11} {:>11} {:>12}\n", "cores", "tiles", "predicted ms", "speedup",
             "idle %", "steals", "barrier ms", "static ms", measured ? "measured ms" : "");
  for (const json& row : report["cores"])
    fmt::print("{:>6} {:>8} {:>13.3f} {:>9.2f} {:>8.1f} {:>8} {:>11.3f} {:>11.3f} {:>12}\n", row["cores"].get<int>(),
               row["tiles"].get<int>(), row["predicted_ms"].get<double>(), row["speedup"].get<double>(),
               100 * row["idle_fraction"].get<double>(), row["steals"].get<int>(), row["barrier_ms"].get<double>(),
               row["static_ms"].get<double>(),
               row.contains("measured_ms") ? fmt::format("{:.3f}", row["measured_ms"].get<double>()) : "");
}

// The tiles of a model on cores of this kind, cut for each number of them.
void simulate_cores(const ModelPlanSettings& s, const CoreSettings& c) {
  for (double speed : c.speeds)
    if (!(speed > 0)) throw UsageError(fmt::format("--speeds: {} is no speed, expected more than 0", speed));
  CommonOptions common;
  common.model = s.request.model;
  common.shapes = s.shapes;
  common.policy = c.policy;
  common.threads = 1;
  check_common(common);
  CoreSettings alone = c;
  alone.speeds.clear();
  json report = predict(common, alone, c.policy, 1);
  const double one = report["cores"][0]["predicted_ms"];
  report["cores"] = json::array();
  const int most = Engine().threads();
  for (int n : c.cores) {
    json row = core_row(common, c, n, one);
    if (c.measure && n <= most) row["measured_ms"] = measured_ms(common, n, c.runs);
    report["cores"].push_back(std::move(row));
  }
  if (!s.json_file.empty()) write_file(s.json_file, report.dump(1) + "\n");
  print_cores(report, c.measure);
}

struct MachineSettings {
  std::string name, output;
  bool measure = false;
};

void machine(const MachineSettings& s) {
  if (s.measure && !s.name.empty() && s.name != "host")
    throw UsageError(fmt::format("machine {} --measure: only the machine at hand can be measured", s.name));
  if (s.name.empty() && !s.measure) {
    for (const std::string& name : machine_names()) fmt::print("{}\n", name);
    return;
  }
  std::string text = s.measure ? measure_machine() : describe_machine(s.name);
  if (s.output.empty()) fmt::print("{}", text);
  else write_file(s.output, text);
}

}  // namespace

void print_prediction(const json& r) {
  fmt::print("time       {} per iteration", ms_text(r["iteration_seconds"]));
  if (r["samples_per_second"].is_number()) fmt::print(", {:.1f} samples/s", r["samples_per_second"].get<double>());
  fmt::print("\n");
  if (r["tasks"].is_number())
    fmt::print("tasks      {}\nmoved      {:.1f} MB\n", r["tasks"].get<uint64_t>(),
               r["bytes_moved"].get<double>() * 1e-6);
  fmt::print("memory     {:.2f} GiB at most on a device\ncosts      {}\n", gib(peak(r)),
             r["cost_model"].get<std::string>());
  if (r.contains("cost_note") && r["cost_note"].is_string())
    fmt::print("           {}\n", r["cost_note"].get<std::string>());
  if (r.contains("cost_missing") && !r["cost_missing"].empty())
    fmt::print("           {} boxes were not measured, the first: {}\n", r["cost_missing"].size(),
               r["cost_missing"][0].get<std::string>());
}

void print_devices(const json& r) {
  fmt::print("\n{:>6} {:>12} {:>12} {:>12} {:>10}\n", "device", "busy ms", "idle ms", "transfer ms", "peak GiB");
  size_t shown = 0;
  for (const json& d : r["devices"]) {
    if (++shown > 16) {
      fmt::print("   ... {} devices in all\n", r["devices"].size());
      break;
    }
    fmt::print("{:>6} {:>12.3f} {:>12.3f} {:>12} {:>10.2f}\n", d["id"].get<int>(), d["busy_s"].get<double>() * 1e3,
               d["idle_s"].get<double>() * 1e3,
               d["transfer_s"].is_number() ? fmt::format("{:.3f}", d["transfer_s"].get<double>() * 1e3) : "-",
               gib(d["peak_memory_bytes"].get<double>()));
  }
}

void load_plan(ModelPlanSettings& s) {
  load_shapes(s);
  s.request.plan = read_file(s.plan_file);
}

void parse_budget(const std::string& text, SimulateRequest& request) {
  if (text.empty()) return;
  double value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  std::string_view unit(end, static_cast<size_t>(text.data() + text.size() - end));
  if (error != std::errc() || !(value > 0) || !(value < 1e15) || (unit != "s" && !unit.empty()))
    throw UsageError(fmt::format("--budget {}: expected seconds like 30s or a number of proposals", text));
  if (unit == "s") request.budget_seconds = value;
  else request.budget_proposals = static_cast<int64_t>(value);
}

void add_model_plan_options(CLI::App& c, ModelPlanSettings& s) {
  SimulateRequest& r = s.request;
  c.add_option("--machine", r.machine, "the machine: a name (see pando machine) or a cluster file");
  c.add_option("--shape", s.shapes, "shape of an input with open dimensions, once per input")
      ->type_name("NAME:DxDxD")
      ->expected(1)
      ->take_all()
      ->allow_extra_args(false);
  c.add_flag("--training", r.training, "plan one training step instead of inference");
  c.add_option("--optimizer", r.optimizer, "sgd, momentum or adam")->check(CLI::IsMember({"sgd", "momentum", "adam"}));
  c.add_option("--gradients", r.gradients, "exchange them overlapped with the backward pass or after it")
      ->check(CLI::IsMember({"overlap", "after"}));
  c.add_option("--costs", r.costs, "roofline (default), measured:FILE, fitted:FILE or table:FILE");
  c.add_option("--collective", r.collective, "ring, hierarchical or auto")
      ->check(CLI::IsMember({"ring", "hierarchical", "auto"}));
  c.add_option("--links", r.links, "serve who is ready first (fifo, default), or share their rate (fair)")
      ->check(CLI::IsMember({"fifo", "fair"}));
  c.add_option("--sharded-states", r.sharded_states,
               "among those who hold the same weights: 1 optimizer states, 2 and gradients, 3 and weights")
      ->check(CLI::Range(0, 3));
}

void add_plan_options(CLI::App& c, ModelPlanSettings& s) {
  c.add_option("MODEL", s.request.model, "ONNX file")->required();
  c.add_option("--plan", s.plan_file, "plan file")->type_name("FILE");
  add_model_plan_options(c, s);
  c.add_option("--batch", s.request.batch, "global batch: the first dimension of every input")
      ->check(CLI::Range(1, 1 << 24));
  c.add_option("--memory", s.request.memory, "bytes of one device (default: the machine's)")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 50));
  c.add_option("--edit", s.request.edits, "change before simulating: 'OP: sample=4, devices=0-3'")
      ->expected(1)
      ->take_all()
      ->allow_extra_args(false);
  c.add_option("--schedule", s.request.schedule, "the operators' devices are a pipeline's stages: how it runs")
      ->check(CLI::IsMember({"fill-drain", "1f1b", "interleaved", "two-buffered", "delayed-gradients"}));
  c.add_option("--microbatches", s.request.micro_batches, "of a pipeline: equal parts of the batch")
      ->check(CLI::Range(1, 1 << 20));
  c.add_option("--chunks", s.request.chunks, "of a pipeline: stages per device, with --schedule interleaved")
      ->check(CLI::Range(1, 1 << 10));
  c.add_option("--json", s.json_file, "write the report here")->type_name("FILE");
}

void search_model(ModelPlanSettings s) {
  load_shapes(s);
  if (!s.start_file.empty()) s.request.start = read_file(s.start_file);
  ProgressBar bar;
  double of = s.request.budget_seconds;
  bool memory = s.request.objective == "memory";
  s.request.progress = [&](double best, double seconds) {
    bar.show(memory ? fmt::format("best {:.3f} GiB", gib(best)) : fmt::format("best {:.3f} ms", best * 1e3),
             of < 1e9 ? seconds / of : 0);
  };
  SimulateResult result = search_model_plan(s.request);
  bar.clear();
  write_results(s, result);
  json report = parse_printable(result.report);
  print_prediction(report);
  fmt::print("search     {}: {} proposals in {:.2f} s\n", report["search"].get<std::string>(),
             report["proposals"].get<int64_t>(), report["seconds"].get<double>());
  const json& objective = report["objective"];
  if (objective["name"] == "max-load") fmt::print("max load   {}\n", ms_text(objective["value"]));
  print_compared(report);
}

Command add_simulate(CLI::App& app) {
  auto s = std::make_shared<ModelPlanSettings>();
  CLI::App& c =
      *app.add_subcommand("simulate", "Predicts time and memory of a plan on a machine that need not be here.");
  add_plan_options(c, *s);
  CLI::Option *plan = c.get_option("--plan"), *machine = c.get_option("--machine");
  machine->needs(plan);
  plan->needs(machine);
  auto cores = std::make_shared<CoreSettings>();
  CLI::Option* list = c.add_option("--cores", cores->cores, "instead: the tiles of this model on so many cores each")
                          ->delimiter(',')
                          ->expected(1, 64)
                          ->allow_extra_args(false)
                          ->type_name("N[,N]")
                          ->check(CLI::Range(1, 4096))
                          ->excludes(plan);
  c.add_option("--speeds", cores->speeds, "with --cores: of the cores against the one at hand, repeated")
      ->delimiter(',')
      ->expected(1, 4096)
      ->allow_extra_args(false)
      ->type_name("X[,X]")
      ->needs(list);
  c.add_option("--policy", cores->policy, "with --cores: depth-first, breadth-first or barrier")->needs(list);
  c.add_option("--runs", cores->runs, "with --cores: that tiles are timed in")->needs(list)->check(CLI::Range(1, 1000));
  c.add_flag("--measure", cores->measure, "with --cores: run it, too, on as many as there are here")->needs(list);
  c.add_option("-o,--output", s->output, "write the edited plan here")->type_name("FILE");
  c.add_option("--trace", s->trace_file, "write the timeline here, for Chrome's tracing page")->type_name("FILE");
  c.add_option("--html", s->html_file, "write a page with timelines, memory and costs here")->type_name("FILE");
  return [s, cores] {
    if (!cores->cores.empty()) return simulate_cores(*s, *cores);
    if (s->plan_file.empty()) throw UsageError("simulate: --plan and --machine, or --cores, are required");
    simulate(*s);
  };
}

Command add_machine(CLI::App& app) {
  auto s = std::make_shared<MachineSettings>();
  CLI::App& c =
      *app.add_subcommand("machine", "Prints and checks descriptions of machines; lists those that come along.");
  c.add_option("NAME|FILE", s->name, "a machine's name, N being its devices, or a cluster file");
  c.add_flag("--measure", s->measure, "the machine at hand, its rates measured");
  c.add_option("-o,--output", s->output, "write the cluster file here")->type_name("FILE");
  return [s] { machine(*s); };
}

}  // namespace pando::cli
