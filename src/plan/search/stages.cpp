#include "plan/search/stages.hpp"

#include <algorithm>
#include <map>
#include <numeric>

#include "plan/search/baselines.hpp"
#include "plan/simulate/memory.hpp"

namespace pando::plan {
namespace {

constexpr size_t max_moves = 1'000'000;  // of local: a fraction of a second
constexpr size_t moves_per_layer = 5000;

// Kinds that occur, in the order of the devices.
std::vector<uint32_t> kinds_of(const Cluster& cluster) {
  std::vector<uint32_t> kinds;
  for (const Device& d : cluster.devices)
    if (std::find(kinds.begin(), kinds.end(), d.kind) == kinds.end()) kinds.push_back(d.kind);
  return kinds;
}

uint32_t first_of_kind(const Cluster& cluster, uint32_t kind) {
  uint32_t d = 0;
  while (cluster.devices[d].kind != kind) d++;
  return d;
}

double total_ms(const LayerGraph& g) {
  double sum = 0;
  for (const LayerNode& n : g.nodes) sum += n.accelerator_time;
  return sum;
}

// A share of the work that keeps stages balanced within a few percent.
double chunk_ns(const Space& space, const CostModel& costs, const TaskOptions& tasks) {
  double all = total_ms(layers_of(space, costs, tasks, 0).graph) * 1e6;
  return all / (8 * static_cast<double>(space.cluster().size()));
}

}  // namespace

LayeredModel layers_of(const Space& space, const CostModel& costs, const TaskOptions& tasks, double max_ns) {
  auto count = static_cast<uint32_t>(space.ops().size());
  const Cluster& cluster = space.cluster();
  std::vector<uint32_t> kinds = kinds_of(cluster);
  TaskGraph graph(space, costs, tasks, single_plan(space));
  std::vector<int64_t> work(cluster.size());
  auto time_on = [&](uint32_t op, uint32_t device) {
    Config c;
    c.devices = {device};
    work[device] = 0;
    graph.add_compute_work(op, c, 1, work);
    return static_cast<double>(work[device]);
  };
  std::vector<double> first(count), second(count);
  for (uint32_t o = 0; o < count; o++) {
    first[o] = time_on(o, first_of_kind(cluster, kinds[0]));
    second[o] = kinds.size() > 1 ? time_on(o, first_of_kind(cluster, kinds[1])) : first[o];
  }
  // Bytes from operator to operator; gradients go the same way back.
  std::map<std::pair<uint32_t, uint32_t>, double> edges;
  std::vector<std::vector<uint32_t>> readers(count), sources(count);
  for (const Flow& f : space.flows()) {
    const Stage &from = space.stages()[f.from], &to = space.stages()[f.to];
    if (from.role != Role::forward || to.role != Role::forward || from.op == to.op) continue;
    double& bytes = edges[{from.op, to.op}];
    if (bytes == 0) {
      readers[from.op].push_back(to.op);
      sources[to.op].push_back(from.op);
    }
    bytes = std::max(bytes, static_cast<double>(element_count(f.origin_shape) * f.element_bytes));
  }
  LayeredModel out;
  std::vector<uint32_t> layer(count);
  for (uint32_t o = 0; o < count; o++) {  // operators are in topological order
    bool joins = sources[o].size() == 1 && readers[sources[o][0]].size() == 1;
    uint32_t with = joins ? layer[sources[o][0]] : 0;
    if (joins) joins = (out.graph.nodes[with].accelerator_time * 1e6 + first[o]) <= max_ns;
    if (!joins) {
      with = static_cast<uint32_t>(out.graph.nodes.size());
      out.graph.nodes.emplace_back();
      out.graph.nodes.back().id = with;
      out.graph.nodes.back().name = space.ops()[o].name;
      out.ops.emplace_back();
    }
    LayerNode& n = out.graph.nodes[with];
    const TaskGraph::PartBytes& bytes = graph.part_bytes(o, Split{});
    n.accelerator_time += first[o] * 1e-6;
    n.cpu_time += second[o] * 1e-6;
    n.bytes += static_cast<double>(resident_bytes(space, bytes.weights[0]) + bytes.outputs[0]);
    out.ops[with].push_back(o);
    layer[o] = with;
  }
  std::map<std::pair<uint32_t, uint32_t>, double> between;
  for (const auto& [ends, bytes] : edges)
    if (layer[ends.first] != layer[ends.second]) between[{layer[ends.first], layer[ends.second]}] += bytes;
  for (const auto& [ends, bytes] : between)
    out.graph.edges.push_back({static_cast<int>(ends.first), static_cast<int>(ends.second), 0, bytes});
  return out;
}

StagedPlan place_layers(const Space& space, const CostModel& costs, const TaskOptions& tasks, Placing how,
                        const SearchControl& control) {
  const Cluster& cluster = space.cluster();
  std::vector<uint32_t> kinds = kinds_of(cluster);
  LayeredModel model = layers_of(space, costs, tasks, chunk_ns(space, costs, tasks));
  PlacementProblem p;
  p.graph = model.graph;
  bool pairs = kinds.size() == 2;
  std::vector<uint32_t> accelerators, others;
  for (uint32_t d = 0; d < cluster.size(); d++)
    (pairs && cluster.devices[d].kind == kinds[1] ? others : accelerators).push_back(d);
  p.accelerators = static_cast<int64_t>(accelerators.size());
  p.cpus = static_cast<int64_t>(others.size());
  p.memory = static_cast<double>(cluster.kind_of(accelerators[0]).memory_bytes);
  // A node's edges all cost the same: what moves its outputs to another device, and their gradients back.
  auto last = static_cast<uint32_t>(cluster.size()) - 1;
  double ms_per_byte = last > 0 ? cluster.route_cost(0, last).ns_per_byte * 1e-6 * (space.training() ? 2 : 1) : 0;
  std::vector<double> most(p.graph.nodes.size(), 0);
  for (const LayerEdge& e : p.graph.edges) most[e.from] = std::max(most[e.from], e.bytes);
  for (LayerEdge& e : p.graph.edges) e.ms = most[e.from] * ms_per_byte;
  size_t moves = std::min(max_moves, moves_per_layer * p.graph.nodes.size());
  PlacementOutcome found = how == Placing::local ? search_local(p, control, static_cast<int64_t>(moves))
                                                 : search_ideals(p, how == Placing::linear, control);
  StagedPlan out;
  if (!found.feasible) return out;
  out.seconds = found.value * 1e-3;
  out.optimal = found.optimal;
  out.configs.resize(space.ops().size());
  for (size_t v = 0; v < model.ops.size(); v++)
    for (uint32_t o : model.ops[v]) {
      auto device = static_cast<size_t>(found.plan.device[v]);
      out.configs[o].devices = {device < accelerators.size() ? accelerators[device]
                                                             : others[device - accelerators.size()]};
    }
  return out;
}

StagedPlan pipeline_layers(const Space& space, const CostModel& costs, const TaskOptions& tasks,
                           const StageRules& rules, const SearchControl& control) {
  const Cluster& cluster = space.cluster();
  LayeredModel model = layers_of(space, costs, tasks, chunk_ns(space, costs, tasks));
  PipelineProblem p;
  p.graph = model.graph;
  p.devices = static_cast<int64_t>(cluster.size());
  p.microbatches = rules.micro_batches;
  p.data = rules.data;
  p.tensor = false;
  p.whole_batch = rules.whole_batch;
  auto last = static_cast<uint32_t>(cluster.size()) - 1;
  if (last > 0) p.bandwidth = 1e9 / cluster.route_cost(0, last).ns_per_byte;
  p.memory = static_cast<double>(cluster.kind_of(0).memory_bytes);
  for (uint32_t d = 0; d < cluster.size(); d++)
    p.memory = std::min(p.memory, static_cast<double>(cluster.kind_of(d).memory_bytes));
  int64_t samples = 0;
  for (ValueId v : space.graph().inputs)
    if (samples == 0 && !space.graph().shape(v).empty()) samples = space.graph().shape(v)[0];
  p.samples = std::max<int64_t>(samples, 1);
  TaskGraph graph(space, costs, tasks, single_plan(space));
  std::vector<size_t> in(p.graph.nodes.size(), 0), out_edges(p.graph.nodes.size(), 0);
  for (LayerEdge& e : p.graph.edges) {
    in[static_cast<size_t>(e.to)]++;
    out_edges[static_cast<size_t>(e.from)]++;
    if (!space.training()) e.bytes /= 2;  // no gradients come back
  }
  for (size_t v = 0; v < model.ops.size(); v++) {
    LayerConfig c;
    c.id = "keep";
    c.time = std::max(p.graph.nodes[v].accelerator_time, p.graph.nodes[v].cpu_time) * 1e-3;
    double weights = 0;
    for (uint32_t o : model.ops[v]) weights += static_cast<double>(graph.part_bytes(o, Split{}).weights[0]);
    c.parameters = space.training() ? weights : 0;
    // Activations in flight are for the simulator to judge: how many samples a device holds depends on its degree.
    c.memory_fixed = static_cast<double>(resident_bytes(space, static_cast<int64_t>(weights)));
    c.sync_in.assign(in[v], 0);
    c.sync_out.assign(out_edges[v], 0);
    p.graph.nodes[v].configs = {{1, {c}}};
  }
  PipelineOutcome found = search_pipeline(p, control);
  StagedPlan out;
  if (!found.feasible) return out;
  out.seconds = rules.whole_batch ? found.value : found.value * rules.micro_batches;
  out.optimal = found.optimal;
  out.configs.resize(space.ops().size());
  uint32_t first = 0;
  for (const LayerStage& s : found.stages) {
    auto replicas = static_cast<uint32_t>(s.data);
    std::vector<Config> shared = data_parallel_plan(space, replicas);
    for (int v : s.nodes)
      for (uint32_t o : model.ops[static_cast<size_t>(v)]) {
        Config c = shared[o];
        for (uint32_t& d : c.devices) d += first;
        out.configs[o] = std::move(c);
      }
    first += replicas;
  }
  return out;
}

}  // namespace pando::plan
