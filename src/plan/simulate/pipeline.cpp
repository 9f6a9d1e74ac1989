#include "plan/simulate/pipeline.hpp"

#include <algorithm>

#include "base/error.hpp"

namespace pando::plan {
namespace {

constexpr const char* names[] = {"fill-drain", "1f1b", "interleaved", "two-buffered", "delayed-gradients"};
constexpr uint64_t max_tasks = 1u << 24;

// Order of one device: `warm` forwards, then forward and backward in turn, then the backwards that are left.
void one_then_one(uint32_t stage, uint32_t warm, uint32_t count, std::vector<PipelineTask>& out) {
  uint32_t forward = 0, backward = 0;
  while (forward < std::min(warm, count)) out.push_back({false, stage, forward++, 0, 0});
  while (backward < count) {
    if (forward < count) out.push_back({false, stage, forward++, 0, 0});
    out.push_back({true, stage, backward++, 0, 0});
  }
}

// Groups of as many micro-batches as there are devices go through chunk after chunk; backward through them in reverse.
void interleaved(uint32_t device, uint32_t devices, const PipelineOptions& o, std::vector<PipelineTask>& out) {
  uint32_t total = o.micro_batches * o.chunks, group = devices * o.chunks;
  auto task = [&](uint32_t i, bool backward) {
    uint32_t chunk = i % group / devices, micro = i / group * devices + i % devices;
    if (backward) chunk = o.chunks - 1 - chunk;
    out.push_back({backward, chunk * devices + device, micro, 0, 0});
  };
  uint32_t warm = std::min(total, (devices - device - 1) * 2 + (o.chunks - 1) * devices);
  for (uint32_t i = 0; i < warm; i++) task(i, false);
  for (uint32_t i = warm; i < total; i++) {
    task(i, false);
    task(i - warm, true);
  }
  for (uint32_t i = total - warm; i < total; i++) task(i, true);
}

std::vector<PipelineTask> order_of(uint32_t device, uint32_t devices, const PipelineOptions& o) {
  std::vector<PipelineTask> out;
  uint32_t all = o.micro_batches * o.iterations;
  switch (o.schedule) {
    case Schedule::fill_drain:
      for (uint32_t m = 0; m < o.micro_batches; m++) out.push_back({false, device, m, 0, 0});
      for (uint32_t m = 0; m < o.micro_batches; m++) out.push_back({true, device, m, 0, 0});
      break;
    case Schedule::one_f_one_b: one_then_one(device, devices - device - 1, o.micro_batches, out); break;
    case Schedule::two_buffered: one_then_one(device, devices - device - 1, all, out); break;
    // Everyone does one forward and one backward per step, whose gradient left the next stage a step before.
    case Schedule::delayed_gradients: one_then_one(device, 2 * (devices - device - 1), all, out); break;
    case Schedule::interleaved: interleaved(device, devices, o, out); break;
  }
  return out;
}

}  // namespace

const char* name_of(Schedule s) { return names[static_cast<int>(s)]; }

bool parse(std::string_view name, Schedule& out) {
  for (int i = 0; i < 5; i++)
    if (name == names[i]) return out = static_cast<Schedule>(i), true;
  return false;
}

PipelineTimeline simulate_pipeline(const std::vector<PipelineStage>& stages, const PipelineOptions& o) {
  auto count = static_cast<uint32_t>(stages.size());
  if (count == 0 || o.micro_batches == 0 || o.chunks == 0 || o.iterations == 0)
    fail(ErrorCode::invalid_argument, "pipeline: stages, micro-batches, chunks and iterations are at least 1");
  bool chunked = o.schedule == Schedule::interleaved;
  if ((!chunked && o.chunks != 1) || count % o.chunks != 0)
    fail(ErrorCode::invalid_argument, "pipeline: {} stages cannot be {} chunks per device with schedule {}", count,
         o.chunks, name_of(o.schedule));
  uint32_t devices = count / o.chunks;
  if (chunked && o.micro_batches % devices != 0)
    fail(ErrorCode::invalid_argument, "pipeline: {} micro-batches are no multiple of {} devices", o.micro_batches,
         devices);
  bool on_and_on = o.schedule == Schedule::two_buffered || o.schedule == Schedule::delayed_gradients;
  if (o.iterations > 1 && !on_and_on)
    fail(ErrorCode::invalid_argument, "pipeline: schedule {} ends every iteration", name_of(o.schedule));
  if (uint64_t{o.micro_batches} * o.iterations > max_tasks / (2 * uint64_t{count}))
    fail(ErrorCode::invalid_argument, "pipeline: more than {} tasks", max_tasks);
  uint32_t micros = o.micro_batches * o.iterations;
  PipelineTimeline t;
  for (uint32_t d = 0; d < devices; d++) t.devices.push_back(order_of(d, devices, o));
  // End of every task that has run; -1: not yet.
  std::vector<int64_t> forward(uint64_t{count} * micros, -1), backward(uint64_t{count} * micros, -1);
  std::vector<size_t> next(devices, 0);
  std::vector<int64_t> free(devices, 0);
  t.in_flight.assign(devices, 0);
  for (bool moved = true; moved;) {
    moved = false;
    for (uint32_t d = 0; d < devices; d++) {
      while (next[d] < t.devices[d].size()) {
        PipelineTask& task = t.devices[d][next[d]];
        uint32_t s = task.stage, m = task.micro_batch;
        const PipelineStage& stage = stages[s];
        int64_t ready = 0;
        if (task.backward) ready = s + 1 < count ? backward[(s + 1) * micros + m] : forward[s * micros + m];
        else if (s > 0) ready = forward[(s - 1) * micros + m];
        if (ready < 0) break;
        if (task.backward ? s + 1 < count : s > 0) ready += stages[task.backward ? s : s - 1].transfer_ns;
        task.start_ns = std::max(ready, free[d]);
        task.end_ns = free[d] = task.start_ns + (task.backward ? stage.backward_ns : stage.forward_ns);
        (task.backward ? backward : forward)[s * micros + m] = task.end_ns;
        t.makespan_ns = std::max(t.makespan_ns, task.end_ns);
        next[d]++;
        moved = true;
      }
    }
  }
  for (uint32_t d = 0; d < devices; d++) {
    if (next[d] != t.devices[d].size())
      fail(ErrorCode::internal, "pipeline: schedule {} waits for itself on device {}", name_of(o.schedule), d);
    std::vector<uint32_t> now(o.chunks, 0);
    for (const PipelineTask& task : t.devices[d]) {
      uint32_t& flying = now[task.stage / devices];
      task.backward ? flying-- : flying++;
      t.in_flight[d] = std::max(t.in_flight[d], flying);
    }
  }
  return t;
}

int64_t PipelineTimeline::busy_ns(size_t device) const {
  int64_t busy = 0;
  for (const PipelineTask& task : devices[device]) busy += task.end_ns - task.start_ns;
  return busy;
}

double PipelineTimeline::idle_share() const {
  int64_t busy = 0;
  for (size_t d = 0; d < devices.size(); d++) busy += busy_ns(d);
  double all = static_cast<double>(makespan_ns) * static_cast<double>(devices.size());
  return all > 0 ? 1 - static_cast<double>(busy) / all : 0;
}

double PipelineTimeline::steady_idle_share() const {
  // From when the last device has begun its first backward to when the first one begins its last forward.
  int64_t from = 0, to = makespan_ns, busy = 0;
  for (const auto& d : devices) {
    int64_t first = makespan_ns, last = 0;
    for (const PipelineTask& task : d) {
      if (task.backward) first = std::min(first, task.start_ns);
      else last = std::max(last, task.start_ns);
    }
    from = std::max(from, first);
    to = std::min(to, last);
  }
  if (to <= from) return 0;
  for (const auto& d : devices)
    for (const PipelineTask& task : d)
      busy += std::max<int64_t>(0, std::min(task.end_ns, to) - std::max(task.start_ns, from));
  return 1 - static_cast<double>(busy) / (static_cast<double>(to - from) * static_cast<double>(devices.size()));
}

}  // namespace pando::plan
