// Piper's files: layers with configurations per tensor degree, edges with bytes.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <unordered_map>

#include "plan/layers/files.hpp"

namespace pando::plan {
namespace {

constexpr int64_t max_nodes = 1'000'000;

// Sync bytes stand under the ids of neighbours; they are kept parallel to the node's edges.
struct Reader {
  const PlanRequest& request;
  LayerGraph graph;
  std::unordered_map<int64_t, int> index;
  std::vector<std::vector<int64_t>> before, after;  // ids of neighbours, in the order of the edges
  double seconds_per_time = 1;

  int node_at(const Json& edge, const char* key, const std::string& where) const {
    int64_t id = whole_of(edge, key, where);
    auto at = index.find(id);
    if (at == index.end()) fail(ErrorCode::invalid_model, "{}: \"{}\" is {}, which is no node", where, key, id);
    return at->second;
  }

  static std::vector<double> sync(const Json& config, const char* key, const std::vector<int64_t>& neighbours,
                                  const std::string& where) {
    const Json& bytes = field(config, key, where);
    if (!bytes.is_object()) fail(ErrorCode::invalid_model, "{}: \"{}\" is not an object", where, key);
    std::vector<double> out;
    for (int64_t id : neighbours) {
      std::string name = std::to_string(id);
      out.push_back(amount_of(bytes, name.c_str(), where + ", " + key));
    }
    return out;
  }

  LayerConfig config(const Json& c, int v, const std::string& where) const {
    LayerConfig out;
    const Json& id = field(c, "id", where);
    if (!id.is_string()) fail(ErrorCode::invalid_model, "{}: \"id\" is not a text", where);
    out.id = id;
    out.time = amount_of(c, "timePerSample", where) * seconds_per_time;
    out.parameters = amount_of(c, "parameterSize", where);
    out.memory_per_batch = amount_of(c, "memoryUsageA", where);
    out.memory_fixed = amount_of(c, "memoryUsageB", where);
    out.sync_in = sync(c, "syncTimeFw", before[v], where);
    out.sync_out = sync(c, "syncTimeBw", after[v], where);
    return out;
  }

  void configs(const Json& node, int v) {
    std::string where = fmt::format("node {}", graph.nodes[v].id);
    const Json& degrees = field(node, "TMPCs", where);
    if (!degrees.is_object()) fail(ErrorCode::invalid_model, "{}: \"TMPCs\" is not an object", where);
    for (const auto& [key, list] : degrees.items()) {
      int64_t degree = 0;
      auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), degree);
      if (error != std::errc() || end != key.data() + key.size() || degree < 1)
        fail(ErrorCode::invalid_model, "{}: \"{}\" is no tensor degree", where, key);
      if (!list.is_array())
        fail(ErrorCode::invalid_model, "{}: the configurations of degree {} are no list", where, key);
      if (request.no_tensor && degree > 1) continue;
      std::vector<LayerConfig> read;
      for (const Json& c : list) {
        read.push_back(config(c, v, fmt::format("{}, degree {}", where, degree)));
        if (request.no_recompute && read.back().id == "activation recomp") read.pop_back();
      }
      if (!read.empty()) graph.nodes[v].configs.emplace_back(degree, std::move(read));
    }
    std::sort(graph.nodes[v].configs.begin(), graph.nodes[v].configs.end(),
              [](const auto& a, const auto& b) { return a.first < b.first; });
  }

  void read(const Json& file) {
    const Json &nodes = list_of(file, "nodes", "the file"), &edges = list_of(file, "edges", "the file");
    if (nodes.empty()) fail(ErrorCode::invalid_model, "the file: \"nodes\" is empty");
    for (const Json& n : nodes) {
      LayerNode node;
      node.id = whole_of(n, "id", fmt::format("nodes[{}]", graph.nodes.size()));
      if (n.contains("name") && n["name"].is_string()) node.name = n["name"];
      if (!index.emplace(node.id, static_cast<int>(graph.nodes.size())).second)
        fail(ErrorCode::invalid_model, "node {} appears twice", node.id);
      graph.nodes.push_back(std::move(node));
    }
    before.resize(nodes.size());
    after.resize(nodes.size());
    for (const Json& e : edges) {
      std::string where = fmt::format("edges[{}]", graph.edges.size());
      LayerEdge edge{node_at(e, "sourceId", where), node_at(e, "destId", where), 0,
                     amount_of(e, "communicationCost", where)};
      before[edge.to].push_back(graph.nodes[edge.from].id);
      after[edge.from].push_back(graph.nodes[edge.to].id);
      graph.edges.push_back(edge);
    }
    for (size_t v = 0; v < nodes.size(); v++) configs(nodes[v], static_cast<int>(v));
  }
};

