// Emulation of plans and measuring of costs: the model as it is simulated, with its weights, on logical devices.
#include "pando/emulate.hpp"

#include <algorithm>
#include <cstring>

#include "api/planning.hpp"
#include "base/float_mode.hpp"
#include "base/median.hpp"
#include "dist/measure.hpp"
#include "plan/report.hpp"

namespace pando {
namespace {

// The model's inputs as the caller gives them.
struct Fed {
  std::vector<Array> arrays;
  std::vector<const std::byte*> pointers;
  Fed(const Graph& g, const std::function<Array(const Port&)>& input) {
    for (ValueId v : g.inputs) {
      Port port{g.values[v].name, g.values[v].dtype, g.shape(v)};
      if (!input) fail(ErrorCode::invalid_argument, "input '{}' is not given", port.name);
      arrays.push_back(input(port));
      if (arrays.back().dtype() != port.dtype || arrays.back().shape() != port.shape)
        fail(ErrorCode::invalid_argument, "input '{}' must be {} {}", port.name, name_of(port.dtype),
             to_string(port.shape));
      pointers.push_back(static_cast<const std::byte*>(arrays.back().data()));
    }
  }
};

double difference_f32(const float* a, const float* b, size_t n) {
  double range = 0, most = 0;
  for (size_t i = 0; i < n; i++) {
    range = std::max<double>(range, std::abs(b[i]));
    double d = std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i]));
    most = std::max(most, d == d ? d : std::numeric_limits<double>::infinity());
  }
  return most / std::max(range, 1e-30);
}

// 0 only for the same bits; types other than float32 are the same or not.
double difference(const Array& got, const std::vector<std::byte>& expected) {
  if (std::memcmp(got.data(), expected.data(), expected.size()) == 0) return 0;
  if (got.dtype() != DType::f32) return std::numeric_limits<double>::infinity();
  return std::max(1e-30, difference_f32(static_cast<const float*>(got.data()),
                                        reinterpret_cast<const float*>(expected.data()), got.count()));
}

// Seconds that the plan took: with the medians of its parts' times, in real time the median of the runs.
double emulate(dist::Emulator& emulator, const dist::PartProgram& program, const plan::TaskGraph& graph,
               const EmulateRequest& r, double& predicted, int64_t& copied) {
  std::vector<int64_t> spans;
  const size_t all_bytes = program.program().arena_bytes * (program.devices() + 1);
  dist::PartTimes first = emulator.run(program, {.poison = all_bytes < (size_t{1} << 31)});
  copied = first.bytes_moved;
  std::vector<std::vector<int64_t>> start;
  if (r.wall) predicted = static_cast<double>(dist::wall_clock(graph, start).makespan) * 1e-9;
  std::vector<dist::PartTimes> times;
  for (int i = 0; i < r.runs; i++) {
    if (r.wall) spans.push_back(emulator.run_wall(program, start));
    else times.push_back(emulator.run(program));
  }
  if (!r.wall) return static_cast<double>(dist::emulated_clock(graph, dist::median_times(times)).makespan) * 1e-9;
  return static_cast<double>(median(spans)) * 1e-9;
}

}  // namespace

EmulateResult emulate_model_plan(const EmulateRequest& r) {
  ScopedFloatMode mode;
  if (r.runs < 1) fail(ErrorCode::invalid_argument, "runs must be at least 1, not {}", r.runs);
  const LoadedPlan l = load_plan(r, true);
  const plan::Space& space = l.space;
  if (l.plan.pipeline) fail(ErrorCode::not_supported, "a pipeline of micro-batches is not emulated");
  std::unique_ptr<plan::CostModel> costs = load_costs(r.costs);
  plan::TaskGraph graph(space, *costs, l.tasks, l.plan.configs);
  plan::Simulator simulator(graph);
  simulator.full();
  nlohmann::json report = plan::prediction_json(graph, simulator.timeline(), r.memory);
  if (r.wall && space.cluster().kinds.size() > 1)
    fail(ErrorCode::not_supported, "in real time all devices are this machine's: the cluster has {} kinds",
         space.cluster().kinds.size());

  Fed inputs(space.graph(), r.input);
  WeightCache weights({}, nullptr);
  std::vector<std::vector<std::byte>> expected = dist::run_unsplit(space, inputs.pointers, &weights);
  dist::Emulator emulator(space, inputs.pointers, &weights);
  dist::PartProgram program = emulator.compile(l.plan.configs);
  double predicted = report["iteration_seconds"].get<double>();
  int64_t copied = 0;
  double emulated = emulate(emulator, program, graph, r, predicted, copied);

  EmulateResult out;
  for (uint32_t i = 0; i < expected.size(); i++) {
    const ProgramPort& port = program.program().outputs[i];
    out.ports.push_back({port.name, port.dtype, port.shape});
    out.outputs.emplace_back(port.dtype, port.shape);
    std::memcpy(out.outputs.back().data(), emulator.output(program, i), expected[i].size());
    out.max_difference = std::max(out.max_difference, difference(out.outputs.back(), expected[i]));
  }
  report["predicted_seconds"] = predicted;
  report["emulated_seconds"] = emulated;
  report["error"] = emulated > 0 ? nlohmann::json(predicted / emulated - 1) : nlohmann::json();
  report["wall"] = r.wall;
  report["runs"] = r.runs;
  report["bytes_copied"] = copied;
  report["max_difference"] = out.max_difference;
  out.report = dumped(report);
  return out;
}

std::string measure_model_costs(const CostsRequest& r) {
  ScopedFloatMode mode;
  if (r.runs < 1) fail(ErrorCode::invalid_argument, "runs must be at least 1, not {}", r.runs);
  plan::Space space = load_space(r, true);
  Fed inputs(space.graph(), r.input);
  WeightCache weights({}, nullptr);
  dist::Emulator emulator(space, inputs.pointers, &weights);
  std::vector<dist::MeasuredPlan> plans;
  for (const std::string& text : r.plans) plans.push_back({&space, &emulator, plan::read_plan(text, space).configs});
  if (plans.empty())
    for (auto& configs : dist::sample_plans(space, 10, 0, r.seed))
      plans.push_back({&space, &emulator, std::move(configs)});
  return plan::write_cost_file(dist::measure_costs(plans, r.runs, 0, r.measured));
}

}  // namespace pando
