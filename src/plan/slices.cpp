#include "plan/slices.hpp"

#include <unordered_map>

#include "plan/report.hpp"

namespace pando::plan {
namespace {

std::vector<std::string> device_rows(const TaskGraph& g) {
  std::vector<std::string> rows;
  for (uint32_t d = 0; d < g.devices(); d++) rows.push_back(fmt::format("device {}", d));
  return rows;
}

}  // namespace

Slices slices_of(const TaskGraph& g, const Timeline& t) {
  Slices s;
  s.makespan_ns = s.iteration_ns = t.makespan;
  s.rows = device_rows(g);
  for (const Link& l : g.space().cluster().links) s.rows.push_back(l.name);
  std::unordered_map<std::string, uint32_t> numbers;
  std::vector<uint32_t> name_of(g.blocks().size(), none);
  for (uint64_t id : t.order) {
    auto block = static_cast<uint32_t>(id >> 32), task = static_cast<uint32_t>(id);
    const Block& b = g.blocks()[block];
    if (b.kind == Block::Kind::barrier) continue;
    if (name_of[block] == none) {
      auto [found, fresh] = numbers.try_emplace(task_name(g, block), static_cast<uint32_t>(s.names.size()));
      if (fresh) s.names.push_back(found->first);
      name_of[block] = found->second;
    }
    const TaskTimes& times = t.times[t.base[block] + task];
    each_resource(g, b, task, [&](uint32_t r) {
      s.list.push_back({r, name_of[block], task, times.start, times.end - times.start});
    });
  }
  return s;
}

Slices slices_of(const TaskGraph& g, const StagedPrediction& p) {
  Slices s;
  s.makespan_ns = p.timeline.makespan_ns + p.exchange_ns;
  s.iteration_ns = p.iteration_ns;
  s.rows = device_rows(g);
  for (size_t stage = 0; stage < p.stages.size(); stage++)
    for (const char* direction : {"forward", "backward"})
      s.names.push_back(fmt::format("stage {} {}", stage, direction));
  s.names.push_back("exchange of gradients and update");
  const auto exchange = static_cast<uint32_t>(s.names.size() - 1);
  for (size_t row = 0; row < p.rows.size(); row++)
    for (uint32_t d : p.rows[row]) {
      for (const PipelineTask& task : p.timeline.devices[row])
        if (int64_t ns = task.end_ns - task.start_ns; ns > 0)
          s.list.push_back({d, 2 * task.stage + task.backward, task.micro_batch, task.start_ns, ns});
      if (p.exchange_ns > 0) s.list.push_back({d, exchange, 0, p.timeline.makespan_ns, p.exchange_ns});
    }
  return s;
}

std::string trace_json(const Slices& s) {
  using nlohmann::json;
  json events = json::array();
  std::vector<bool> named(s.rows.size(), false);
  for (const Slice& slice : s.list) {
    if (!named[slice.row])
      events.push_back({{"name", "thread_name"},
                        {"ph", "M"},
                        {"pid", 0},
                        {"tid", slice.row},
                        {"args", {{"name", s.rows[slice.row]}}}});
    named[slice.row] = true;
    events.push_back({{"name", s.names[slice.name]},
                      {"ph", "X"},
                      {"pid", 0},
                      {"tid", slice.row},
                      {"ts", static_cast<double>(slice.start_ns) * 1e-3},
                      {"dur", static_cast<double>(slice.ns) * 1e-3},
                      {"args", {{"part", slice.part}}}});
  }
  return json({{"traceEvents", events}}).dump(-1, ' ', false, json::error_handler_t::replace);
}

}  // namespace pando::plan
