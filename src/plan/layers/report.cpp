#include "plan/layers/report.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

namespace pando::plan {
namespace {

Json stage_of(const PlacementProblem& p, int device, const std::vector<int>& nodes) {
  std::vector<int64_t> ids;
  double bytes = 0, time = 0;
  bool accelerator = device < p.accelerators;
  for (int v : nodes) {
    ids.push_back(p.graph.nodes[v].id);
    bytes += p.graph.nodes[v].bytes;
    time += accelerator ? p.graph.nodes[v].accelerator_time : p.graph.nodes[v].cpu_time;
  }
  return {{"nodes", ids},    {"devices", {device}},  {"kind", accelerator ? "accelerator" : "cpu"},
          {"data", 1},       {"tensor", 1},          {"options", Json::object()},
          {"compute", time}, {"memory_bytes", bytes}};
}

// Devices so that forward edges run from earlier to later ones, where that is possible.
std::vector<int> line_of_devices(const PlacementProblem& p, const Placement& plan) {
  int count = static_cast<int>(p.accelerators + p.cpus);
  std::vector<std::pair<int, int>> arcs;
  for (const LayerEdge& e : p.graph.edges) {
    int a = plan.device[e.from], b = plan.device[e.to];
    if (a == b || p.graph.nodes[e.to].backward) continue;
    arcs.emplace_back(a, b);
  }
  std::sort(arcs.begin(), arcs.end());
  arcs.erase(std::unique(arcs.begin(), arcs.end()), arcs.end());
  std::vector<int> component = strong_components(adjacency(count, arcs)), line(count);
  for (int d = 0; d < count; d++) line[d] = d;
  std::stable_sort(line.begin(), line.end(), [&](int a, int b) { return component[a] < component[b]; });
  return line;
}

}  // namespace

Json report_of(const SearchOutcome& o) {
  Json out = {{"search", o.search},
              {"objective", {{"name", o.objective}, {"value", nullptr}, {"unit", o.unit}}},
              {"optimal", o.feasible && o.optimal},
              {"lower_bound", nullptr},
              {"gap", nullptr},
              {"seconds", o.seconds},
              {"proposals", o.proposals},
              {"feasible", o.feasible}};
  if (o.feasible) out["objective"]["value"] = o.value;
  else out["reason"] = o.reason;
  if (o.lower_bound && std::isfinite(*o.lower_bound)) {
    out["lower_bound"] = *o.lower_bound;
    if (o.feasible && o.value > 0) out["gap"] = std::max(0.0, 1 - *o.lower_bound / o.value);
  }
  return out;
}

PlanResult finish(const SearchOutcome& outcome, const Json& report) {
  // Names come out of files: what is no UTF-8 must not make the report unwritable.
  return {outcome.feasible, outcome.feasible ? "" : outcome.reason,
          report.dump(1, ' ', false, Json::error_handler_t::replace) + "\n"};
}

void require_agreement(const SearchOutcome& outcome, double value, const std::string& violation) {
  if (!violation.empty())
    fail(ErrorCode::internal, "the search {} made an illegal plan: {}", outcome.search, violation);
  if (std::abs(value - outcome.value) > 1e-9 * std::max(std::abs(value), std::abs(outcome.value)))
    fail(ErrorCode::internal, "the search {} says {}, the evaluator {}", outcome.search, outcome.value, value);
}

PlanResult report_pipeline(const PipelineProblem& p, const PipelineOutcome& outcome) {
  Json report = report_of(outcome);
  report["stages"] = Json::array();
  if (!outcome.feasible) return finish(outcome, report);
  PipelineScore score = evaluate_pipeline(p, outcome.stages);
  double value = p.whole_batch ? score.batch_time : score.value;
  require_agreement(outcome, value, score.violation);
  report["objective"]["value"] = value;
  report["slowest_stage_seconds"] = score.value;
  report["batch_seconds"] = score.batch_time;
  int64_t device = 0;
  for (size_t i = 0; i < outcome.stages.size(); i++) {
    const LayerStage& s = outcome.stages[i];
    Json nodes = Json::array(), devices = Json::array(), options = Json::object();
    for (size_t j = 0; j < s.nodes.size(); j++) {
      const LayerNode& node = p.graph.nodes[s.nodes[j]];
      nodes.push_back(node.id);
      options[std::to_string(node.id)] = (*configs_at(node, s.tensor))[s.config[j]].id;
    }
    for (int64_t d = 0; d < s.data * s.tensor; d++) devices.push_back(device++);
    report["stages"].push_back({{"nodes", nodes},
                                {"devices", devices},
                                {"kind", "accelerator"},
                                {"data", s.data},
                                {"tensor", s.tensor},
                                {"options", options},
                                {"time", score.stage_time[i]},
                                {"memory_bytes", score.stage_memory[i]}});
  }
  return finish(outcome, report);
}

PlanResult report_layer_memory(const MemoryProblem& p, const MemoryOutcome& outcome) {
  Json report = report_of(outcome);
  report["layers"] = Json::array();
  if (!outcome.feasible) return finish(outcome, report);
  MemoryScore score = evaluate_layer_memory(p, outcome.plan);
  require_agreement(outcome, score.seconds, score.violation);
  report["formula_seconds"] = score.formula;
  report["least_formula_seconds"] = outcome.formula;
  report["peak_memory_bytes"] = score.peak;
  report["state_bytes"] = score.states;
  report["step_bytes"] = outcome.step_bytes;
  report["samples_per_second"] = static_cast<double>(p.batch) / score.seconds;
  for (size_t l = 0, end; l < outcome.plan.size(); l = end) {
    const MemoryChoice& c = outcome.plan[l];
    for (end = l + 1; end < outcome.plan.size() && outcome.plan[end] == c;) end++;
    report["layers"].push_back({{"first", l},
                                {"count", end - l},
                                {"name", p.layers[l].name},
                                {"data", c.data},
                                {"tensor", c.tensor},
                                {"sharded_states", c.sharded},
                                {"activations", name_of(c.keep)},
                                {"states", c.offload_states ? "offload" : "keep"}});
  }
  return finish(outcome, report);
}

PlanResult report_network(const NetworkProblem& p, const NetworkOutcome& outcome) {
  Json report = report_of(outcome);
  NetworkScore score = evaluate_network(p, outcome.groups);
  require_agreement(outcome, score.value, score.violation);
  report["objective"]["value"] = score.value;
  report["data_parallel_seconds"] = score.data;
  report["pipeline_seconds"] = 2 * score.pipeline;
  report["groups"] = outcome.groups;
  return finish(outcome, report);
}

PlanResult report_chain(const LayerTable& table, const TableOutcome& outcome) {
  Json report = report_of(outcome);
  std::vector<std::vector<int>> types;
  for (const TableLevel& level : outcome.levels) types.push_back(level.types);
  double sum = 0;
  for (double moved : evaluate_chain(table, types)) {
    Json names = Json::array();
    for (int type : types[report["levels"].size()]) names.push_back(std::string(static_cast<size_t>(type), 'I'));
    report["levels"].push_back({{"types", names}, {"elements_moved", moved}});
    sum += moved;
  }
  require_agreement(outcome, sum, "");
  return finish(outcome, report);
}

PlanResult report_placement(const PlacementProblem& p, const PlacementOutcome& outcome, bool contiguous) {
  Json report = report_of(outcome);
  report["stages"] = Json::array();
  if (!outcome.feasible) return finish(outcome, report);
  bool latency = outcome.objective == "latency";
  PlacementScore score = latency ? evaluate_latency(p, outcome.plan) : evaluate_max_load(p, outcome.plan, contiguous);
  require_agreement(outcome, score.value, score.violation);
  report["objective"]["value"] = score.value;
  std::map<int, std::vector<int>> nodes;
  for (size_t v = 0; v < outcome.plan.device.size(); v++) nodes[outcome.plan.device[v]].push_back(static_cast<int>(v));
  for (int d : line_of_devices(p, outcome.plan))
    if (nodes.contains(d)) report["stages"].push_back(stage_of(p, d, nodes[d]));
  for (size_t i = 0; i < score.pieces.size(); i++)
    report["pieces"].push_back(stage_of(p, score.piece_device[i], score.pieces[i]));
  return finish(outcome, report);
}

}  // namespace pando::plan
