// Plans of ONNX models: bytes -> Graph -> optimized Graph (-> training step) -> Space -> search or simulation.
#include "pando/simulate.hpp"

#include <algorithm>
#include <filesystem>
#include <memory>
#include <numeric>

#include "api/machine.hpp"
#include "api/planning.hpp"
#include "base/float_mode.hpp"
#include "base/memory.hpp"
#include "import/import.hpp"
#include "optimize/optimize.hpp"
#include "plan/diff.hpp"
#include "plan/edit.hpp"
#include "plan/explain.hpp"
#include "plan/report.hpp"
#include "plan/timeline_html.hpp"
#include "train/add_training.hpp"

namespace pando {
namespace {

bool among(const std::string& name, std::initializer_list<std::string_view> list) {
  return std::find(list.begin(), list.end(), name) != list.end();
}

plan::Objective objective_of(const SimulateRequest& r) {
  plan::Objective o;
  if (!plan::parse(r.objective, o))
    fail(ErrorCode::invalid_argument, "objective '{}': expected time, latency, max-load or memory", r.objective);
  if (o == plan::Objective::latency && r.training)
    fail(ErrorCode::invalid_argument, "objective latency: of inference, not of a training step");
  return o;
}

Optimizer optimizer_of(const std::string& name) {
  if (name == "sgd") return Optimizer::sgd;
  if (name == "momentum") return Optimizer::momentum;
  if (name == "adam") return Optimizer::adam;
  fail(ErrorCode::invalid_argument, "there is no optimizer '{}': choose sgd, momentum or adam", name);
}

}  // namespace

plan::TaskOptions task_options(const SimulateRequest& r, plan::TaskOptions o) {
  if (!r.gradients.empty() && !plan::parse(r.gradients, o.gradients))
    fail(ErrorCode::invalid_argument, "gradients '{}': expected overlap or after", r.gradients);
  if (!r.collective.empty() && !plan::parse(r.collective, o.collective))
    fail(ErrorCode::invalid_argument, "collective '{}': expected ring, hierarchical or auto", r.collective);
  if (!r.links.empty() && !plan::parse(r.links, o.links))
    fail(ErrorCode::invalid_argument, "links '{}': expected fifo or fair", r.links);
  if (r.sharded_states > 3) fail(ErrorCode::invalid_argument, "sharded states {}: expected 0 to 3", r.sharded_states);
  if (r.sharded_states >= 0) o.sharded_states = static_cast<uint8_t>(r.sharded_states);
  return o;
}

std::unique_ptr<plan::CostModel> load_costs(const std::string& name) {
  auto [kind, path] = plan::parse_cost_name(name);
  if (path.empty()) return plan::make_cost_model(kind, {});
  return read_named(path, [&, kind = kind](const std::string& text) { return plan::make_cost_model(kind, text); });
}

plan::Space load_space(const SimulateRequest& r, bool with_weights, uint32_t micro_batches) {
  plan::Cluster cluster = load_machine(r.machine);
  const OnnxModel model = OnnxModel::open(r.model);
  CompileContext context(model.bytes());
  ImportOptions options;
  options.context = &context;
  options.missing_data = !with_weights;
  for (const auto& [name, shape] : r.shapes) options.input_shapes[name] = shape;
  if (r.batch < 0) fail(ErrorCode::invalid_argument, "batch {}: expected 1 or more", r.batch);
  if (r.batch > 0 || micro_batches > 1)
    for (const ModelPort& p : model.ports().inputs) {
      if (p.shape.empty()) continue;
      Shape& shape = options.input_shapes.try_emplace(p.name, p.shape).first->second;
      if (shape.empty()) continue;
      if (r.batch > 0) shape[0] = r.batch;
      if (shape[0] % micro_batches != 0)
        fail(ErrorCode::invalid_argument, "a batch of {} cannot be cut into {} equal micro-batches", shape[0],
             micro_batches);
      shape[0] /= micro_batches;
    }
  OptimizeOptions optimize_options;
  optimize_options.context = &context;
  Graph graph = optimize(model.graph(options), optimize_options);
  if (r.training) graph = add_training(std::move(graph), Loss::cross_entropy, optimizer_of(r.optimizer));
  return {std::move(graph), std::move(cluster)};
}

namespace {

plan::Plan named_plan(const plan::TaskOptions& tasks, std::vector<plan::Config> configs) {
  plan::Plan p;
  p.gradients = tasks.gradients;
  p.collective = tasks.collective;
  p.sharded_states = tasks.sharded_states;
  p.configs = std::move(configs);
  return p;
}

}  // namespace

std::string dumped(const nlohmann::json& j) {
  return j.dump(1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

namespace {

std::optional<plan::PipelineOptions> pipeline_options(const SimulateRequest& r) {
  std::optional<plan::PipelineOptions> o = plan::read_pipeline_options(r.plan);
  if (!o && r.schedule.empty() && r.micro_batches == 0 && r.chunks == 0) return {};
  if (!o) o.emplace();
  if (!r.schedule.empty() && !plan::parse(r.schedule, o->schedule))
    fail(ErrorCode::invalid_argument,
         "schedule '{}': expected fill-drain, 1f1b, interleaved, two-buffered or delayed-gradients", r.schedule);
  if (r.micro_batches < 0 || r.micro_batches > 1 << 20 || r.chunks < 0 || r.chunks > 1 << 10)
    fail(ErrorCode::invalid_argument, "{} micro-batches, {} chunks: expected 1 to 1048576 and 1 to 1024",
         r.micro_batches, r.chunks);
  if (r.micro_batches > 0) o->micro_batches = static_cast<uint32_t>(r.micro_batches);
  if (r.chunks > 0) o->chunks = static_cast<uint32_t>(r.chunks);
  return o;
}

// The space of a micro-batch, for searches that look for pipelines. How many there are: as asked for, or up to 16 where
// the batch can be halved so often.
std::optional<plan::Space> micro_space(const SimulateRequest& r, const plan::Space& space,
                                       plan::SearchOptions& options) {
  const bool staged = among(r.search, {"auto", "ideals", "ideals-linear", "local", "pipeline"});
  if (!staged || space.cluster().size() < 2) return {};
  SimulateRequest how = r;
  if (how.micro_batches == 0) {
    // Of the model's own inputs: in training the optimizer's states are inputs too.
    int64_t batch = 0;
    for (const ModelPort& p : OnnxModel::open(r.model).ports().inputs)
      for (ValueId v : space.graph().inputs)
        if (space.graph().values[v].name == p.name && !space.graph().shape(v).empty())
          batch = std::gcd(batch, space.graph().shape(v)[0]);
    how.micro_batches = 1;
    while (how.micro_batches < 16 && batch % (2 * how.micro_batches) == 0) how.micro_batches *= 2;
    if (batch == 0 || how.micro_batches == 1) return {};
  }
  how.plan = "{}";
  options.pipeline = *pipeline_options(how);
  try {
    return load_space(how, false, options.pipeline.micro_batches);
  } catch (const Error& e) {  // the model does not work on other batches: nobody asked for micro-batches of it
    if (r.micro_batches == 0) return {};
    fail(e.code(), "a micro-batch, 1 of {}: {}", options.pipeline.micro_batches, e.what());
  }
}

}  // namespace

void validate(const SimulateRequest& r) {
  plan::check_search_name(r.search);
  objective_of(r);
  task_options(r);
  optimizer_of(r.optimizer);
  if (r.batch < 0) fail(ErrorCode::invalid_argument, "batch {}: expected 1 or more", r.batch);
  if (r.memory < 0) fail(ErrorCode::invalid_argument, "memory {}: expected 0 or more", r.memory);
  if ((!r.start.empty() || !r.fix.empty()) && !among(r.search, {"auto", "mcmc"}))
    fail(ErrorCode::invalid_argument, "search '{}' begins from no plan and holds no decisions: mcmc and auto do",
         r.search);
  if (!(r.budget_seconds >= 0)) fail(ErrorCode::invalid_argument, "a budget of {} seconds", r.budget_seconds);
  plan::parse_cost_name(r.costs);
}

SimulateResult search_model_plan(const SimulateRequest& r) {
  ScopedFloatMode mode;
  validate(r);
  plan::SearchOptions options;
  options.tasks = task_options(r);
  plan::Space space = load_space(r, false);
  options.search = r.search;
  options.objective = objective_of(r);
  options.any_sharding = r.sharded_states < 0;
  options.memory_limit = r.memory;
  options.control.seed = r.seed;
  options.control.budget_seconds = r.budget_seconds;
  options.control.budget_proposals = r.budget_proposals;
  std::stop_source stop;
  options.control.stop = stop.get_token();
  options.control.progress = [&](const plan::SearchProgress& now) {
    if (r.cancel && r.cancel->cancelled()) stop.request_stop();
    if (r.progress) r.progress(now.best, now.seconds);
  };
  std::unique_ptr<plan::CostModel> model = load_costs(r.costs);
  const plan::CostModel& costs = *model;
  if (!r.start.empty()) options.start = plan::read_plan(r.start, space).configs;
  if (!r.fix.empty()) {
    if (options.start.empty()) {
      plan::SearchOptions baseline;
      baseline.search = "data-parallel";
      baseline.tasks = options.tasks;
      options.start = plan::search_plan(space, costs, baseline).best.configs;
    }
    options.fixed.assign(space.ops().size(), false);
    std::vector<std::string> by(space.ops().size());
    for (const std::string& text : r.fix) {
      auto [op, config] = plan::read_edit(text, space, options.start, "fix");
      if (options.fixed[op] && config != options.start[op])
        fail(ErrorCode::invalid_argument, "fix '{}' contradicts fix '{}'", text, by[op]);
      options.start[op] = std::move(config);
      options.fixed[op] = true;
      by[op] = text;
    }
  }
  std::optional<plan::Space> micro = micro_space(r, space, options);
  if (micro) options.micro = &*micro;
  plan::SearchResult found = plan::search_plan(space, costs, options);
  SimulateResult result;
  result.feasible = found.outcome.feasible;
  result.reason = found.outcome.reason;
  result.report = dumped(plan::search_json(space, costs, options, found));
  plan::Plan p = named_plan(found.best.tasks, found.best.configs);
  p.pipeline = found.best.pipeline;
  result.plan = plan::write_plan(p, p.pipeline ? *micro : space);
  return result;
}

LoadedPlan load_plan(const SimulateRequest& r, bool with_weights) {
  std::optional<plan::PipelineOptions> pipeline = pipeline_options(r);
  LoadedPlan l{load_space(r, with_weights, pipeline ? pipeline->micro_batches : 1), {}, {}};
  l.plan = plan::read_plan(r.plan, l.space);
  l.plan.pipeline = pipeline;
  l.tasks = task_options(r, {l.plan.gradients, l.plan.collective, l.plan.sharded_states});
  if (pipeline) l.tasks.gradients = plan::Gradients::after;  // exchanged once, behind the last micro-batch
  for (const std::string& text : r.edits) {
    auto [op, config] = plan::read_edit(text, l.space, l.plan.configs, "edit");
    l.plan.configs[op] = std::move(config);
  }
  return l;
}

namespace {

SimulateResult told(const LoadedPlan& l, const nlohmann::json& report) {
  SimulateResult result;
  result.feasible = report["feasible"].get<bool>();
  if (!result.feasible) result.reason = report["reason"].get<std::string>();
  result.report = dumped(report);
  plan::Plan p = named_plan(l.tasks, l.plan.configs);
  p.pipeline = l.plan.pipeline;
  result.plan = plan::write_plan(p, l.space);
  return result;
}

}  // namespace

SimulateResult simulate_model_plan(const SimulateRequest& r) {
  ScopedFloatMode mode;
  LoadedPlan l = load_plan(r, false);
  std::unique_ptr<plan::CostModel> model = load_costs(r.costs);
  const plan::CostModel& costs = *model;
  plan::TaskGraph graph(l.space, costs, l.tasks, l.plan.configs);
  auto show = [&](SimulateResult result, const auto& timeline) {
    if (r.trace) result.trace = plan::trace_json(plan::slices_of(graph, timeline));
    if (r.html) result.html = plan::timeline_html(graph, timeline, r.memory);
    return result;
  };
  if (l.plan.pipeline) {
    plan::StagedPrediction found = plan::simulate_stages(graph, *l.plan.pipeline);
    return show(told(l, plan::stages_json(l.space, costs, found, r.memory)), found);
  }
  plan::Simulator simulator(graph);
  simulator.full();
  return show(told(l, plan::prediction_json(graph, simulator.timeline(), r.memory)), simulator.timeline());
}

SimulateResult explain_model_plan(const SimulateRequest& r) {
  ScopedFloatMode mode;
  LoadedPlan l = load_plan(r, false);
  std::unique_ptr<plan::CostModel> model = load_costs(r.costs);
  const plan::CostModel& costs = *model;
  if (l.plan.pipeline) {
    return told(l, plan::explain_pipeline(l.space, costs, l.tasks, l.plan.configs, *l.plan.pipeline, r.memory));
  }
  return told(l, plan::explain_plan(l.space, costs, l.tasks, l.plan.configs, r.memory));
}

std::string diff_model_plans(const std::string& from, const std::string& to) {
  return dumped(plan::diff_plans(from, to));
}

plan::Cluster load_machine(const std::string& name) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(name, error)) return plan::shipped_cluster(name);
  return read_named(name, [](const std::string& text) { return plan::read_cluster(text); });
}

std::string describe_machine(const std::string& name_or_file) {
  return plan::write_cluster(load_machine(name_or_file));
}

std::vector<std::string> machine_names() { return plan::shipped_cluster_names(); }

}  // namespace pando
