// pando explain and pando diff: plans, for people.
#include <fmt/format.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "cli/commands.hpp"
#include "cli/files.hpp"
#include "cli/options.hpp"
#include "cli/printable.hpp"
#include "cli/simulate.hpp"

namespace pando::cli {
namespace {

using nlohmann::json;

constexpr size_t max_rows = 12;

double ms(const json& seconds) { return seconds.get<double>() * 1e3; }
double gib(const json& bytes) { return bytes.get<double>() / (1 << 30); }

void print_path(const json& path) {
  fmt::print("\n{:<10} {:>12} {:>7}  {}\n", "path", "ms", "share", "what");
  size_t shown = 0;
  for (const json& p : path) {
    if (++shown > max_rows) {
      fmt::print("... {} in all\n", path.size());
      break;
    }
    fmt::print("{:<10} {:>12.3f} {:>6.1f}%  {}\n", p["what"].get<std::string>(), ms(p["seconds"]),
               100 * p["share"].get<double>(), p["name"].get<std::string>());
  }
}

void print_memory(const json& memory) {
  fmt::print("\n{:>6} {:>10} {:>10} {:>12} {:>12} {:>12}\n", "device", "peak GiB", "of GiB", "at ms", "resident",
             "activations");
  for (size_t i = 0; i < std::min<size_t>(memory.size(), 4); i++) {
    const json& m = memory[i];
    fmt::print("{:>6} {:>10.2f} {:>10.2f} {:>12} {:>12.2f} {:>12.2f}\n", m["device"].get<int>(), gib(m["peak_bytes"]),
               gib(m["limit_bytes"]),
               m["peak_ns"].is_null() ? "-" : fmt::format("{:.3f}", m["peak_ns"].get<double>() * 1e-6),
               gib(m["weights_bytes"]), gib(m["activations_bytes"]));
  }
}

// What each formula gets most wrong: a term of it, and operators.
void print_formulas(const json& formulas) {
  fmt::print("\n{:<10} {:>12} {:>7}  {}\n", "formula", "ms", "error", "because it takes");
  auto wrong = [](const json& t) { return std::abs(t["formula_s"].get<double>() - t["simulated_s"].get<double>()); };
  auto told = [&](const json& t) {
    return fmt::format("{} for {:.3f} ms, simulated {:.3f}", t["what"].get<std::string>(), ms(t["formula_s"]),
                       ms(t["simulated_s"]));
  };
  for (const json& f : formulas) {
    std::string name = f["name"], time = fmt::format("{:.3f}", ms(f["seconds"]));
    std::string error = f["error"].is_null() ? "-" : fmt::format("{:+.1f}%", 100 * f["error"].get<double>());
    for (const char* list : {"terms", "operators"})
      for (const json& t : f[list]) {
        if (wrong(t) < 1e-7) continue;
        fmt::print("{:<10} {:>12} {:>7}  {}\n", name, time, error, told(t));
        name = time = error = "";
      }
    if (!name.empty()) fmt::print("{:<10} {:>12} {:>7}  nothing wrong\n", name, time, error);
  }
}

void print_relief(const json& relief) {
  fmt::print("\n{:>12} {:>7} {:>10}  {}\n", "then ms", "gain", "peak GiB", "with");
  for (const json& r : relief) {
    fmt::print("{:>12.3f} {:>6.1f}% {:>10.2f}  {}{}\n", ms(r["iteration_seconds"]), 100 * r["gain"].get<double>(),
               gib(r["peak_memory_bytes"]), r["change"].get<std::string>(),
               r["feasible"].get<bool>() ? "" : "  (does not fit)");
    if (r["edit"].is_string()) fmt::print("{:>33}--edit '{}'\n", "", r["edit"].get<std::string>());
  }
}

void explain(ModelPlanSettings s) {
  load_plan(s);
  SimulateResult result = explain_model_plan(s.request);
  if (!s.json_file.empty()) write_file(s.json_file, result.report);
  json report = parse_printable(result.report);
  print_prediction(report);
  fmt::print("limits     {}\n", report["limits"].get<std::string>());
  print_path(report["path"]);
  print_devices(report);
  print_memory(report["memory"]);
  print_formulas(report["formulas"]);
  print_relief(report["relief"]);
  if (!result.feasible) throw NoPlan(result.reason);
}

struct DiffSettings {
  std::string from, to, json_file;
};

std::string value(const json& v) { return v.is_null() ? "-" : v.is_string() ? v.get<std::string>() : v.dump(); }

std::string changes_text(const json& changes) {
  std::string text;
  for (const json& c : changes)
    text += fmt::format("{}{}: {} -> {}", text.empty() ? "" : "; ", c["key"].get<std::string>(), value(c["from"]),
                        value(c["to"]));
  return text;
}

void diff(const DiffSettings& s) {
  std::string text = diff_model_plans(read_file(s.from), read_file(s.to));
  if (!s.json_file.empty()) write_file(s.json_file, text);
  json d = parse_printable(text);
  if (d["same"].get<bool>()) fmt::print("the plans are the same\n");
  for (const json& c : d["settings"]) fmt::print("{}\n", changes_text(json::array({c})));
  for (const json& o : d["operators"]) fmt::print("{}  {}\n", o["op"].get<std::string>(), changes_text(o["changes"]));
}

}  // namespace

Command add_explain(CLI::App& app) {
  auto s = std::make_shared<ModelPlanSettings>();
  CLI::App& c = *app.add_subcommand("explain", "Says why a plan takes its time and what would help.");
  add_plan_options(c, *s);
  c.get_option("--plan")->required();
  c.get_option("--machine")->required();
  return [s] { explain(*s); };
}

Command add_diff(CLI::App& app) {
  auto s = std::make_shared<DiffSettings>();
  CLI::App& c = *app.add_subcommand("diff", "Says what differs between two plans, a line per operator.");
  c.add_option("P", s->from, "plan file")->required();
  c.add_option("Q", s->to, "plan file")->required();
  c.add_option("--json", s->json_file, "write the differences here")->type_name("FILE");
  return [s] { diff(*s); };
}

}  // namespace pando::cli
