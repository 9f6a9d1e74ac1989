#include "plan/timeline_html.hpp"

#include <algorithm>
#include <unordered_map>

#include "plan/json_place.hpp"
#include "plan/timeline_page.hpp"

namespace pando::plan {
namespace {

using nlohmann::json;

constexpr size_t most_tasks = 400'000;

// Numbers for texts that occur often.
class Names {
 public:
  size_t number(const std::string& text) {
    auto [found, fresh] = numbers_.try_emplace(text, list_.size());
    if (fresh) list_.push_back(text);
    return found->second;
  }
  const json& list() const { return list_; }

 private:
  std::unordered_map<std::string, size_t> numbers_;
  json list_ = json::array();
};

struct Shown {
  uint64_t id;
  int64_t ns;
};

// Rows of the timeline: [row, name, part, start, duration] per task and resource that it holds.
json tasks_json(const TaskGraph& g, const Timeline& t, Names& names) {
  std::vector<Shown> shown;
  for (uint64_t id : t.order) {
    auto block = static_cast<uint32_t>(id >> 32), task = static_cast<uint32_t>(id);
    if (g.blocks()[block].kind != Block::Kind::barrier) shown.push_back({id, g.blocks()[block].tasks[task].ns});
  }
  if (shown.size() > most_tasks) {
    std::nth_element(shown.begin(), shown.begin() + most_tasks, shown.end(),
                     [](const Shown& a, const Shown& b) { return a.ns != b.ns ? a.ns > b.ns : a.id < b.id; });
    shown.resize(most_tasks);
  }
  json list = json::array();
  std::vector<size_t> known(g.blocks().size(), SIZE_MAX);  // name of a block's tasks
  for (const Shown& s : shown) {
    auto block = static_cast<uint32_t>(s.id >> 32), task = static_cast<uint32_t>(s.id);
    if (known[block] == SIZE_MAX) known[block] = names.number(task_name(g, block));
    each_resource(g, g.blocks()[block], task, [&](uint32_t r) {
      list.push_back({r, known[block], task, t.times[t.base[block] + task].start, s.ns});
    });
  }
  return list;
}

json devices_json(const TaskGraph& g, const Timeline& t, int64_t memory_limit) {
  std::vector<MemoryCurve> curves = memory_curves(g, t);
  std::vector<DeviceMemory> memory = memory_of(g, t);
  json list = json::array();
  for (uint32_t d = 0; d < g.devices(); d++) {
    const DeviceKind& kind = g.space().cluster().kind_of(d);
    json curve = json::array();
    for (const auto& [ns, bytes] : curves[d]) curve.push_back({ns, bytes + memory[d].weights});
    list.push_back({{"name", fmt::format("device {} ({})", d, kind.name)},
                    {"limit", g.space().cluster().memory_limit(d, memory_limit)},
                    {"resident", memory[d].weights},
                    {"peak", memory[d].peak},
                    {"busy", g.work()[d]},
                    {"memory", curve}});
  }
  return list;
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

}  // namespace

std::string timeline_html(const TaskGraph& g, const Timeline& t, int64_t memory_limit) {
  const Cluster& cluster = g.space().cluster();
  Names names;
  json rows = json::array();
  for (uint32_t d = 0; d < g.devices(); d++) rows.push_back(fmt::format("device {}", d));
  for (const Link& l : cluster.links) rows.push_back(l.name);
  json data = {{"model", g.space().graph().name},
               {"cluster", cluster.name},
               {"makespan", t.makespan},
               {"all_tasks", t.order.size()},
               {"rows", rows},
               {"tasks", tasks_json(g, t, names)},
               {"devices", devices_json(g, t, memory_limit)},
               {"operators", operators_json(g)}};
  data["names"] = names.list();
  std::string text = data.dump(-1, ' ', true, json::error_handler_t::replace), safe;
  // Inside a script element: nothing may end it, or begin a comment.
  for (char c : text) {
    if (c == '<') safe += "\\u003c";
    else safe += c;
  }
  return std::string(timeline_page_head) + safe + std::string(timeline_page_tail);
}

}  // namespace pando::plan
