#include <fmt/format.h>

#include <functional>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/commands.hpp"
#include "cli/files.hpp"
#include "cli/printable.hpp"
#include "cli/session.hpp"
#include "cli/support.hpp"

namespace pando::cli {
namespace {

using nlohmann::json;

struct InspectSettings {
  CommonOptions common;
  bool tiles = false, passes = false, support = false, as_json = false;
  std::string dump;  // folder for the graph after each pass; empty: none
};

std::string shape(const json& extents) {
  std::string text;
  for (const json& d : extents) text += (text.empty() ? "" : "x") + std::to_string(d.get<int64_t>());
  return text.empty() ? "scalar" : text;
}

std::string block(const json& blocks) {
  std::string text;
  for (const json& b : blocks)
    text +=
        fmt::format("{}{}:{}", text.empty() ? "" : " ", b["dimension"].get<std::string>(), b["block"].get<int64_t>());
  return text;
}

void print_ports(const char* what, const json& ports) {
  for (const json& p : ports)
    fmt::print("{:8} {} {} {}\n", what, p["name"].get<std::string>(), p["type"].get<std::string>(), shape(p["shape"]));
}

void print_operators(const json& rows) {
  fmt::print("\n{:<36} {:<12} {:<10} {:>18} {:>9} {:>9} {:>6} {:>8}  {}\n", "name", "operator", "algorithm", "output",
             "MFLOP", "MB", "tiles", "us/tile", "block");
  for (const json& r : rows) {
    std::string name = r["name"];
    if (name.size() > 36) name = "..." + name.substr(name.size() - 33);
    fmt::print("{:<36} {:<12} {:<10} {:>18} {:>9.2f} {:>9.2f} {:>6} {:>8.1f}  {}\n", name,
               r["operator"].get<std::string>(), r["algorithm"].get<std::string>(), shape(r["output_shape"]),
               r["operations"].get<double>() * 1e-6, r["bytes"].get<double>() * 1e-6, r["tiles"].get<uint64_t>(),
               r["tile_us"].get<double>(), block(r["blocks"]));
  }
}

void print_summary(const json& all) {
  const json &graph = all["graph"], &memory = all["memory"];
  fmt::print("\noperators:");
  for (const auto& [name, count] : all["operator_counts"].items()) fmt::print(" {} {}", count.get<int>(), name);
  fmt::print("\ntile graph: {} tiles, {} events, {} edges, {} of them for reuse of memory\n",
             graph["tiles"].get<uint64_t>(), graph["events"].get<uint64_t>(), graph["edges"].get<uint64_t>(),
             graph["reuse_edges"].get<uint64_t>());
  fmt::print(
      "work: {:.3f} GFLOP in matrix operators, predicted {:.3f} ms in all, {:.3f} ms on the critical path: "
      "parallelism {:.1f}\n",
      graph["matrix_flops"].get<double>() * 1e-9, graph["total_work_us"].get<double>() * 1e-3,
      graph["critical_path_us"].get<double>() * 1e-3, graph["parallelism"].get<double>());
  fmt::print("memory: arena {:.2f} MB ({:.2f} without reuse), packed weights {:.2f} MB, scratch {:.2f} MB per worker\n",
             memory["arena_bytes"].get<double>() * 1e-6, memory["activation_bytes_without_reuse"].get<double>() * 1e-6,
             memory["packed_weight_bytes"].get<double>() * 1e-6,
             memory["scratch_bytes_per_worker"].get<double>() * 1e-6);
}

void print_tiles(const json& tiles) {
  fmt::print("\n{:>6} {:<36} {:<40} {:>9} {:>10}  then\n", "tile", "operator", "box", "waits for", "to end us");
  for (const json& t : tiles) {
    std::string then;
    for (const json& n : t["then"]) then += (then.empty() ? "" : " ") + std::to_string(n.get<uint64_t>());
    fmt::print("{:>6} {:<36} {:<40} {:>9} {:>10.1f}  {}\n", t["tile"].get<uint64_t>(), t["operator"].get<std::string>(),
               t["box"].get<std::string>(), t["waits_for"].get<uint64_t>(), t["to_end_us"].get<double>(), then);
  }
}

void print_passes(const json& passes) {
  fmt::print("\n{:<24} {:>12} {:>12} {:>9}\n", "pass", "nodes before", "nodes after", "ms");
  double ms = 0;
  for (const json& p : passes) {
    ms += p["ms"].get<double>();
    fmt::print("{:<24} {:>12} {:>12} {:>9.3f}\n", p["name"].get<std::string>(), p["nodes_before"].get<uint64_t>(),
               p["nodes_after"].get<uint64_t>(), p["ms"].get<double>());
  }
  if (passes.empty()) return;
  fmt::print("{:<24} {:>12} {:>12} {:>9.3f}\n", fmt::format("all {}", passes.size()),
             passes.front()["nodes_before"].get<uint64_t>(), passes.back()["nodes_after"].get<uint64_t>(), ms);
}

// A file per graph, numbered in the order of the passes. The folder is made with the first of them, so that a model
// that cannot be imported leaves none.
std::function<void(const std::string&, const std::string&)> dump_into(const std::string& folder) {
  return [folder, count = 0](const std::string& after, const std::string& text) mutable {
    if (count == 0) make_folder(folder);
    write_file(fmt::format("{}/{:02}_{}.txt", folder, count++, after), text, false);
  };
}

void inspect(const InspectSettings& options) {
  check_common(options.common);
  if (options.support) return show_support(find_support(options.common), options.as_json);
  PrepareOptions how;
  how.compile.inspect = true;
  how.feed = false;
  if (!options.dump.empty()) how.compile.graph_text = dump_into(options.dump);
  Session session = prepare(options.common, how);
  std::string text = session.model->inspect_json(options.tiles);
  if (options.as_json) {
    fmt::print("{}\n", text);
    return;
  }
  json all = parse_printable(text);
  fmt::print("model    {}\n", all["model"].get<std::string>());
  print_ports("input", all["inputs"]);
  print_ports("output", all["outputs"]);
  if (size_t count = all["defaults"].size(); count > 0)
    fmt::print("default  {} input{} with a default value: {}{}\n", count, count > 1 ? "s" : "",
               all["defaults"][0]["name"].get<std::string>(), count > 1 ? ", .." : "");
  print_operators(all["operators"]);
  print_summary(all);
  if (options.passes) print_passes(all["passes"]);
  if (options.tiles) print_tiles(all["tiles"]);
}

}  // namespace

Command add_inspect(CLI::App& app) {
  auto options = std::make_shared<InspectSettings>();
  CLI::App* command = app.add_subcommand("inspect", "Shows a model's operators, its tile graph and its memory.");
  add_common(*command, options->common);
  CLI::Option* tiles = command->add_flag("--tiles", options->tiles, "every tile, its box and what follows it");
  CLI::Option* passes = command->add_flag("--passes", options->passes,
                                          "the optimizer's passes as they ran: nodes before and after, time");
  command->add_option("--dump", options->dump, "with --passes: the graph after each pass as a text file in DIR")
      ->type_name("DIR")
      ->needs(passes);
  command
      ->add_flag("--support", options->support,
                 "only what is missing or runs by plain references; ends with 1 when anything is missing")
      ->excludes(passes)
      ->excludes(tiles);
  command->add_flag("--json", options->as_json, "all of it as JSON");
  return [options] { inspect(*options); };
}

}  // namespace pando::cli
