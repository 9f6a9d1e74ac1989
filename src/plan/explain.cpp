#include "plan/explain.hpp"

#include <algorithm>
#include <map>

#include "plan/formulas.hpp"
#include "plan/json_place.hpp"
#include "plan/search/baselines.hpp"

namespace pando::plan {
namespace {

using nlohmann::json;

constexpr size_t max_causes = 3;  // operators and links that a remedy is tried for

struct Cause {
  enum Kind : uint8_t { compute, link, update } kind;
  uint32_t id;  // operator, link, sync
  int64_t ns = 0;
};

class Explainer {
 public:
  Explainer(const Space& space, const CostModel& costs, const TaskOptions& tasks, const std::vector<Config>& configs,
            int64_t memory_limit)
      : space_(space),
        costs_(costs),
        tasks_(tasks),
        configs_(configs),
        limit_(memory_limit),
        graph_(space, costs, tasks, configs),
        simulator_(graph_) {
    simulator_.full();
    memory_ = memory_of(graph_, simulator_.timeline());
    find_causes();
  }

  json explain() {
    json out = prediction_json(graph_, simulator_.timeline(), limit_), path = json::array();
    for (const Cause& c : causes_) {
      constexpr const char* kinds[] = {"compute", "link", "update"};
      path.push_back(
          {{"what", kinds[c.kind]}, {"name", name_of(c)}, {"seconds", seconds(c.ns)}, {"share", share(c.ns)}});
    }
    out["path"] = path;
    out["memory"] = memory();
    out["formulas"] = json::array();
    for (const Formula& f : formulas_of(graph_, simulator_.timeline())) out["formulas"].push_back(formula_json(f));
    try_links();
    try_splits();
    try_exchanges();
    try_memory();
    std::stable_sort(relief_.begin(), relief_.end(),
                     [](const json& a, const json& b) { return a["iteration_seconds"] < b["iteration_seconds"]; });
    out["relief"] = relief_;
    out["limits"] = limits(out);
    return out;
  }

 private:
  int64_t makespan() const { return simulator_.timeline().makespan; }
  double share(int64_t ns) const {
    return makespan() > 0 ? static_cast<double>(ns) / static_cast<double>(makespan()) : 0;
  }

  std::string name_of(const Cause& c) const {
    if (c.kind == Cause::compute) return space_.ops()[c.id].name;
    if (c.kind == Cause::link) return space_.cluster().links[c.id].name;
    return space_.ops()[space_.syncs()[c.id][0]].name;
  }

  void find_causes() {
    const Timeline& t = simulator_.timeline();
    const auto& links = space_.cluster().links;
    std::map<std::pair<Cause::Kind, uint32_t>, int64_t> sums;
    for (uint64_t id : critical_path(graph_, t)) {
      auto block = static_cast<uint32_t>(id >> 32), task = static_cast<uint32_t>(id);
      const Block& b = graph_.blocks()[block];
      std::pair<Cause::Kind, uint32_t> key{Cause::compute, 0};
      if (b.kind == Block::Kind::barrier) continue;
      if (b.kind == Block::Kind::compute) key.second = graph_.block_op(block);
      else if (b.kind == Block::Kind::update)
        key = {Cause::update, static_cast<uint32_t>((block - space_.stages().size() - space_.flows().size()) / 2)};
      else {
        uint32_t slowest = none;
        each_resource(graph_, b, task, [&](uint32_t r) {
          uint32_t l = r - graph_.devices();
          if (slowest == none || links[l].gb_per_s < links[slowest].gb_per_s) slowest = l;
        });
        key = {Cause::link, slowest};
      }
      sums[key] += b.tasks[task].ns;
    }
    for (const auto& [key, ns] : sums)
      if (ns > 0) causes_.push_back({key.first, key.second, ns});
    std::stable_sort(causes_.begin(), causes_.end(), [](const Cause& a, const Cause& b) { return a.ns > b.ns; });
  }

  json memory() const {
    std::vector<uint32_t> order(memory_.size());
    for (uint32_t d = 0; d < order.size(); d++) order[d] = d;
    auto room = [&](uint32_t d) { return limit_of(d) - memory_[d].peak; };
    std::stable_sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) { return room(a) < room(b); });
    json list = json::array();
    for (uint32_t d : order)
      list.push_back({{"device", d},
                      {"peak_bytes", memory_[d].peak},
                      {"limit_bytes", limit_of(d)},
                      {"peak_ns", memory_[d].peak_ns},
                      {"weights_bytes", memory_[d].weights},
                      {"activations_bytes", memory_[d].activations}});
    return list;
  }
  int64_t limit_of(uint32_t d) const { return space_.cluster().memory_limit(d, limit_); }

