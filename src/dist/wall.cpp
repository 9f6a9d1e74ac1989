// Plans in real time: a thread per logical device.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <system_error>
#include <thread>

#include "base/cpu.hpp"
#include "dist/emulator.hpp"
#include "runtime/thread.hpp"

namespace pando::dist {
namespace {

// What the threads share. All memory is there before they start: what they threw would end the process.
struct WallRun {
  const PartProgram& program;
  std::span<DeviceStorage> storages;
  std::vector<std::vector<uint32_t>> tasks;  // per device, the most urgent first; each thread empties its own list
  std::vector<AlignedBuffer> scratch;        // per device
  // 1: done. Released by the thread that ran the task, acquired by the readers of its results.
  std::unique_ptr<std::atomic<uint8_t>[]> done;
  std::atomic<uint32_t> waiting{0};  // threads that are not ready to begin
  std::atomic<bool> abandoned{false};

  bool ready(const PartTask& task) const {
    return std::all_of(task.needs.begin(), task.needs.end(),
                       [&](uint32_t t) { return done[t].load(std::memory_order_acquire) != 0; });
  }

  void device(uint32_t d) {
    std::fill_n(scratch[d].data(), scratch[d].size(), std::byte{0});  // its pages are there before the clock starts
    LocalTransport transport(storages);
    std::vector<uint32_t>& left = tasks[d];
    waiting.fetch_sub(1, std::memory_order_acq_rel);
    while (waiting.load(std::memory_order_acquire) != 0) {
      if (abandoned.load(std::memory_order_relaxed)) return;
      std::this_thread::yield();
    }
    while (!left.empty()) {
      auto next = std::find_if(left.begin(), left.end(), [&](uint32_t t) { return ready(program.tasks()[t]); });
      if (next == left.end()) {
        std::this_thread::yield();
        continue;
      }
      const PartTask& task = program.tasks()[*next];
      for (const Move& m : task.moves) transport.move(m, d);
      program.run(task, storages[d].bases(), scratch[d].data());
      done[*next].store(1, std::memory_order_release);
      left.erase(next);
    }
  }
};

}  // namespace

int64_t Emulator::run_wall(const PartProgram& program, const std::vector<std::vector<int64_t>>& start) {
  prepare(program);
  const std::vector<PartTask>& tasks = program.tasks();
  WallRun run{program, *memory_, std::vector<std::vector<uint32_t>>(program.devices()), {}, nullptr};
  for (uint32_t d = 0; d < program.devices(); d++) run.scratch.emplace_back(program.program().scratch_bytes);
  run.done = std::make_unique<std::atomic<uint8_t>[]>(tasks.size());
  for (uint32_t t = 0; t + 1 < tasks.size(); t++) run.tasks[tasks[t].device].push_back(t);
  for (auto& list : run.tasks)
    std::stable_sort(list.begin(), list.end(), [&](uint32_t a, uint32_t b) {
      return start[tasks[a].op][tasks[a].part] < start[tasks[b].op][tasks[b].part];
    });
  run.waiting = program.devices() + 1;
  std::vector<int> cpus = allowed_cpus();
  // As an engine does: only where there is no choice.
  const bool pinned = program.devices() == cpus.size() && usable_cpus() == static_cast<int>(cpus.size());
  std::vector<std::thread> threads;
  threads.reserve(program.devices());
  try {
    for (uint32_t d = 0; d < program.devices(); d++)
      threads.emplace_back([&, d] {
        if (pinned) runtime::bind_thread_to(cpus[d]);
        run.device(d);
      });
  } catch (const std::system_error& e) {
    run.abandoned = true;
    for (std::thread& t : threads) t.join();
    fail(ErrorCode::out_of_memory, "cannot start a thread for device {} of {}: {}", threads.size() + 1,
         program.devices(), e.what());
  }
  while (run.waiting.load(std::memory_order_acquire) > 1) std::this_thread::yield();
  const auto begin = std::chrono::steady_clock::now();
  run.waiting.fetch_sub(1, std::memory_order_acq_rel);
  for (std::thread& t : threads) t.join();
  const auto end = std::chrono::steady_clock::now();
  // The outputs come together after the clock has stopped.
  LocalTransport transport(*memory_);
  for (const Move& m : tasks.back().moves) transport.move(m, tasks.back().device);
  program.run(tasks.back(), (*memory_)[program.devices()].bases(), scratch_.data());
  return std::chrono::duration_cast<std::chrono::nanoseconds>(end - begin).count();
}

Clock wall_clock(const plan::TaskGraph& graph, std::vector<std::vector<int64_t>>& start) {
  const std::vector<plan::Block>& blocks = graph.blocks();
  const plan::Space& space = graph.space();
  const auto stages = static_cast<uint32_t>(space.stages().size());
  TaskTimes times(blocks.size());
  for (uint32_t b = 0; b < blocks.size(); b++)
    for (const plan::Block::Task& t : blocks[b].tasks) times[b].push_back(t.ns);
  for (uint32_t f = 0; f < space.flows().size(); f++)
    for (uint32_t i = 0; i < blocks[stages + f].size(); i++) {
      times[space.flows()[f].to][blocks[stages + f].tasks[i].target] += times[stages + f][i];
      times[stages + f][i] = 0;
    }
  Clock clock = run_clock(graph, times);
  start.clear();
  for (const plan::PlannedOp& op : space.ops()) start.push_back(clock.start[op.stages[0]]);
  return clock;
}

}  // namespace pando::dist
