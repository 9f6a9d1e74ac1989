// Scores a pipeline from the problem as it was read, formula by formula.
#include <fmt/format.h>

#include <algorithm>

#include "plan/layers/pipeline.hpp"

namespace pando::plan {
namespace {

// `in_turns`: replicas take whole microbatches, else their samples.
double flow_shop(const std::vector<LayerStage>& stages, const std::vector<double>& time, int64_t microbatches,
                 bool in_turns) {
  constexpr int64_t max_run = 20'000;  // beyond, the slowest stage alone decides
  int64_t run = std::min(microbatches, max_run);
  std::vector<std::vector<double>> free;  // per stage and replica
  free.reserve(stages.size());
  for (const LayerStage& s : stages) free.emplace_back(in_turns ? std::min(s.data, run) : 1, 0.0);
  double end = 0, slowest = 0;
  for (double t : time) slowest = std::max(slowest, t);
  for (int64_t m = 0; m < run; m++) {
    double at = 0;
    for (size_t s = 0; s < stages.size(); s++) {
      double& replica = free[s][static_cast<size_t>(m) % free[s].size()];
      at = replica = std::max(at, replica) + time[s] * (in_turns ? static_cast<double>(stages[s].data) : 1);
    }
    end = std::max(end, at);
  }
  return end + static_cast<double>(microbatches - run) * slowest;
}

}  // namespace

PipelineScore evaluate_pipeline(const PipelineProblem& p, const std::vector<LayerStage>& stages) {
  PipelineScore out;
  const auto& nodes = p.graph.nodes;
  std::vector<int> stage_of(nodes.size(), -1);
  std::vector<const LayerConfig*> config(nodes.size(), nullptr);
  int64_t devices = 0, replicas = 0;
  auto broken = [&](std::string why) {
    if (out.violation.empty()) out.violation = std::move(why);
  };
  for (size_t s = 0; s < stages.size(); s++) {
    const LayerStage& stage = stages[s];
    if (stage.data < 1 || p.shares() % stage.data != 0) broken(fmt::format("stage {}: data degree {}", s, stage.data));
    if ((stage.data > 1 && !p.data) || (stage.tensor > 1 && !p.tensor))
      broken(fmt::format("stage {}: degree above 1", s));
    devices += stage.data * stage.tensor;
    replicas += stage.data;
    for (size_t i = 0; i < stage.nodes.size(); i++) {
      int v = stage.nodes[i];
      if (stage_of[v] >= 0) broken(fmt::format("node {} is in two stages", nodes[v].id));
      stage_of[v] = static_cast<int>(s);
      for (const auto& [degree, configs] : nodes[v].configs)
        if (degree == stage.tensor) config[v] = &configs.at(stage.config.at(i));
      if (config[v] == nullptr) broken(fmt::format("node {} has no tensor degree {}", nodes[v].id, stage.tensor));
    }
  }
  for (size_t v = 0; v < nodes.size(); v++)
    if (stage_of[v] < 0) broken(fmt::format("node {} is in no stage", nodes[v].id));
  if (devices > p.devices) broken(fmt::format("{} devices of {}", devices, p.devices));
  if (p.samples == 0 && replicas > p.microbatches)
    broken(fmt::format("{} replicas for {} microbatches", replicas, p.microbatches));
  if (!out.violation.empty()) return out;

  // Which of a node's edges an edge is, in the order of the file.
  std::vector<double> moved(stages.size(), 0);
  std::vector<size_t> nth_in(nodes.size(), 0), nth_out(nodes.size(), 0);
  for (const LayerEdge& e : p.graph.edges) {
    double in = config[e.to]->sync_in[nth_in[e.to]++], back = config[e.from]->sync_out[nth_out[e.from]++];
    int a = stage_of[e.from], b = stage_of[e.to];
    if (a == b) continue;
    if (a > b)
      broken(fmt::format("the edge from node {} to {} runs to an earlier stage", nodes[e.from].id, nodes[e.to].id));
    moved[a] += 2 * (e.bytes + back);
    moved[b] += 2 * (e.bytes + in);
  }
  for (size_t s = 0; s < stages.size(); s++) {
    double d = static_cast<double>(stages[s].data), n = static_cast<double>(p.microbatches);
    double compute = 0, exchange = 0, memory = 0;
    int64_t in_flight = (replicas + stages[s].data - 1) / stages[s].data;
    for (int v : stages[s].nodes) {
      compute += config[v]->time;
      exchange += 4 * (d - 1) * config[v]->parameters;
      memory += config[v]->memory_per_batch * static_cast<double>(in_flight) + config[v]->memory_fixed;
    }
    replicas -= stages[s].data;
    out.stage_time.push_back(compute / d + moved[s] / (d * p.bandwidth) + exchange / (d * n * p.bandwidth));
    out.stage_memory.push_back(memory);
    out.value = std::max(out.value, out.stage_time.back());
    if (memory > p.memory * (1 + 1e-12)) broken(fmt::format("stage {} needs {} bytes of {}", s, memory, p.memory));
  }
  for (double t : out.stage_time) out.batch_sum += t;
  out.batch_sum += static_cast<double>(p.microbatches - 1) * out.value;
  out.batch_time = flow_shop(stages, out.stage_time, p.microbatches, p.samples == 0);
  return out;
}

}  // namespace pando::plan
