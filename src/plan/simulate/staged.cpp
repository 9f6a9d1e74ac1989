#include "plan/simulate/staged.hpp"

#include <algorithm>

#include "base/error.hpp"

namespace pando::plan {
namespace {

using Devices = std::vector<uint32_t>;

Devices devices_of(const Config& config) {
  Devices d = config.devices;
  std::sort(d.begin(), d.end());
  d.erase(std::unique(d.begin(), d.end()), d.end());
  return d;
}

std::string text_of(const Devices& d) { return fmt::format("{}", fmt::join(d, ",")); }

// An operator is in the stage of the operators that it reads, or behind it where its devices are others. Operators that
// read no other come with their first reader.
std::vector<std::vector<uint32_t>> find_stages(const TaskGraph& graph) {
  const Space& space = graph.space();
  auto count = static_cast<uint32_t>(space.ops().size());
  std::vector<Devices> devices;
  for (const Config& c : graph.configs()) devices.push_back(devices_of(c));
  std::vector<std::vector<uint32_t>> reads(count), stages;
  for (const Flow& f : space.flows()) {
    const Stage &from = space.stages()[f.from], &to = space.stages()[f.to];
    if (from.role == Role::forward && to.role == Role::forward) reads[to.op].push_back(from.op);
  }
  std::vector<uint32_t> stage(count, none), first_of(count, none);
  auto put = [&](uint32_t o, uint32_t s) {
    stage[o] = s;
    if (stages.size() <= s) stages.resize(s + 1);
    if (!stages[s].empty() && devices[stages[s][0]] != devices[o])
      fail(ErrorCode::invalid_argument,
           "pipeline: operators '{}' (devices {}) and '{}' (devices {}) are both {} stages behind the input",
           space.ops()[stages[s][0]].name, text_of(devices[stages[s][0]]), space.ops()[o].name, text_of(devices[o]), s);
    stages[s].push_back(o);
  };
  for (uint32_t o = 0; o < count; o++) {
    if (reads[o].empty() && !stages.empty() && devices[o] != devices[stages[0][0]]) continue;  // with its reader
    uint32_t s = 0;
    for (uint32_t p : reads[o])
      if (stage[p] != none) s = std::max(s, stage[p] + (devices[p] != devices[o]));
    for (uint32_t p : reads[o])
      if (stage[p] == none) put(p, devices[p] == devices[o] ? s : s > 0 ? s - 1 : 0);
    put(o, s);
  }
  for (uint32_t o = 0; o < count; o++)
    if (stage[o] == none) put(o, 0);
  return stages;
}

// The time between the first start and the last end of a stage's tasks.
struct Window {
  int64_t begin = std::numeric_limits<int64_t>::max(), end = 0;
  int64_t length() const { return std::max<int64_t>(0, end - begin); }
};

Window window_of(const TaskGraph& graph, const Timeline& t, const std::vector<uint32_t>& ops, bool backward) {
  Window w;
  for (uint32_t o : ops)
    for (int role = backward ? 1 : 0; role < (backward ? 3 : 1); role++) {
      uint32_t block = graph.space().ops()[o].stages[role];
      if (block == none) continue;
      for (uint32_t i = t.base[block]; i < t.base[block + 1]; i++) {
        w.begin = std::min(w.begin, t.times[i].start);
        w.end = std::max(w.end, t.times[i].end);
      }
    }
  return w;
}

}  // namespace

StagedPrediction simulate_stages(const TaskGraph& graph, const PipelineOptions& options) {
  const Space& space = graph.space();
  StagedPrediction p;
  p.options = options;
  p.stages = find_stages(graph);
  auto count = static_cast<uint32_t>(p.stages.size());
  auto devices_at = [&](uint32_t s) { return devices_of(graph.configs()[p.stages[s][0]]); };
  if (options.chunks == 0 || count % options.chunks != 0)
    fail(ErrorCode::invalid_argument, "pipeline: {} stages are no multiple of {} chunks", count, options.chunks);
  uint32_t rows = count / options.chunks;
  std::vector<uint32_t> row_of(space.cluster().size(), none);
  for (uint32_t s = 0; s < count; s++) {
    Devices d = devices_at(s);
    if (s < rows) p.rows.push_back(d);
    else if (d != p.rows[s % rows])
      fail(ErrorCode::invalid_argument, "pipeline: stage {} is on devices {}, chunk 0 of it on {}", s, text_of(d),
           text_of(p.rows[s % rows]));
    for (uint32_t device : d) {
      if (row_of[device] != none && row_of[device] != s % rows)
        fail(ErrorCode::invalid_argument, "pipeline: device {} is in stages {} and {}", device, row_of[device], s);
      row_of[device] = s % rows;
    }
  }

  Simulator simulator(graph);
  simulator.full();
  const Timeline& t = simulator.timeline();
  std::vector<Window> forward, backward;
  for (const std::vector<uint32_t>& ops : p.stages) {
    forward.push_back(window_of(graph, t, ops, false));
    backward.push_back(window_of(graph, t, ops, true));
  }
  int64_t gradients_end = 0;
  for (uint32_t s = 0; s < count; s++) {
    int64_t there = s + 1 < count ? forward[s + 1].begin - forward[s].end : 0;
    int64_t back = s + 1 < count && space.training() ? backward[s].begin - backward[s + 1].end : 0;
    p.times.push_back({forward[s].length(), backward[s].length(), std::max({int64_t{0}, there, back})});
    gradients_end = std::max(gradients_end, backward[s].end);
  }
  bool on_and_on = options.schedule == Schedule::two_buffered || options.schedule == Schedule::delayed_gradients;
  p.exchange_ns = space.training() && !on_and_on ? t.makespan - gradients_end : 0;
  p.timeline = simulate_pipeline(p.times, options);
  p.iteration_ns = p.timeline.makespan_ns + p.exchange_ns;
  if (on_and_on) {
    // What an iteration more takes, when the pipeline is full.
    PipelineOptions few = options, more = options;
    few.iterations = 4;
    more.iterations = 8;
    p.options = more;
    p.timeline = simulate_pipeline(p.times, more);
    p.iteration_ns = (p.timeline.makespan_ns - simulate_pipeline(p.times, few).makespan_ns) / 4;
  }

  p.memory = memory_of(graph, t);
  std::vector<int64_t> forward_end(space.cluster().size(), 0);
  for (uint32_t s = 0; s < count; s++)
    for (uint32_t d : devices_at(s)) forward_end[d] = std::max(forward_end[d], forward[s].end);
  p.kept = space.training() ? activations_at(graph, t, forward_end) : std::vector<int64_t>(forward_end.size(), 0);
  for (uint32_t d = 0; d < p.memory.size(); d++) {
    if (row_of[d] == none) continue;
    DeviceMemory& m = p.memory[d];
    if (options.schedule == Schedule::two_buffered) m.weights += m.weights / (2 + space.optimizer_states());
    m.activations += (p.timeline.in_flight[row_of[d]] - 1) * p.kept[d];
    m.peak = m.weights + m.activations;
  }
  return p;
}

std::string memory_reason(const Space& space, const StagedPrediction& p, int64_t limit) {
  auto gib = [](int64_t bytes) { return static_cast<double>(bytes) / (1 << 30); };
  for (uint32_t row = 0; row < p.rows.size(); row++)
    for (uint32_t d : p.rows[row]) {
      int64_t most = space.cluster().memory_limit(d, limit);
      const DeviceMemory& m = p.memory[d];
      if (m.peak <= most) continue;
      return fmt::format(
          "stage {}: {:.3g} GiB > {:.3g} on device {}: weights{} {:.2f}, activations {:.2f}: {} in flight x {:.2f}",
          row, gib(m.peak), gib(most), d, space.training() ? ", gradients and states" : "", gib(m.weights),
          gib(m.activations), p.timeline.in_flight[row], gib(p.kept[d]));
    }
  return {};
}

}  // namespace pando::plan
