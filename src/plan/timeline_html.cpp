#include "plan/timeline_html.hpp"

#include <algorithm>
#include <tuple>

#include "plan/json_place.hpp"
#include "plan/report.hpp"
#include "plan/timeline_page.hpp"

namespace pando::plan {
namespace {

using nlohmann::json;

constexpr size_t max_slices = 400'000;

// Rows of the timeline: [row, name, part, start, duration].
json tasks_json(std::vector<Slice> list) {
  if (list.size() > max_slices) {
    std::nth_element(list.begin(), list.begin() + max_slices, list.end(), [](const Slice& a, const Slice& b) {
      return std::tuple(-a.ns, a.start_ns, a.row) < std::tuple(-b.ns, b.start_ns, b.row);
    });
    list.resize(max_slices);
  }
  json rows = json::array();
  for (const Slice& s : list) rows.push_back({s.row, s.name, s.part, s.start_ns, s.ns});
  return rows;
}

json device_json(const TaskGraph& g, uint32_t d, const DeviceMemory& memory, int64_t busy, json curve, int64_t limit) {
  return {{"name", fmt::format("device {} ({})", d, g.space().cluster().kind_of(d).name)},
          {"limit", g.space().cluster().memory_limit(d, limit)},
          {"resident", memory.weights},
          {"peak", memory.peak},
          {"busy", busy},
          {"memory", std::move(curve)}};
}

json devices_json(const TaskGraph& g, const Timeline& t, int64_t memory_limit) {
  std::vector<MemoryCurve> curves = memory_curves(g, t);
  std::vector<DeviceMemory> memory = memory_of(g, t);
  json list = json::array();
  for (uint32_t d = 0; d < g.devices(); d++) {
    json curve = json::array();
    for (const auto& [ns, bytes] : curves[d]) curve.push_back({ns, bytes + memory[d].weights});
    list.push_back(device_json(g, d, memory[d], g.work()[d], std::move(curve), memory_limit));
  }
  return list;
}

// Of a pipeline's device: what one micro-batch needs at most, and what each other one in flight keeps.
json pipeline_curve(const StagedPrediction& p, size_t row, uint32_t d) {
  const DeviceMemory& m = p.memory[d];
  const int64_t others = p.timeline.in_flight[row] - 1, alone = m.activations - others * p.kept[d];
  json curve = json::array();
  std::vector<int64_t> flying(p.options.chunks, 0);  // micro-batches in each chunk; as in PipelineTimeline::in_flight
  for (const PipelineTask& task : p.timeline.devices[row]) {
    flying[task.stage / p.rows.size()] += task.backward ? -1 : 1;
    const int64_t most = *std::max_element(flying.begin(), flying.end());
    curve.push_back(
        {task.backward ? task.end_ns : task.start_ns, m.weights + (most > 0 ? alone + (most - 1) * p.kept[d] : 0)});
  }
  return curve;
}

json devices_json(const TaskGraph& g, const StagedPrediction& p, int64_t memory_limit) {
  std::vector<json> by_device(g.devices());
  for (size_t row = 0; row < p.rows.size(); row++)
    for (uint32_t d : p.rows[row])
      by_device[d] = device_json(g, d, p.memory[d], p.timeline.busy_ns(row), pipeline_curve(p, row, d), memory_limit);
  for (uint32_t d = 0; d < g.devices(); d++)
    if (by_device[d].is_null()) by_device[d] = device_json(g, d, p.memory[d], 0, json::array(), memory_limit);
  return by_device;
}

json operators_json(const TaskGraph& g) {
  const Space& space = g.space();
  std::vector<int64_t> received(space.ops().size(), 0);
  for (uint32_t f = 0; f < space.flows().size(); f++)
    for (int64_t bytes : g.blocks()[g.wires()[f].transfers].bytes) received[g.block_op(space.flows()[f].to)] += bytes;
  json list = json::array();
  for (uint32_t o = 0; o < space.ops().size(); o++) {
    const PlannedOp& op = space.ops()[o];
    const Config& c = g.configs()[o];
    json times = json::array();
    for (uint32_t stage : op.stages) {
      int64_t sum = 0;
      if (stage != none)
        for (const Block::Task& t : g.blocks()[stage].tasks) sum += t.ns;
      times.push_back(stage == none ? json() : json(sum));
    }
    std::string cut;
    for (int d = 0; d < op.domain.rank; d++)
      if (c.split.degree[static_cast<size_t>(d)] > 1)
        cut +=
            fmt::format("{}{}={}", cut.empty() ? "" : ", ", op.domain[d].name, c.split.degree[static_cast<size_t>(d)]);
    list.push_back({{"name", op.name},
                    {"kind", space.view(op.node).node.op->name},
                    {"cut", cut},
                    {"devices", device_list_text(c.devices)},
                    {"ns", times},
                    {"received", received[o]}});
  }
  return list;
}

std::string page_of(const TaskGraph& g, Slices slices, size_t tasks, json devices) {
  const Cluster& cluster = g.space().cluster();
  json data = {{"model", g.space().graph().name},
               {"cluster", cluster.name},
               {"makespan", slices.makespan_ns},
               {"iteration", slices.iteration_ns},
               {"all_tasks", tasks},
               {"rows", slices.rows},
               {"names", slices.names},
               {"cut", slices.list.size() > max_slices},
               {"tasks", tasks_json(std::move(slices.list))},
               {"devices", std::move(devices)},
               {"operators", operators_json(g)}};
  std::string text = data.dump(-1, ' ', true, json::error_handler_t::replace), safe;
  // Inside a script element: nothing may end it, or begin a comment.
  for (char c : text) {
    if (c == '<') safe += "\\u003c";
    else safe += c;
  }
  return std::string(timeline_page_head) + safe + std::string(timeline_page_tail);
}

}  // namespace

std::string timeline_html(const TaskGraph& g, const Timeline& t, int64_t memory_limit) {
  return page_of(g, slices_of(g, t), t.order.size(), devices_json(g, t, memory_limit));
}

std::string timeline_html(const TaskGraph& g, const StagedPrediction& p, int64_t memory_limit) {
  Slices slices = slices_of(g, p);
  const size_t tasks = slices.list.size();
  return page_of(g, std::move(slices), tasks, devices_json(g, p, memory_limit));
}

}  // namespace pando::plan
