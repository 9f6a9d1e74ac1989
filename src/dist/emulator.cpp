#include "dist/emulator.hpp"

#include <chrono>
#include <cmath>

#include "base/median.hpp"
#include "dist/reference_kernel.hpp"

namespace pando::dist {
namespace {

int64_t now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

// How much faster the reference's machine is than this one just now: by the median of the last few runs of the kernel,
// which lie `apart` from each other. (Runs in a row would find their data in the caches.)
class Drift {
 public:
  explicit Drift(const EmulateOptions& options) : options_(options) {}
  double factor() {
    constexpr int64_t apart = 15'000'000;
    constexpr size_t last = 5;
    if (!options_.reference) return 1;
    if (now_ns() - at_ <= apart) return factor_;
    all_.push_back(options_.reference->ns());
    size_t first = all_.size() > last ? all_.size() - last : 0;
    factor_ = options_.reference_ns / pando::median(std::vector(all_.begin() + static_cast<long>(first), all_.end()));
    at_ = now_ns();
    return factor_;
  }
  double median() const { return pando::median(all_); }  // 0: it never ran

 private:
  const EmulateOptions& options_;
  std::vector<double> all_;
  int64_t at_ = 0;
  double factor_ = 1;
};

}  // namespace

void Emulator::prepare(const PartProgram& program) {
  const Program& p = program.program();
  memory_->resize(std::max<size_t>(memory_->size(), program.devices() + 1));
  for (uint32_t d = 0; d <= program.devices(); d++) (*memory_)[d].prepare(p, inputs_);
  if (scratch_.size() < p.scratch_bytes) scratch_ = AlignedBuffer(p.scratch_bytes);
}

PartTimes Emulator::run(const PartProgram& program, const EmulateOptions& options) {
  prepare(program);
  if (options.poison)
    for (DeviceStorage& s : *memory_) s.poison();
  PartTimes times;
  times.ns.resize(space_.ops().size());
  LocalTransport transport(*memory_);
  Drift drift(options);
  for (const PartTask& task : program.tasks()) {
    const double factor = drift.factor();
    for (const Move& m : task.moves) transport.move(m, task.device);
    const int64_t begin = now_ns();
    program.run(task, (*memory_)[task.device].bases(), scratch_.data());
    const int64_t end = now_ns();
    if (task.op == none) continue;  // the model's outputs: after the plan
    times.ns[task.op].push_back(std::llround(static_cast<double>(end - begin) * factor));
    for (const Move& m : task.moves) times.bytes_moved += m.bytes;
  }
  times.reference_ns = drift.median();
  return times;
}

std::vector<std::vector<std::byte>> run_unsplit(const plan::Space& space, std::span<const std::byte* const> inputs,
                                                WeightCache* weights) {
  BindOptions options;
  options.weights = weights;
  std::shared_ptr<const Program> p = bind(tile(space.graph(), Machine::host()), options);
  DeviceStorage storage;
  storage.prepare(*p, inputs);
  AlignedBuffer scratch(p->scratch_bytes);
  run_tiles(*p, {0, p->tiles}, storage.bases(), scratch.data());  // tiles stand in a serial order
  std::vector<std::vector<std::byte>> out;
  for (uint32_t i = 0; i < p->outputs.size(); i++) {
    const std::byte* data = storage.output(*p, i);
    out.emplace_back(data, data + p->outputs[i].bytes());
  }
  return out;
}

Clock emulated_clock(const plan::TaskGraph& graph, const PartTimes& times) {
  const plan::Space& space = graph.space();
  const plan::Cluster& cluster = space.cluster();
  const double here = Machine::host().peak_gflops;
  TaskTimes compute(graph.blocks().size());
  for (uint32_t o = 0; o < space.ops().size(); o++)
    for (size_t i = 0; i < times.ns[o].size(); i++) {
      const plan::DeviceKind& kind = cluster.kind_of(graph.configs()[o].devices[i]);
      double ns = static_cast<double>(times.ns[o][i]) * (here / kind.machine.peak_gflops);
      compute[space.ops()[o].stages[0]].push_back(plan::to_task_ns(ns) + kind.task_overhead_ns());
    }
  return run_clock(graph, compute);
}

}  // namespace pando::dist
