#include <algorithm>

#include "plan/json_place.hpp"
#include "plan/layers/report.hpp"

namespace pando::plan {
namespace {

void require_search(const PlanRequest& request, const char* what, std::initializer_list<const char*> fitting) {
  std::string names;
  for (const char* name : fitting) {
    if (request.search == name) return;
    names += (names.empty() ? "" : ", ") + std::string(name);
  }
  fail(ErrorCode::invalid_argument, "the search {} does not fit a {} file; these do: {}", request.search, what, names);
}

// Refuses what would be ignored. `kind`: p placement, l pipeline, n network, m layers with memory options, t table.
void require_flags(const PlanRequest& r, char kind, const char* what) {
  const struct {
    bool given;
    const char *name, *kinds;
  } flags[] = {{r.noncontiguous, "noncontiguous", "p"},
               {r.devices.has_value(), "devices", "pln"},
               {r.cpus.has_value(), "cpus", "p"},
               {r.memory.has_value(), "memory", "plm"},
               {r.microbatches.has_value(), "microbatches", "lm"},
               {r.bandwidth.has_value(), "bandwidth", "l"},
               {!r.time_unit.empty(), "time unit", "l"},
               {r.no_data, "no data", "l"},
               {r.no_tensor, "no tensor", "l"},
               {r.no_recompute, "no recompute", "l"},
               {r.repeat_layers > 0, "repeat layers", "l"},
               {r.groups.has_value(), "groups", "n"},
               {r.gradient_bytes.has_value(), "gradient bytes", "n"},
               {r.activation_bytes.has_value(), "activation bytes", "n"},
               {r.levels.has_value(), "levels", "t"},
               {r.shortcut.has_value(), "shortcut", "t"},
               {r.batch.has_value(), "batch", "tm"},
               {!r.machine.empty(), "machine", "m"},
               {r.objective == "time", "objective time", "lnm"},
               {r.objective == "latency" || r.objective == "max-load", "objective latency or max-load", "p"}};
  for (const auto& flag : flags)
    if (flag.given && std::string_view(flag.kinds).find(kind) == std::string_view::npos)
      fail(ErrorCode::invalid_argument, "{}: does not fit a {} file", flag.name, what);
}

PlanResult plan_placement(const Json& file, PlanRequest request, const SearchControl& control) {
  require_flags(request, 'p', "placement");
  if (request.search.empty()) request.search = request.noncontiguous ? "local" : "ideals";
  require_search(request, "placement", {"ideals", "ideals-linear", "local"});
  PlacementProblem problem = read_placement(file, request);
  if (request.search == "local") return report_placement(problem, search_local(problem, control), false);
  bool linear = request.search == "ideals-linear";
  if (request.objective == "latency") return report_placement(problem, search_latency(problem, linear, control), false);
  return report_placement(problem, search_ideals(problem, linear, control), true);
}

PlanResult plan_pipeline(const Json& file, const PlanRequest& request, const SearchControl& control) {
  require_flags(request, 'l', "pipeline");
  require_search(request, "pipeline", {"", "pipeline"});
  PipelineProblem problem = read_pipeline(file, request);
  return report_pipeline(problem, search_pipeline(problem, control));
}

PlanResult plan_network(const Json& file, const PlanRequest& request, const SearchControl& control) {
  require_flags(request, 'n', "network");
  require_search(request, "network", {"", "geo"});
  NetworkProblem problem = read_network(file, request);
  return report_network(problem, search_network(problem, control));
}

PlanResult plan_memory(const Json& file, const PlanRequest& request, const SearchControl& control,
                       const Cluster* machine) {
  require_flags(request, 'm', "layers");
  require_search(request, "layers", {"", "layer-memory"});
  if (machine == nullptr) fail(ErrorCode::invalid_argument, "a file of layers is planned for a machine: give one");
  MemoryProblem problem = read_layer_memory(file, request, *machine);
  return report_layer_memory(problem, search_layer_memory(problem, control));
}

PlanResult plan_table(const std::string& text, const PlanRequest& request, const SearchControl& control) {
  require_flags(request, 't', "layer table");
  require_search(request, "layer table", {"", "chain"});
  LayerTable table = read_layer_table(text, request);
  return report_chain(table, search_chain(table, control));
}

}  // namespace

PlanResult plan_layers(const std::string& text, const PlanRequest& request, const SearchControl& control,
                       const Cluster* machine) {
  size_t begin = text.find_first_not_of(" \t\r\n");
  if (begin != text.npos && text.compare(begin, 10, "num_layers") == 0) return plan_table(text, request, control);
  if (begin != text.npos && static_cast<unsigned char>(text[begin]) < ' ')
    fail(ErrorCode::invalid_model, "the file is no text; an ONNX model is planned for a machine: give one");
  const Json file = JsonPlace::parse(text, "the file", ErrorCode::invalid_model);
  if (!file.is_object()) fail(ErrorCode::invalid_model, "the file: expected an object");
  if (file.contains("maxFPGAs")) return plan_placement(file, request, control);
  if (file.contains("maxDevices")) return plan_pipeline(file, request, control);
  if (file.contains("delay_ms")) return plan_network(file, request, control);
  if (file.contains("layers")) return plan_memory(file, request, control, machine);
  fail(ErrorCode::invalid_model,
       "the file is none that can be planned: expected the key maxFPGAs (placement), maxDevices (pipeline), delay_ms "
       "(network) or layers (memory options), or a table that begins with num_layers");
}

}  // namespace pando::plan