  // A remedy's effect on the whole.
  void report(std::string change, const json& edit, const TaskGraph& graph) {
    Simulator s(graph);
    s.full();
    std::vector<DeviceMemory> memory = memory_of(graph, s.timeline());
    relief_.push_back({{"change", std::move(change)},
                       {"edit", edit},
                       {"iteration_seconds", seconds(s.timeline().makespan)},
                       {"gain", 1 - share(s.timeline().makespan)},
                       {"peak_memory_bytes", peak_of(memory)},
                       {"feasible", memory_reason(graph.space(), memory, limit_).empty()}});
  }

  void with_links(const std::string& change, const std::vector<uint32_t>& faster) {
    Cluster cluster = space_.cluster();
    for (uint32_t l : faster) cluster.links[l].gb_per_s *= 2;
    Space space(space_.graph(), std::move(cluster));
    report(change, nullptr, TaskGraph(space, costs_, tasks_, configs_));
  }

  void try_links() {
    const auto& links = space_.cluster().links;
    std::vector<double> rates;
    size_t tried = 0;
    for (const Cause& c : causes_) {
      if (c.kind != Cause::link || tried++ == max_causes) continue;
      with_links(fmt::format("link {} twice as fast", links[c.id].name), {c.id});
      if (std::find(rates.begin(), rates.end(), links[c.id].gb_per_s) != rates.end()) continue;
      rates.push_back(links[c.id].gb_per_s);
      std::vector<uint32_t> alike;
      for (uint32_t l = 0; l < links.size(); l++)
        if (links[l].gb_per_s == links[c.id].gb_per_s) alike.push_back(l);
      if (alike.size() > 1)
        with_links(fmt::format("all {} links of {} GB/s twice as fast", alike.size(), links[c.id].gb_per_s), alike);
    }
  }

  std::string edit_text(uint32_t op, const Config& c) const {
    const PlannedOp& planned = space_.ops()[op];
    std::string text = planned.name + ":";
    for (int d = 0; d < planned.domain.rank; d++)
      if (c.split.degree[static_cast<size_t>(d)] > 1)
        text += fmt::format(" {}={},", planned.domain[d].name, c.split.degree[static_cast<size_t>(d)]);
    return text + " devices=" + device_list_text(c.devices);
  }

  // The best way to cut one operator into up to twice as many parts, or otherwise into as many when it has all devices.
  void try_split(uint32_t op) {
    const Config now = configs_[op];
    auto n = static_cast<uint32_t>(space_.cluster().size()), had = static_cast<uint32_t>(now.devices.size());
    bool more = had < n;
    Config best;
    int64_t least = Simulator::unlimited;
    for (const Split& split : candidate_splits(space_, op)) {
      uint32_t parts = split.parts();
      if (more ? parts <= had || parts > 2 * had : parts != had || split.degree == now.split.degree) continue;
      Config c;
      c.split = split;
      c.keep = now.keep;
      c.devices = device_range(std::min(now.devices[0] / parts * parts, n - parts), parts);
      graph_.change({{op, c}});
      Simulator s(graph_);
      s.full();
      if (s.timeline().makespan < least) {
        least = s.timeline().makespan;
        best = c;
      }
      graph_.undo();
    }
    if (least == Simulator::unlimited) return;
    graph_.change({{op, best}});
    std::string edit = edit_text(op, best);
    report(fmt::format("{} in {} parts{}", space_.ops()[op].name, best.devices.size(), more ? "" : ", cut otherwise"),
           edit, graph_);
    graph_.undo();
  }

  void try_splits() {
    std::vector<uint32_t> ops;
    for (const Cause& c : causes_)
      if (c.kind == Cause::compute && ops.size() < max_causes) ops.push_back(c.id);
    if (!memory_reason(space_, memory_, limit_).empty())
      for (uint32_t op : largest())
        if (std::find(ops.begin(), ops.end(), op) == ops.end()) ops.push_back(op);
    for (uint32_t op : ops) try_split(op);
  }

