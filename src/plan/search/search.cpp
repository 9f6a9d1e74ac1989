#include "plan/search/search.hpp"

#include <algorithm>
#include <chrono>

#include "plan/search/baselines.hpp"
#include "plan/search/cuts.hpp"
#include "plan/search/memory_plans.hpp"
#include "plan/search/partition.hpp"
#include "plan/search/stages.hpp"
#include "plan/simulate/staged.hpp"

namespace pando::plan {
namespace {

constexpr int64_t default_proposals = 20000;
constexpr size_t chains_of_auto = 4;
constexpr double exact_seconds = 20;  // at most, of each exact search
constexpr int64_t exact_steps = 50'000'000;
constexpr int memory_trials = 5;  // for less room each, the last for the least

// In nanoseconds or bytes.
int64_t value_of(const Prediction& p, Objective objective) {
  switch (objective) {
    case Objective::max_load: return p.max_load_ns;
    case Objective::memory: return peak_of(p.memory);
    default: return p.makespan_ns;
  }
}

// The same in seconds or bytes.
double told(int64_t value, Objective objective) {
  return static_cast<double>(value) * (objective == Objective::memory ? 1 : 1e-9);
}

// Of the busiest device or link of a pipeline: gradients are exchanged and parameters updated once, all else is done
// for every micro-batch.
int64_t pipeline_load(const TaskGraph& g, int64_t micro_batches) {
  std::vector<int64_t> load;
  for (int64_t ns : g.work()) load.push_back(ns * micro_batches);
  for (const Block& b : g.blocks()) {
    if (b.kind != Block::Kind::update && b.kind != Block::Kind::collective) continue;
    for (uint32_t i = 0; i < b.size(); i++)
      each_resource(g, b, i, [&](uint32_t r) { load[r] -= b.tasks[i].ns * (micro_batches - 1); });
  }
  return *std::max_element(load.begin(), load.end());
}

struct Better {
  Objective objective;
  bool operator()(const Found& a, const Found& b) const {
    const Prediction &p = a.prediction, &q = b.prediction;
    if (p.infeasible.empty() != q.infeasible.empty()) return p.infeasible.empty();
    int64_t x = value_of(p, objective), y = value_of(q, objective);
    return x != y ? x < y : p.makespan_ns < q.makespan_ns;
  }
};

// What the searches of one call share: the clock, the budget, the best so far.
class Session {
 public:
  Session(const Space& space, const CostModel& costs, const SearchOptions& options)
      : space_(space),
        costs_(costs),
        options_(options),
        better_{options.objective},
        begin_(std::chrono::steady_clock::now()) {
    budget_ = options.control.budget_proposals;
    bool unlimited = budget_ == std::numeric_limits<int64_t>::max() &&
                     options.control.budget_seconds == std::numeric_limits<double>::infinity();
    if (unlimited) budget_ = default_proposals;
  }

  double seconds() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count(); }
  int64_t proposals() const { return proposals_; }

  Found found(std::string name, std::vector<Config> configs) const {
    return found(std::move(name), std::move(configs), options_.tasks);
  }
  Found found(std::string name, std::vector<Config> configs, const TaskOptions& tasks) const {
    Prediction p = predict(space_, costs_, tasks, configs, options_.memory_limit);
    return {std::move(name), std::move(configs), tasks, std::move(p)};
  }

  std::vector<Found> baselines() const {
    std::vector<Found> list{found("single", single_plan(space_))};
    auto n = static_cast<uint32_t>(space_.cluster().size());
    for (uint32_t k = 2; k < n; k *= 2)
      list.push_back(found(fmt::format("data-parallel on {}", k), data_parallel_plan(space_, k)));
    if (n > 1) {
      list.push_back(found("data-parallel", data_parallel_plan(space_, n)));
      list.push_back(found("expert", expert_plan(space_)));
    }
    return list;
  }

  // Plans in two groups, for at most an eighth of the time.
  std::vector<Found> cuts() const {
    auto go_on = [&] {
      return seconds() < options_.control.budget_seconds / 8 && !options_.control.stop.stop_requested();
    };
    std::vector<Found> list;
    for (std::vector<Config>& configs : best_cuts(space_, costs_, options_.tasks, 2, go_on))
      list.push_back(found("two groups", std::move(configs)));
    return list;
  }

