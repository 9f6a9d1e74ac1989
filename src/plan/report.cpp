#include "plan/report.hpp"

#include <algorithm>

namespace pando::plan {
namespace {

using nlohmann::json;

// Of `times` batches in `ns`; the batch is the first dimension of the first input that has one. Null when unknown.
json samples_per_second(const Space& space, int64_t times, int64_t ns) {
  int64_t batch = 0;
  for (ValueId v : space.graph().inputs)
    if (batch == 0 && !space.graph().shape(v).empty()) batch = space.graph().shape(v)[0];
  return ns > 0 && batch > 0 ? json(static_cast<double>(batch * times) / seconds(ns)) : json();
}

}  // namespace

uint32_t operator_of(const TaskGraph& g, uint32_t block) {
  const Space& s = g.space();
  auto stages = static_cast<uint32_t>(s.stages().size()), flows = static_cast<uint32_t>(s.flows().size());
  if (block < stages) return s.stages()[block].op;
  if (block < stages + flows) return s.stages()[s.flows()[block - stages].from].op;
  return s.syncs()[(block - stages - flows) / 2][0];
}

std::vector<int64_t> device_transfer_ns(const TaskGraph& g) {
  std::vector<int64_t> sums(g.devices(), 0);
  for (const Block& b : g.blocks())
    if (b.kind == Block::Kind::transfer)
      for (const Block::Task& task : b.tasks)
        for (uint32_t d : {task.where / g.devices(), task.where % g.devices()}) sums[d] += task.ns;
  return sums;
}

std::string task_name(const TaskGraph& g, uint32_t block) {
  const Space& s = g.space();
  constexpr const char* roles[] = {"", " (gradient of inputs)", " (gradient of parameters)"};
  const Block& b = g.blocks()[block];
  if (b.kind == Block::Kind::barrier) return "end of the backward pass";
  const std::string& name = s.ops()[operator_of(g, block)].name;
  switch (b.kind) {
    case Block::Kind::compute: return name + roles[static_cast<int>(s.stages()[block].role)];
    case Block::Kind::transfer: return "transfer from " + name;
    case Block::Kind::collective: return "exchange of " + name;
    default: return "update of " + name;
  }
}

std::vector<uint64_t> critical_path(const TaskGraph& g, const Timeline& t) {
  std::vector<uint64_t> before(t.times.size(), UINT64_MAX), last(g.resources(), UINT64_MAX), path;
  auto at = [&](uint64_t id) { return t.base[id >> 32] + static_cast<uint32_t>(id); };
  uint64_t end = UINT64_MAX;
  for (uint64_t id : t.order) {
    auto block = static_cast<uint32_t>(id >> 32), task = static_cast<uint32_t>(id);
    each_resource(g, g.blocks()[block], task, [&](uint32_t r) {
      if (t.times[at(id)].start > t.times[at(id)].ready && last[r] != UINT64_MAX &&
          t.times[at(last[r])].end == t.times[at(id)].start)
        before[at(id)] = last[r];
      last[r] = id;
    });
    if (end == UINT64_MAX || t.times[at(id)].end > t.times[at(end)].end) end = id;
  }
  // Operands: the task that ended when the task became ready.
  for (uint32_t w = 0; w < g.wires().size(); w++) {
    const Wire& wire = g.wires()[w];
    for (uint32_t i = 0; i + 1 < wire.begin.size(); i++)
      for (uint32_t k = wire.begin[i]; k < wire.begin[i + 1]; k++) {
        uint64_t from = uint64_t{wire.from} << 32 | i, to = uint64_t{wire.to} << 32 | wire.next[k].reader;
        if (wire.next[k].transfer != none) {
          uint64_t moved = uint64_t{wire.transfers} << 32 | wire.next[k].transfer;
          if (before[at(moved)] == UINT64_MAX) before[at(moved)] = from;
          from = moved;
        }
        if (before[at(to)] == UINT64_MAX && t.times[at(from)].end == t.times[at(to)].start) before[at(to)] = from;
      }
  }
  for (; end != UINT64_MAX && path.size() <= t.order.size(); end = before[at(end)]) path.push_back(end);
  std::reverse(path.begin(), path.end());
  return path;
}

json prediction_json(const TaskGraph& g, const Timeline& t, int64_t memory_limit) {
  const Space& space = g.space();
  const CostModel& costs = g.costs();
  std::vector<DeviceMemory> memory = memory_of(g, t);
  const Cluster& cluster = space.cluster();
  std::vector<int64_t> transfer = device_transfer_ns(g), bytes(cluster.links.size(), 0);
  for (const Block& b : g.blocks())
    for (uint32_t i = 0; i < b.size(); i++) {
      if (b.kind == Block::Kind::transfer)
        for (uint32_t l : cluster.route(b.tasks[i].where)) bytes[l] += b.bytes[i];
      if (b.kind == Block::Kind::collective) {
        const CollectiveCost& group = g.groups()[b.tasks[i].where];
        for (uint32_t l : group.links) bytes[l] += 2 * b.bytes[i] * (group.members - 1) / group.members;
      }
    }
  json out, devices = json::array(), links = json::array(), path = json::array();
  out["iteration_seconds"] = seconds(t.makespan);
  out["samples_per_second"] = samples_per_second(space, 1, t.makespan);
  out["bytes_moved"] = g.bytes_moved();
  out["tasks"] = g.tasks();
  for (uint32_t d = 0; d < g.devices(); d++) {
    int64_t limit = cluster.memory_limit(d, memory_limit);
    devices.push_back({{"id", d},
                       {"busy_s", seconds(g.work()[d])},
                       {"idle_s", seconds(t.makespan - g.work()[d])},
                       {"transfer_s", seconds(transfer[d])},
                       {"peak_memory_bytes", memory[d].peak},
                       {"memory_limit_bytes", limit}});
  }
  for (uint32_t l = 0; l < cluster.links.size(); l++)
    if (g.work()[g.devices() + l] > 0)
      links.push_back(
          {{"id", cluster.links[l].name}, {"busy_s", seconds(g.work()[g.devices() + l])}, {"bytes", bytes[l]}});
  for (uint64_t id : critical_path(g, t)) {
    auto block = static_cast<uint32_t>(id >> 32), task = static_cast<uint32_t>(id);
    const Block& b = g.blocks()[block];
    bool on_device = b.kind == Block::Kind::compute || b.kind == Block::Kind::update;
    path.push_back({{"op", task_name(g, block)},
                    {"part", task},
                    {"device", on_device ? json(b.tasks[task].where) : json()},
                    {"start_ns", t.times[t.base[block] + task].start},
                    {"end_ns", t.times[t.base[block] + task].end}});
  }
  out["devices"] = devices;
  out["links"] = links;
  out["critical_path"] = path;
  std::string reason = memory_reason(space, memory, memory_limit);
  out["feasible"] = reason.empty();
  out["reason"] = reason.empty() ? json() : json(reason);
  out["cost_model"] = costs.name();
  out["cost_note"] = costs.note().empty() ? json() : json(costs.note());
  out["cost_missing"] = costs.missing();
  return out;
}

json stages_json(const Space& space, const CostModel& costs, const StagedPrediction& p, int64_t memory_limit) {
  json devices = json::array(), stages = json::array();
  std::vector<json> rows(space.cluster().size());
  for (size_t row = 0; row < p.rows.size(); row++) {
    const int64_t busy = p.timeline.busy_ns(row) / p.options.iterations;
    for (uint32_t d : p.rows[row]) {
      int64_t limit = space.cluster().memory_limit(d, memory_limit);
      rows[d] = {{"id", d},
                 {"busy_s", seconds(busy)},
                 {"idle_s", seconds(p.timeline.makespan_ns / p.options.iterations - busy)},
                 {"transfer_s", nullptr},
                 {"peak_memory_bytes", p.memory[d].peak},
                 {"memory_limit_bytes", limit}};
    }
  }
  for (json& row : rows)
    if (!row.is_null()) devices.push_back(std::move(row));
  for (size_t s = 0; s < p.stages.size(); s++) {
    json names = json::array();
    for (uint32_t o : p.stages[s]) names.push_back(space.ops()[o].name);
    size_t row = s % p.rows.size();
    stages.push_back({{"devices", p.rows[row]},
                      {"operators", names},
                      {"forward_s", seconds(p.times[s].forward_ns)},
                      {"backward_s", seconds(p.times[s].backward_ns)},
                      {"transfer_s", seconds(p.times[s].transfer_ns)},
                      {"in_flight", p.timeline.in_flight[row]}});
  }
  std::string reason = memory_reason(space, p, memory_limit);
  return {{"iteration_seconds", seconds(p.iteration_ns)},
          {"samples_per_second", samples_per_second(space, p.options.micro_batches, p.iteration_ns)},
          {"schedule", name_of(p.options.schedule)},
          {"micro_batches", p.options.micro_batches},
          {"chunks", p.options.chunks},
          {"exchange_s", seconds(p.exchange_ns)},
          {"idle_share", p.timeline.idle_share()},
          {"stages", stages},
          {"devices", devices},
          {"links", json::array()},
          {"critical_path", nullptr},
          {"bytes_moved", nullptr},
          {"tasks", nullptr},
          {"cost_model", costs.name()},
          {"feasible", reason.empty()},
          {"reason", reason.empty() ? json() : json(reason)}};
}

json search_json(const Space& space, const CostModel& costs, const SearchOptions& options, const SearchResult& result) {
  const SearchOutcome& o = result.outcome;
  json out;
  if (result.best.pipeline) {
    StagedPrediction staged =
        simulate_stages({*options.micro, costs, result.best.tasks, result.best.configs}, *result.best.pipeline);
    out = stages_json(*options.micro, costs, staged, options.memory_limit);
    out["bytes_moved"] = result.best.prediction.bytes_moved;
    out["tasks"] = result.best.prediction.tasks;
  } else {
    TaskGraph graph(space, costs, result.best.tasks, result.best.configs);
    Simulator simulator(graph);
    simulator.full();
    out = prediction_json(graph, simulator.timeline(), options.memory_limit);
  }
  out["sharded_states"] = result.best.tasks.sharded_states;
  out["search"] = o.search;
  out["objective"] = {{"name", o.objective}, {"value", o.value}, {"unit", o.unit}};
  out["optimal"] = o.optimal;
  out["lower_bound"] = o.lower_bound ? json(*o.lower_bound) : json();
  out["seconds"] = o.seconds;
  out["proposals"] = o.proposals;
  out["seeds"] = {options.control.seed};
  const std::optional<double>& formula = result.best.formula_seconds;
  out["formula_seconds"] = formula ? json(*formula) : json();
  out["compared"] = json::array();
  for (const Found& f : result.compared) {
    out["compared"].push_back({{"name", f.name},
                               {"iteration_seconds", seconds(f.prediction.makespan_ns)},
                               {"formula_seconds", f.formula_seconds ? json(*f.formula_seconds) : json()},
                               {"peak_memory_bytes", peak_of(f.prediction.memory)},
                               {"bytes_moved", f.prediction.bytes_moved},
                               {"feasible", f.prediction.infeasible.empty()}});
  }
  return out;
}

}  // namespace pando::plan