  // The operators that hold most on the fullest device.
  std::vector<uint32_t> largest() {
    auto full = static_cast<uint32_t>(memory()[0]["device"].get<int64_t>());
    std::vector<std::pair<int64_t, uint32_t>> held;
    for (uint32_t o = 0; o < configs_.size(); o++) {
      const TaskGraph::PartBytes& bytes = graph_.part_bytes(o, configs_[o].split);
      int64_t sum = 0;
      for (size_t i = 0; i < configs_[o].devices.size(); i++)
        if (configs_[o].devices[i] == full) sum += resident_bytes(space_, bytes.weights[i]) + bytes.outputs[i];
      if (sum > 0) held.emplace_back(-sum, o);
    }
    std::sort(held.begin(), held.end());
    std::vector<uint32_t> ops;
    for (size_t i = 0; i < std::min(held.size(), max_causes); i++) ops.push_back(held[i].second);
    return ops;
  }

  void try_exchanges() {
    if (!space_.training()) return;
    for (Gradients g : {Gradients::overlap, Gradients::after})
      for (Collective c : {Collective::ring, Collective::hierarchical}) {
        TaskOptions o = tasks_;
        o.gradients = g;
        o.collective = c;
        if (o.gradients == tasks_.gradients && o.collective == tasks_.collective) continue;
        report(fmt::format("gradients: {}, {}", plan::name_of(g), plan::name_of(c)), nullptr,
               TaskGraph(space_, costs_, o, configs_));
      }
  }

  // Where memory is short: less of it for activations or states.
  void try_memory() {
    bool tight = false;
    for (uint32_t d = 0; d < memory_.size(); d++) tight |= memory_[d].peak > limit_of(d) / 10 * 9;
    if (!tight || !space_.training()) return;
    for (Keep keep : {Keep::recompute, Keep::offload}) {
      std::vector<Config> configs = configs_;
      for (Config& c : configs) c.keep = keep;
      report(fmt::format("activations: {}", plan::name_of(keep)), nullptr, TaskGraph(space_, costs_, tasks_, configs));
    }
    constexpr const char* what[] = {"optimizer", "gradients, too", "weights, too"};
    for (uint8_t stage = 1; stage <= 3; stage++) {
      TaskOptions o = tasks_;
      o.sharded_states = stage;
      if (o.sharded_states != tasks_.sharded_states)
        report(fmt::format("sharded states {} ({})", stage, what[stage - 1]), nullptr,
               TaskGraph(space_, costs_, o, configs_));
    }
  }

  std::string limits(const json& out) const {
    int64_t sums[3] = {};
    std::string longest[3];
    for (const Cause& c : causes_) {
      if (sums[c.kind] == 0) longest[c.kind] = fmt::format("{} {:.0f} %", name_of(c), 100 * share(c.ns));
      sums[c.kind] += c.ns;
    }
    std::vector<std::pair<double, std::string>> parts;
    constexpr const char* what[] = {"computing", "links", "updating parameters"};
    int64_t rest = makespan();
    for (int k = 0; k < 3; k++) {
      rest -= sums[k];
      if (sums[k] > 0)
        parts.emplace_back(-share(sums[k]),
                           fmt::format("{} {:.0f} % (most: {})", what[k], 100 * share(sums[k]), longest[k]));
    }
    std::sort(parts.begin(), parts.end());
    if (share(rest) > 0.005) parts.emplace_back(0, fmt::format("waiting {:.0f} %", 100 * share(rest)));
    std::string text;
    if (!out["feasible"].get<bool>()) text = "memory: " + out["reason"].get<std::string>() + "; ";
    text += "critical path: ";
    for (size_t i = 0; i < parts.size(); i++) text += (i ? ", " : "") + parts[i].second;
    int64_t busy = 0;
    for (uint32_t d = 0; d < graph_.devices(); d++) busy += graph_.work()[d];
    return text + fmt::format("; devices compute {:.0f} % of the time", 100 * share(busy) / graph_.devices());
  }

  const Space& space_;
  const CostModel& costs_;
  TaskOptions tasks_;
  const std::vector<Config>& configs_;
  int64_t limit_;
  TaskGraph graph_;
  Simulator simulator_;
  std::vector<DeviceMemory> memory_;
  std::vector<Cause> causes_;
  json relief_ = json::array();
};

}  // namespace

json explain_plan(const Space& space, const CostModel& costs, const TaskOptions& tasks,
                  const std::vector<Config>& configs, int64_t memory_limit) {
  return Explainer(space, costs, tasks, configs, memory_limit).explain();
}

}  // namespace pando::plan