  // Cut in halves by three types, first with shares solved from costs; where devices differ, also with equal parts.
  std::vector<Found> partitions() const {
    std::vector<Found> list;
    for (bool ratios : {true, false}) {
      if (!ratios && equal_devices()) break;
      Found best;
      // Whether the exchange of gradients hides behind the backward pass is for the simulator to say.
      for (double share : {1.0, 0.25}) {
        SearchControl control = exact_control();
        PartitionPlan plan = partition(space_, costs_, options_.tasks, {ratios, share}, control);
        Found f = found(ratios ? "chain" : "chain, equal parts", std::move(plan.configs));
        f.formula_seconds = plan.formula_ns * 1e-9;
        if (best.configs.empty() || better_(f, best)) best = std::move(f);
        if (!space_.training()) break;
      }
      list.push_back(std::move(best));
    }
    return list;
  }

  // Layers in stages, by the search of that name; of several rules what the simulator likes best. As a pipeline of
  // micro-batches if they form one, else as a plan in which the stages wait for each other; nothing when no stages were
  // found.
  std::optional<Found> staged(const std::string& name) const {
    const Space& space = options_.micro != nullptr ? *options_.micro : space_;
    SearchControl control = exact_control();
    std::vector<StagedPlan> plans;
    if (name == "pipeline") {
      uint32_t micros = options_.pipeline.micro_batches;
      for (StageRules rules : {StageRules{micros, true, true}, {micros, true, false}, {micros, false, true}})
        plans.push_back(pipeline_layers(space, costs_, options_.tasks, rules, control));
    } else {
      Placing how = name == "local" ? Placing::local : name == "ideals" ? Placing::ideals : Placing::linear;
      plans.push_back(place_layers(space, costs_, options_.tasks, how, control));
    }
    std::optional<Found> best;
    for (StagedPlan& plan : plans) {
      std::optional<Found> f = plan.configs.empty() ? std::nullopt : found_stages(name, plan.configs);
      // Of placements the load of a micro-batch, so many of which go through the slowest device.
      bool micros = name != "pipeline" && options_.micro != nullptr;
      if (f) f->formula_seconds = plan.seconds * (micros ? options_.pipeline.micro_batches : 1);
      if (f && (!best || better_(*f, *best))) best = std::move(f);
    }
    return best;
  }

  // The fastest plan that layer-memory leads to; where none fits, one that does not; nothing when even the leanest is
  // hopeless.
  std::optional<Found> memory_plan() const {
    MemoryPlanner planner(space_, costs_, options_.tasks, room());
    bool choose = options_.any_sharding && space_.training();
    std::optional<Found> best;
    for (int sharded = choose ? 0 : options_.tasks.sharded_states; sharded <= 3; sharded++) {
      auto states = static_cast<uint8_t>(sharded);
      // Of one degree the two best by the formula, and operators of several.
      std::vector<std::pair<double, size_t>> degrees;
      for (size_t k = 0; k < planner.degrees(); k++)
        if (std::optional<MemoryPlan> plan = planner.choose(states, k, room())) degrees.emplace_back(plan->seconds, k);
      std::sort(degrees.begin(), degrees.end());
      bool kept = true;
      for (size_t i = 0; i < std::min<size_t>(2, degrees.size()); i++)
        kept = try_memory_plans(planner, states, degrees[i].second, best) && kept;
      if (planner.degrees() > 2) kept = try_memory_plans(planner, states, {}, best) && kept;
      // More sharding makes room, which is not needed; the first also shares the update.
      if (!choose || (sharded > 0 && kept && best)) break;
      if (options_.control.stop.stop_requested() || seconds() > options_.control.budget_seconds) break;
    }
    return best;
  }

  // One chain until `share` of the whole budget is used.
  Found chain(const Found& start, uint64_t seed, double share) {
    ChainOptions how;
    how.seed = seed;
    how.temperature = options_.temperature;
    how.memory_limit = options_.memory_limit;
    how.fixed = options_.fixed;
    how.objective = options_.objective;
    Chain chain(space_, costs_, start.tasks, start.configs, how);
    double until = seconds() + options_.control.budget_seconds * share;
    auto most = budget_ == std::numeric_limits<int64_t>::max()
                    ? budget_
                    : static_cast<int64_t>(static_cast<double>(budget_) * share);
    for (int64_t i = 0; i < most; i++) {
      if (i % 64 == 0 && (seconds() > until || options_.control.stop.stop_requested())) break;
      if (i % 4096 == 0 && options_.control.progress)
        options_.control.progress({proposals_, told(chain.best_value(), options_.objective), seconds()});
      chain.step();
      proposals_++;
    }
    return found("mcmc", chain.best(), start.tasks);
  }

