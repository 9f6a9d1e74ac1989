// The engine: workers that walk the tile graphs of any number of programs and runs at once.
#pragma once
#include <atomic>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "base/error.hpp"
#include "runtime/program.hpp"
#include "schedule/schedule.hpp"

namespace pando::runtime {

struct EngineOptions {
  int workers = 0;       // 0: one per CPU that this process may use (affinity mask, cgroup quota)
  bool pin = true;       // one worker per CPU, when there are as many (more than one), and no quota
  double spin_us = 50;   // an idle worker searches this long before it parks: it burns CPU for lower latency
  bool give_way = true;  // to other programs, between two tiles rather than in the middle of one (timeslice.hpp)
  uint32_t deque_capacity =
      4096;  // ready tiles that a worker holds before they go the slower way through a shared list
};

// One tile in a trace; times in nanoseconds of a monotonic clock.
struct TraceSlice {
  uint32_t tile;
  uint32_t readied_by;  // node whose completion readied the tile; UINT32_MAX for the first tiles
  uint16_t worker;
  bool stolen;
  uint64_t begin_ns, end_ns;
};

struct RunStats {
  uint64_t steals = 0;
  uint64_t busy_ns = 0;  // worker time inside tiles; only with tracing
};

class Engine;

// The state of one run in flight of a Program: arena, counters, base pointers. Made before runs, so that a run
// allocates nothing. Reused run after run; used by one run at a time. Must end before its engine.
class RunContext {
 public:
  struct Options {
    Policy policy = Policy::depth_first;
    bool trace = false;            // record every tile
    bool empty_kernels = false;    // walk the graph, run nothing
    double spin_kernels_us = 0;    // each tile spins this long instead of running its kernel (benches)
    uint32_t random_delay_us = 0;  // tests: each tile first waits a random time up to this
  };
  RunContext(Engine& engine, std::shared_ptr<const Program> program, const Options& options);
  ~RunContext();  // waits until a run in flight has ended
  RunContext(const RunContext&) = delete;
  RunContext& operator=(const RunContext&) = delete;
  const Program& program() const;
  std::span<const TraceSlice> trace() const;  // of the last run, ordered by begin; when Options::trace
  RunStats stats() const;                     // of the last run

  struct State;
  State& state() { return *state_; }

 private:
  std::unique_ptr<State> state_;
};

struct RunRequest {
  std::span<const std::byte* const> inputs;     // one pointer per Program input, aligned to its element
  std::span<std::byte* const> outputs;          // one per output
  const CancelToken* cancel = nullptr;          // checked before every tile; the rest of the run drains without kernels
  std::atomic<uint32_t>* tiles_done = nullptr;  // counts finished tiles, for progress
};

// Programs with runs in flight get equal shares of the workers' time; all contexts of a Program count as one.
// Threads: `run` and `submit` may be called from any number of threads at once, each with a context of its own.
class Engine {
 public:
  explicit Engine(const EngineOptions& options = {});
  ~Engine();  // waits for runs in flight
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  int workers() const;
  // Runs to the end; the calling thread works too, in the place of the worker of the CPU it is on. Returns false when
  // the run was cancelled. Allocates nothing.
  bool run(RunContext& context, const RunRequest& request);
  // Starts a run and returns; `done(cancelled)` is called once when it has ended, on a worker's own thread, not on one
  // that is inside run(): it must be short and must not throw. The request's spans and what they point to must live
  // until then.
  void submit(RunContext& context, const RunRequest& request, std::function<void(bool cancelled)> done);
  // Of all workers since the engine was made.
  uint64_t total_steals() const;

  struct Impl;
  Impl& impl() { return *impl_; }

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace pando::runtime
