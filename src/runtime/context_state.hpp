// The inside of a RunContext: what workers read and write while they walk one run.
#pragma once
#include <atomic>
#include <functional>
#include <memory>
#include <vector>

#include "runtime/deque.hpp"
#include "runtime/engine.hpp"
#include "runtime/lanes.hpp"

namespace pando::runtime {

constexpr uint32_t no_tile = UINT32_MAX;

struct RunContext::State {
  // Values of `phase`.
  enum : uint32_t { ended, running, awaited };  // awaited: running, and somebody sleeps until it has ended

  State(Engine& owner, std::shared_ptr<const Program> code, const Options& how);

  // Takes the context for a run. Throws invalid_argument when it is in flight or the request does not fit the program.
  void begin(const RunRequest& request);
  // Acquire: a thread that sees the end sees all that the run wrote.
  bool has_ended() const { return phase.load(std::memory_order_acquire) == ended; }
  // Waits for the end, at most about `ns` when that is not 0; true: it has ended.
  bool wait_until_ended(uint64_t ns = 0);
  // In the child of a fork(), on a context whose run was left behind: ready for a run.
  void forget_run();

  // One predecessor of `node` has finished; true when it was the last one.
  bool count_down(uint32_t node) {
    // A single predecessor is the one that we have just finished: its counter, maybe in another core's cache, is not
    // needed.
    if (need[node] == 1) return true;
    std::atomic<uint32_t>& counter = counters[node];
    // Acquire, so that the last one sees what all predecessors wrote; release, so that it is shown what we wrote. No
    // look before it whether we are the last one: where another core has the line that would cost a second transfer.
    if (counter.fetch_sub(1, std::memory_order_acq_rel) != 1) return false;
    // Re-armed for the next run. Relaxed: nobody touches the counter again in this run, and the run's end, which the
    // next run's start comes after, comes after this store.
    counter.store(need[node], std::memory_order_relaxed);
    return true;
  }
  // Nodes without successors are the predecessors of the final event, which has no place in the program.
  uint32_t final_event() const { return nodes; }

  // ---- fixed; pointers into the program, one indirection less ----
  uint32_t tiles, nodes;  // nodes: tiles and events
  const uint32_t *successor_begin, *successors;
  const uint32_t* need;  // nodes, then the final event
  const TileCode* code;
  const std::byte* arguments;
  const Kernel* kernels;
  const void* const* functions;
  const OperatorEntry* operators;
  std::byte* const* bases;
  const float* priority;
  uint32_t number;  // of this context in the engine's table
  Policy policy;
  TraceSlice* slices = nullptr;  // per tile, when traced
  Account* account;              // of the program in this engine
  // ---- fixed during a run ----
  uint32_t lane = 0;  // the account's
  bool plain = true;  // kernels only: no trace, token, progress or test option
  const CancelToken* cancel = nullptr;
  std::atomic<uint32_t>* tiles_done = nullptr;

  // ---- hot ----
  alignas(64) std::atomic<uint32_t> phase{ended};
  std::atomic<bool> cancelled{false};
  alignas(64) std::unique_ptr<std::atomic<uint32_t>[]> counters;

  // ---- guarded by the engine's injection queue ----
  alignas(64) uint32_t next_root = 0;
  State* next_run = nullptr;        // in the list of runs with first tiles left, then in that of completions
  std::vector<Item> overflow_next;  // per tile: the next one in the list of tiles that found no place in a deque

  // ---- cold ----
  struct alignas(64) StealCount {
    std::atomic<uint64_t> value{0};  // written by one worker
  };
  std::unique_ptr<StealCount[]> steals;  // per worker, in this run
  std::function<void(bool)> done;        // of a submitted run
  Engine& engine;
  std::shared_ptr<const Program> program;
  Options options;
  std::vector<uint32_t> roots;  // tiles without predecessors, by falling priority
  std::vector<uint32_t> need_with_final;
  std::vector<std::byte*> base_table;
  AlignedBuffer arena;
  std::vector<TraceSlice> slice_table;
  mutable std::vector<TraceSlice> sorted_slices;
};

}  // namespace pando::runtime