 private:
  int64_t limit(uint32_t device) const { return space_.cluster().memory_limit(device, options_.memory_limit); }
  int64_t room() const {
    int64_t least = limit(0);
    for (uint32_t d = 1; d < space_.cluster().size(); d++) least = std::min(least, limit(d));
    return least;
  }
  // What the formula leaves out of the memory is known when a plan is simulated: then for so much less. True: a plan
  // that keeps everything fits.
  bool try_memory_plans(const MemoryPlanner& planner, uint8_t sharded, std::optional<size_t> degree,
                        std::optional<Found>& best) const {
    TaskOptions tasks = options_.tasks;
    tasks.sharded_states = sharded;
    int64_t bytes = room();
    std::vector<Config> last;
    for (int trial = 0; trial < memory_trials; trial++) {
      std::optional<MemoryPlan> plan = planner.choose(sharded, degree, trial + 1 < memory_trials ? bytes : 0);
      if (!plan || plan->configs == last) return false;
      last = plan->configs;
      Found f = found("layer-memory", std::move(plan->configs), tasks);
      f.formula_seconds = plan->seconds;
      int64_t over = 0;
      for (uint32_t d = 0; d < f.prediction.memory.size(); d++)
        over = std::max(over, f.prediction.memory[d].peak - limit(d));
      if (!best || better_(f, *best)) best = std::move(f);
      if (over == 0) return plan->keeps_all;
      bytes = plan->bytes - over;
    }
    return false;
  }
  // Proposals are the Markov chain's; exact searches count steps that are much shorter.
  SearchControl exact_control() const {
    SearchControl control = options_.control;
    control.budget_proposals = exact_steps;
    control.budget_seconds = std::clamp((control.budget_seconds - seconds()) / 6, 0.0, exact_seconds);
    control.progress = nullptr;
    return control;
  }
  std::optional<Found> found_stages(const std::string& name, const std::vector<Config>& configs) const {
    if (options_.micro != nullptr) {
      try {
        return found_pipeline(name, configs);
      } catch (const Error& e) {  // what lies between the stages is no pipeline
        if (e.code() != ErrorCode::invalid_argument) throw;
      }
    }
    if (configs.size() != space_.ops().size()) return {};
    return found(name, configs);
  }
  Found found_pipeline(const std::string& name, const std::vector<Config>& configs) const {
    TaskOptions tasks = options_.tasks;
    tasks.gradients = Gradients::after;  // exchanged once, behind the last micro-batch
    TaskGraph graph(*options_.micro, costs_, tasks, configs);
    StagedPrediction staged = simulate_stages(graph, options_.pipeline);
    Found f;
    f.name = name;
    f.configs = configs;
    f.tasks = tasks;
    f.pipeline = options_.pipeline;
    f.prediction.makespan_ns = staged.iteration_ns;
    f.prediction.max_load_ns = pipeline_load(graph, options_.pipeline.micro_batches);
    f.prediction.bytes_moved = graph.bytes_moved() * options_.pipeline.micro_batches;
    f.prediction.tasks = graph.tasks() * options_.pipeline.micro_batches;
    f.prediction.memory = staged.memory;
    f.prediction.infeasible = memory_reason(*options_.micro, staged, options_.memory_limit);
    return f;
  }
  bool equal_devices() const {
    const auto& d = space_.cluster().devices;
    return std::all_of(d.begin(), d.end(), [&](const Device& x) { return x.kind == d[0].kind; });
  }

  const Space& space_;
  const CostModel& costs_;
  const SearchOptions& options_;
  const Better better_;
  std::chrono::steady_clock::time_point begin_;
  int64_t budget_ = 0, proposals_ = 0;
};

}  // namespace

Prediction predict(const Space& space, const CostModel& costs, const TaskOptions& tasks,
                   const std::vector<Config>& configs, int64_t memory_limit) {
  TaskGraph graph(space, costs, tasks, configs);
  Simulator simulator(graph);
  simulator.full();
  Prediction p;
  p.makespan_ns = simulator.timeline().makespan;
  p.max_load_ns = *std::max_element(graph.work().begin(), graph.work().end());
  p.bytes_moved = graph.bytes_moved();
  p.tasks = graph.tasks();
  p.memory = memory_of(graph, simulator.timeline());
  p.infeasible = memory_reason(space, p.memory, memory_limit);
  return p;
}

namespace {
constexpr const char* objectives[] = {"time", "latency", "max-load", "memory"};
}

const char* name_of(Objective objective) { return objectives[static_cast<int>(objective)]; }

bool parse(std::string_view name, Objective& out) {
  for (int i = 0; i < 4; i++)
    if (name == objectives[i]) return out = static_cast<Objective>(i), true;
  return false;
}

