#include "plan/layers/stage_path.hpp"

#include <algorithm>

namespace pando::plan {

Degrees::Degrees(const PipelineProblem& p) {
  const auto& nodes = p.graph.nodes;
  for (const LayerNode& n : nodes)
    for (const auto& [degree, configs] : n.configs)
      if (degree <= p.devices) tensor.push_back(degree);
  std::sort(tensor.begin(), tensor.end());
  tensor.erase(std::unique(tensor.begin(), tensor.end()), tensor.end());
  // A degree that some layer lacks is still of use in stages without that layer.
  int64_t most = std::min(p.devices, p.data ? p.shares() : 1);
  for (int64_t d = 1; d <= most && d <= p.shares() / d; d++) {  // divisors in pairs
    if (p.shares() % d != 0) continue;
    data.push_back(d);
    if (d != p.shares() / d && p.shares() / d <= most) data.push_back(p.shares() / d);
  }
  std::sort(data.begin(), data.end());
  size_t degrees = tensor.size();
  least.resize(nodes.size() * degrees);
  entering.resize(p.graph.edges.size() * degrees);
  leaving.resize(p.graph.edges.size() * degrees);
  std::vector<int> nth_in(nodes.size(), 0), nth_out(nodes.size(), 0);
  for (size_t v = 0; v < nodes.size(); v++)
    for (size_t t = 0; t < degrees; t++) {
      const std::vector<LayerConfig>* configs = configs_at(nodes[v], tensor[t]);
      if (configs == nullptr) continue;
      const LayerConfig& first = configs->front();
      const LayerConfig* fast = &first;
      Least& x = least[v * degrees + t];
      x = {first.time, first.parameters, first.memory_per_batch, first.memory_fixed};
      x.offered = true;
      for (const LayerConfig& c : *configs) {
        x.time = std::min(x.time, c.time);
        x.parameters = std::min(x.parameters, c.parameters);
        x.per_batch = std::min(x.per_batch, c.memory_per_batch);
        x.fixed = std::min(x.fixed, c.memory_fixed);
        bool leaner = c.time == fast->time && c.memory_per_batch < fast->memory_per_batch;
        if (c.time < fast->time || leaner) fast = &c;
        x.settled =
            x.settled && c.parameters == first.parameters && c.sync_in == first.sync_in && c.sync_out == first.sync_out;
      }
      x.fast_per_batch = x.tied_per_batch = fast->memory_per_batch;
      x.fast_fixed = x.tied_fixed = fast->memory_fixed;
      for (const LayerConfig& c : *configs)
        if (c.time == fast->time) x.tied_fixed = std::min(x.tied_fixed, c.memory_fixed);
    }
  for (size_t e = 0; e < p.graph.edges.size(); e++) {
    const LayerEdge& edge = p.graph.edges[e];
    int in = nth_in[edge.to]++, out = nth_out[edge.from]++;
    for (size_t t = 0; t < degrees; t++) {
      double least_in = std::numeric_limits<double>::infinity(), least_out = least_in;
      if (const auto* configs = configs_at(nodes[edge.to], tensor[t]))
        for (const LayerConfig& c : *configs) least_in = std::min(least_in, c.sync_in[in]);
      if (const auto* configs = configs_at(nodes[edge.from], tensor[t]))
        for (const LayerConfig& c : *configs) least_out = std::min(least_out, c.sync_out[out]);
      entering[e * degrees + t] = 2 * (edge.bytes + least_in);
      leaving[e * degrees + t] = 2 * (edge.bytes + least_out);
    }
  }
}

}  // namespace pando::plan
