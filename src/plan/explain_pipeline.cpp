// Why a pipeline takes as long as it does.
#include <algorithm>

#include "plan/explain.hpp"
#include "plan/formulas.hpp"

namespace pando::plan {
namespace {

using nlohmann::json;

// Of a pipeline: what its slowest stage's devices do, and the same stages under other conditions.
class StagedExplainer {
 public:
  StagedExplainer(const Space& space, const CostModel& costs, const TaskOptions& tasks,
                  const std::vector<Config>& configs, const PipelineOptions& pipeline, int64_t memory_limit)
      : space_(space),
        costs_(costs),
        tasks_(tasks),
        configs_(configs),
        pipeline_(pipeline),
        limit_(memory_limit),
        found_(simulate_stages({space, costs, tasks, configs}, pipeline)) {}

  json explain() {
    json out = stages_json(space_, costs_, found_, limit_);
    Formula formula = formula_of(found_);
    out["path"] = path(formula);
    out["memory"] = memory();
    out["formulas"] = {formula_json(formula)};
    try_schedules();
    try_links();
    try_memory();
    std::stable_sort(relief_.begin(), relief_.end(),
                     [](const json& a, const json& b) { return a["iteration_seconds"] < b["iteration_seconds"]; });
    out["relief"] = relief_;
    size_t slowest = slowest_stage(found_);
    out["limits"] = (out["feasible"].get<bool>() ? "" : "memory: " + out["reason"].get<std::string>() + "; ") +
                    fmt::format("stage {} of {}: {:.3f} ms of each micro-batch's {:.3f}; devices idle {:.0f} %",
                                slowest, found_.times.size(), 1e3 * seconds(found_.times[slowest].ns()),
                                1e3 * seconds(one()), 100 * found_.timeline.idle_share());
    return out;
  }

 private:
  int64_t one() const {  // micro-batch through all stages
    int64_t sum = 0;
    for (const PipelineStage& s : found_.times) sum += s.ns();
    return sum;
  }

  json path(const Formula& formula) const {
    json list = json::array();
    constexpr const char* kinds[] = {"compute", "wait", "update"};
    for (size_t i = 0; i < formula.terms.size(); i++)
      if (int64_t ns = formula.terms[i].simulated_ns; ns > 0)
        list.push_back({{"what", kinds[i]},
                        {"name", formula.terms[i].what},
                        {"seconds", seconds(ns)},
                        {"share", static_cast<double>(ns) / static_cast<double>(found_.iteration_ns)}});
    return list;
  }

  json memory() const {
    json list = json::array();
    for (const std::vector<uint32_t>& row : found_.rows)
      for (uint32_t d : row) {
        const DeviceMemory& m = found_.memory[d];
        list.push_back({{"device", d},
                        {"peak_bytes", m.peak},
                        {"limit_bytes", limit_of(d)},
                        {"peak_ns", nullptr},
                        {"weights_bytes", m.weights},
                        {"activations_bytes", m.activations}});
      }
    auto room = [](const json& m) { return m["limit_bytes"].get<int64_t>() - m["peak_bytes"].get<int64_t>(); };
    std::stable_sort(list.begin(), list.end(), [&](const json& a, const json& b) { return room(a) < room(b); });
    return list;
  }
  int64_t limit_of(uint32_t d) const { return space_.cluster().memory_limit(d, limit_); }

  void report(const std::string& change, const TaskGraph& graph, const PipelineOptions& how) {
    StagedPrediction p = simulate_stages(graph, how);
    relief_.push_back({{"change", change},
                       {"edit", nullptr},
                       {"iteration_seconds", seconds(p.iteration_ns)},
                       {"gain", 1 - static_cast<double>(p.iteration_ns) / static_cast<double>(found_.iteration_ns)},
                       {"peak_memory_bytes", peak_of(p.memory)},
                       {"feasible", memory_reason(graph.space(), p, limit_).empty()}});
  }

  void try_schedules() {
    if (pipeline_.chunks > 1) return;  // the stages' places belong to the schedule
    TaskGraph graph(space_, costs_, tasks_, configs_);
    for (Schedule s :
         {Schedule::fill_drain, Schedule::one_f_one_b, Schedule::two_buffered, Schedule::delayed_gradients}) {
      PipelineOptions other = pipeline_;
      other.schedule = s;
      bool trains = space_.training() || s == Schedule::fill_drain || s == Schedule::one_f_one_b;
      if (s != pipeline_.schedule && trains) report(fmt::format("schedule {}", name_of(s)), graph, other);
    }
  }

  void try_links() {
    Cluster cluster = space_.cluster();
    for (Link& l : cluster.links) l.gb_per_s *= 2;
    Space space(space_.graph(), std::move(cluster));
    report("all links twice as fast", {space, costs_, tasks_, configs_}, pipeline_);
  }

  void try_memory() {
    if (!space_.training()) return;
    for (Keep keep : {Keep::recompute, Keep::offload}) {
      std::vector<Config> configs = configs_;
      for (Config& c : configs) c.keep = keep;
      report(fmt::format("activations: {}", plan::name_of(keep)), {space_, costs_, tasks_, configs}, pipeline_);
    }
  }

  const Space& space_;
  const CostModel& costs_;
  const TaskOptions& tasks_;
  const std::vector<Config>& configs_;
  const PipelineOptions& pipeline_;
  int64_t limit_;
  StagedPrediction found_;
  json relief_ = json::array();
};

}  // namespace

json explain_pipeline(const Space& space, const CostModel& costs, const TaskOptions& tasks,
                      const std::vector<Config>& configs, const PipelineOptions& pipeline, int64_t memory_limit) {
  return StagedExplainer(space, costs, tasks, configs, pipeline, memory_limit).explain();
}

}  // namespace pando::plan