std::vector<std::string> search_names() {
  return {"single",        "data-parallel", "expert",   "random",       "chain", "ideals",
          "ideals-linear", "local",         "pipeline", "layer-memory", "mcmc",  "auto"};
}

void check_search_name(const std::string& name) {
  std::vector<std::string> names = search_names();
  if (std::find(names.begin(), names.end(), name) != names.end()) return;
  std::string all;
  for (const std::string& n : names) all += (all.empty() ? "" : ", ") + n;
  fail(ErrorCode::invalid_argument, "there is no search '{}': choose one of {}", name, all);
}

SearchResult search_plan(const Space& space, const CostModel& costs, const SearchOptions& options) {
  const std::string& name = options.search;
  check_search_name(name);
  if (options.objective == Objective::latency && space.training())
    fail(ErrorCode::invalid_argument, "objective latency: of inference, not of a training step");
  const Better better{options.objective};
  Session session(space, costs, options);
  SearchResult result;
  result.compared = session.baselines();
  uint64_t seed = options.control.seed;
  std::vector<Found> candidates;
  if (name == "random") {
    Random random(seed);
    candidates.push_back(session.found("random", random_plan(space, random)));
  } else if (name == "chain") {
    std::vector<Found> list = session.partitions();
    candidates.push_back(list[0]);
    result.compared.insert(result.compared.end(), list.begin() + 1, list.end());
  } else if (name == "ideals" || name == "ideals-linear" || name == "local" || name == "pipeline") {
    std::optional<Found> f = session.staged(name);
    candidates.push_back(f ? *f : result.compared[0]);
    if (!f) candidates[0].prediction.infeasible = "no stages fit the devices' memory; none was found";
  } else if (name == "layer-memory") {
    std::optional<Found> f = session.memory_plan();
    candidates.push_back(f ? *f : result.compared[0]);
    if (!f) candidates[0].prediction.infeasible = "weights and states alone do not fit the devices' memory";
  } else if (name == "mcmc" || name == "auto") {
    bool free = options.start.empty() && options.fixed.empty();
    if (name == "auto" && free && space.cluster().size() > 1) {
      for (Found& f : session.partitions()) result.compared.push_back(std::move(f));
      for (const char* exact : {"ideals-linear", "ideals", "local", "pipeline"})
        if (std::optional<Found> f = session.staged(exact)) result.compared.push_back(std::move(*f));
    }
    bool fits = std::any_of(result.compared.begin(), result.compared.end(),
                            [](const Found& f) { return f.prediction.infeasible.empty(); });
    if (name == "auto" && free && (space.training() || !fits))
      if (std::optional<Found> f = session.memory_plan()) result.compared.push_back(std::move(*f));
    std::vector<Found> starts;
    for (const Found& f : result.compared)
      if (!f.pipeline) starts.push_back(f);
    if (name == "auto" && free)
      for (Found& f : session.cuts()) starts.push_back(std::move(f));
    if (!options.start.empty()) starts = {session.found("start", options.start)};
    std::stable_sort(starts.begin(), starts.end(), better);
    // Chains from the best baselines; the last half of the budget goes on from the best of what they found.
    size_t chains = name == "mcmc" ? 1 : chains_of_auto;
    for (size_t i = 0; i < chains; i++)
      candidates.push_back(
          session.chain(starts[i % starts.size()], seed + i, name == "mcmc" ? 1.0 : 0.5 / static_cast<double>(chains)));
    if (name == "auto") {
      size_t best = 0;
      for (size_t i = 1; i < candidates.size(); i++)
        if (better(candidates[i], candidates[best])) best = i;
      candidates.push_back(session.chain(candidates[best], seed + chains, 0.5));
      if (options.fixed.empty()) candidates.insert(candidates.end(), result.compared.begin(), result.compared.end());
    }
    candidates.insert(candidates.end(), starts.begin(), starts.end());
  } else {
    for (const Found& f : result.compared)
      if (f.name.starts_with(name) || (name != "single" && space.cluster().size() == 1)) candidates.push_back(f);
  }
  result.best = *std::min_element(candidates.begin(), candidates.end(), better);
  SearchOutcome& o = result.outcome;
  o.search = name;
  o.objective = name_of(options.objective);
  o.unit = options.objective == Objective::memory ? "bytes" : "s";
  o.reason = result.best.prediction.infeasible;
  o.feasible = o.reason.empty();
  o.value = told(value_of(result.best.prediction, options.objective), options.objective);
  o.seconds = session.seconds();
  o.proposals = session.proposals();
  return result;
}

}  // namespace pando::plan
