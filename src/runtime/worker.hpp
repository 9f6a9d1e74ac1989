// A worker: one deque and the loop that walks tile graphs. Used by one thread at a time, see crew.hpp.
#pragma once
#include "runtime/context_state.hpp"
#include "runtime/crew.hpp"
#include "runtime/injection.hpp"
#include "runtime/timeslice.hpp"

namespace pando::runtime {

class alignas(128) Worker {
 public:
  Worker(Engine::Impl& engine, uint32_t number, int cpu, uint32_t deque_capacity)
      : engine_(engine), number_(number), random_(number + 1), cpu(cpu), deque(deque_capacity) {}

  // Body of the slot's own thread.
  void background();
  // The calling thread works in this slot, which was lent to it, from `chunk` on until `run` has ended or nothing is
  // left to do but wait for other workers.
  void serve(const RunContext::State& run, const Injection::Chunk& chunk);
  // Memory of at least Program::scratch_bytes, and room for all node ids of any program. Replaced while runs are in
  // flight: the old one stays valid until none is.
  void set_memory(std::byte* scratch, uint32_t* ready) {
    scratch_.store(scratch, std::memory_order_release);
    ready_.store(ready, std::memory_order_release);
  }
  uint64_t steals() const { return steals_.load(std::memory_order_relaxed); }

 private:
  struct Found {
    Item item;
    bool stolen = false;
  };
  bool search_in_background(Found& found);
  bool find(Found& found);
  void steal_more(Deque& victim);
  bool take_own(Found& found);
  bool find_in_turn(Found& found);
  bool take_injected(Found& found);
  bool take_chunk(const Injection::Chunk& chunk, Found& found);
  void work(Found found, const RunContext::State* own_run);
  template <bool plain>
  uint32_t step(RunContext::State& run, uint32_t tile, bool stolen);
  void execute(const RunContext::State& run, uint32_t tile) {
    const TileCode& code = run.code[tile];
    TileContext context{run.bases, scratch_.load(std::memory_order_acquire), run.functions, run.attributes};
    run.kernels[code.kernel](run.arguments + code.op, run.arguments + code.tile, context);
  }
  void execute_specially(RunContext::State& run, uint32_t tile, bool stolen);
  uint32_t release(RunContext::State& run, std::span<uint32_t> ready);
  void push(RunContext::State& run, std::span<const uint32_t> tiles);
  void complete(RunContext::State& run);
  void count_steal(RunContext::State& run);

  // ---- the owner's ----
  Engine::Impl& engine_;
  const uint32_t number_;
  uint32_t random_;
  uint32_t turns_ = 0;         // tiles run, for fairness between runs
  bool takes_oldest_ = false;  // by the policy of the run last worked for
  Timeslice timeslice_;
  std::atomic<uint64_t> steals_{0};
  std::atomic<std::byte*> scratch_{nullptr};
  std::atomic<uint32_t*> ready_{nullptr};

 public:
  const int cpu;  // that the slot is bound to; -1: any
  Deque deque;
  alignas(64) std::atomic<uint32_t> state{Crew::parked};
};

}  // namespace pando::runtime