// A layer of a long chain, made longer: copies of node 34 between it and node 35.
void repeat(LayerGraph& graph, int64_t copies) {
  constexpr int64_t layer = 34;
  if (copies == 0) return;
  int64_t highest = 0;
  int from = -1, entering = -1, leaving = -1;
  for (size_t v = 0; v < graph.nodes.size(); v++) {
    highest = std::max(highest, graph.nodes[v].id);
    if (graph.nodes[v].id == layer) from = static_cast<int>(v);
  }
  int place_in = 0, place_out = 0, at_in = 0, at_out = 0;  // among the node's edges
  for (size_t e = 0; e < graph.edges.size(); e++) {
    const LayerEdge& edge = graph.edges[e];
    if (edge.to == from) {
      if (graph.nodes[edge.from].id == layer - 1) {
        entering = static_cast<int>(e);
        place_in = at_in;
      }
      at_in++;
    }
    if (edge.from == from) {
      if (graph.nodes[edge.to].id == layer + 1) {
        leaving = static_cast<int>(e);
        place_out = at_out;
      }
      at_out++;
    }
  }
  if (entering < 0 || leaving < 0)
    fail(ErrorCode::invalid_model, "repeat layers: the file has no node {0} with an edge from {1} and one to {2}",
         layer, layer - 1, layer + 1);
  if (copies > max_nodes - static_cast<int64_t>(graph.nodes.size()))
    fail(ErrorCode::invalid_argument, "repeat layers: more than {} nodes", max_nodes);
  LayerNode copy = graph.nodes[from];
  for (auto& [degree, configs] : copy.configs)
    for (LayerConfig& c : configs) {
      c.sync_in = {c.sync_in[place_in]};
      c.sync_out = {c.sync_out[place_out]};
    }
  // The edge to node 35 keeps its place among that node's edges, so it becomes the last copy's.
  double bytes = graph.edges[leaving].bytes;
  int first = static_cast<int>(graph.nodes.size());
  for (int64_t i = 0; i < copies; i++) {
    copy.id = highest + 1 + i;
    graph.nodes.push_back(copy);
    if (i > 0) graph.edges.push_back({first + static_cast<int>(i) - 1, first + static_cast<int>(i), 0, bytes});
  }
  graph.edges[leaving].from = first + static_cast<int>(copies) - 1;
  // Likewise the edge out of node 34 has to stand where the old one stood among its edges.
  graph.edges.insert(graph.edges.begin() + leaving, {from, first, bytes});
}

}  // namespace

PipelineProblem read_pipeline(const Json& file, const PlanRequest& request) {
  PipelineProblem out;
  Reader reader{request, {}, {}, {}, {}, request.time_unit == "ms" ? 1e-3 : 1.0};
  reader.read(file);
  out.graph = std::move(reader.graph);
  repeat(out.graph, request.repeat_layers);
  require_acyclic(out.graph);
  out.devices = request.devices ? *request.devices : whole_of(file, "maxDevices", "the file");
  out.microbatches = request.microbatches ? *request.microbatches : whole_of(file, "mbsInBatch", "the file");
  out.memory = request.memory ? *request.memory : amount_of(file, "maxMemoryPerDevice", "the file");
  out.bandwidth = request.bandwidth ? *request.bandwidth : amount_of(file, "bandwidth", "the file");
  out.data = !request.no_data;
  out.tensor = !request.no_tensor;
  out.whole_batch = request.objective == "time";
  if (out.devices < 1 || out.devices > 1'000'000)
    fail(ErrorCode::invalid_model, "the file: \"maxDevices\" is {}, expected 1 to 1000000", out.devices);
  if (out.microbatches < 1 || out.microbatches > 1'000'000)
    fail(ErrorCode::invalid_model, "the file: \"mbsInBatch\" is {}, expected 1 to 1000000", out.microbatches);
  if (out.bandwidth <= 0) fail(ErrorCode::invalid_model, "the file: \"bandwidth\" is 0");
  return out;
}

}  // namespace pando::plan
