// Files of "Efficient Algorithms for Device Placement": nodes with times on accelerator and CPU, edges with costs.
#include <fmt/format.h>

#include <unordered_map>

#include "plan/layers/files.hpp"

namespace pando::plan {

PlacementProblem read_placement(const Json& file, const PlanRequest& request) {
  PlacementProblem out;
  const Json &nodes = list_of(file, "nodes", "the file"), &edges = list_of(file, "edges", "the file");
  if (nodes.empty()) fail(ErrorCode::invalid_model, "the file: \"nodes\" is empty");
  std::unordered_map<int64_t, int> index;
  for (const Json& n : nodes) {
    std::string where = fmt::format("nodes[{}]", out.graph.nodes.size());
    LayerNode node;
    node.id = whole_of(n, "id", where);
    where = fmt::format("node {}", node.id);
    if (n.contains("name") && n["name"].is_string()) node.name = n["name"];
    node.accelerator_time = amount_of(n, "fpgaLatency", where);
    node.cpu_time = amount_of(n, "cpuLatency", where);
    node.bytes = amount_of(n, "size", where);
    node.on_accelerator = flag_of(n, "supportedOnFpga", where);
    node.backward = flag_of(n, "isBackwardNode", where);
    if (n.contains("colorClass")) {
      node.colour = whole(n["colorClass"], "colorClass", where);
      if (node.colour < 0)
        fail(ErrorCode::invalid_model, "{}: \"colorClass\" is {}, expected 0 or more", where, node.colour);
    }
    if (!index.emplace(node.id, static_cast<int>(out.graph.nodes.size())).second)
      fail(ErrorCode::invalid_model, "{} appears twice", where);
    out.graph.nodes.push_back(std::move(node));
  }
  std::vector<double> cost(out.graph.nodes.size(), -1);
  for (const Json& e : edges) {
    std::string where = fmt::format("edges[{}]", out.graph.edges.size());
    LayerEdge edge;
    for (auto [key, end] : {std::pair("sourceId", &edge.from), std::pair("destId", &edge.to)}) {
      int64_t id = whole_of(e, key, where);
      auto at = index.find(id);
      if (at == index.end()) fail(ErrorCode::invalid_model, "{}: \"{}\" is {}, which is no node", where, key, id);
      *end = at->second;
    }
    edge.ms = amount_of(e, "cost", where);
    double& known = cost[edge.from];
    if (known < 0) known = edge.ms;
    if (known != edge.ms)
      fail(ErrorCode::invalid_model, "{}: the edges of node {} have different costs, {} and {}", where,
           out.graph.nodes[edge.from].id, known, edge.ms);
    out.graph.edges.push_back(edge);
  }
  require_acyclic(out.graph);
  // More devices than nodes are of no use, and keep no table small.
  int64_t most = static_cast<int64_t>(out.graph.nodes.size());
  int64_t accelerators = request.devices ? *request.devices : whole_of(file, "maxFPGAs", "the file");
  int64_t cpus = request.cpus ? *request.cpus : whole_of(file, "maxCPUs", "the file");
  if (accelerators < 0 || cpus < 0) fail(ErrorCode::invalid_model, "the file: a negative number of devices");
  out.accelerators = std::min(accelerators, most);
  out.cpus = std::min(cpus, most);
  out.memory = request.memory ? *request.memory : amount_of(file, "maxSizePerFPGA", "the file");
  return out;
}

}  // namespace pando::plan
