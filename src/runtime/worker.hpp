// A worker: one deque and the loop that walks tile graphs. Used by one thread at a time, see crew.hpp.
#pragma once
#include "base/sanitizer.hpp"
#include "runtime/context_state.hpp"
#include "runtime/crew.hpp"
#include "runtime/injection.hpp"
#include "runtime/timeslice.hpp"

namespace pando::runtime {

class alignas(128) Worker {
 public:
  Worker(Engine::Impl& engine, uint32_t number, int cpu)
      : engine_(engine), number_(number), random_(number + 1), cpu(cpu) {}

  // Body of the slot's own thread.
  void background();
  // The calling thread works in this slot, which was lent to it, from `chunk` on if there is one, until `run` has ended
  // or nothing is left to do but wait for other workers. It is inside the ExitGate.
  void serve(const RunContext::State& run, const Injection::Chunk* chunk);
  // Memory of at least Program::scratch_bytes, and room for all node ids of any program. Replaced while runs are in
  // flight: the old one stays valid until none is.
  void set_memory(std::byte* scratch, uint32_t* ready) {
    scratch_.store(scratch, std::memory_order_release);
    ready_.store(ready, std::memory_order_release);
  }
  // On the slot's own thread, which does not work in the slot: calls the callbacks of runs that have ended.
  void tell_completions();
  // Makes the deques of lanes [0, lanes). Under the engine's lock; other threads come upon a lane's deque after a run
  // has begun in the lane (see Lanes::active).
  void make_deques(uint32_t lanes, uint32_t capacity);
  // The ready tiles of a lane with runs in flight.
  Deque& deque(uint32_t lane) { return *deques_[lane]; }
  // In the child of a fork().
  void clear();
  uint64_t steals() const { return steals_.load(std::memory_order_relaxed); }

 private:
  struct Found {
    Item item;
    bool stolen = false;
  };
  bool search_in_background(Found& found);
  bool find(Found& found);
  bool find_in(uint32_t lane, Found& found);
  bool find_less_served(uint32_t lane, Found& found);
  void steal_more(Deque& victim);
  bool take_own(uint32_t lane, Found& found);
  bool take_injected(uint32_t lane, Found& found);
  bool take_chunk(const Injection::Chunk& chunk, Found& found);
  void work(Found found, const RunContext::State* own_run);
  template <bool plain>
  uint32_t step(RunContext::State& run, uint32_t tile, bool stolen);
  void execute(const RunContext::State& run, uint32_t tile) {
    const TileCode& code = run.code[tile];
    TileContext context{run.bases, scratch_.load(std::memory_order_acquire), run.functions, run.operators};
    const Unpoisoned own(context.scratch, address_sanitizer ? run.program->scratch_of(tile) : 0);
    run.kernels[code.kernel](run.arguments + code.op, run.arguments + code.tile, context);
  }
  void execute_specially(RunContext::State& run, uint32_t tile, bool stolen);
  uint32_t release(RunContext::State& run, std::span<uint32_t> ready);
  void push(RunContext::State& run, std::span<const uint32_t> tiles);
  void complete(RunContext::State& run);
  void tell(RunContext::State& run);
  void call(std::function<void(bool)>& done, bool cancelled);
  bool turn_is_over(uint32_t lane);
  void settle(uint64_t now);
  void count_steal(RunContext::State& run);

  // ---- the owner's ----
  Engine::Impl& engine_;
  const uint32_t number_;
  uint32_t random_;
  uint32_t tiles_run_ = 0;
  bool takes_oldest_ = false;  // by the policy of the run last worked for
  bool borrowed_ = false;      // by a thread that called Engine::run
  // With several models in flight: who is being served, and since when that has not been charged; 0: nobody.
  uint32_t turn_lane_ = 0;
  uint64_t turn_begin_ns_ = 0;
  Timeslice timeslice_;
  std::atomic<uint64_t> steals_{0};
  std::atomic<std::byte*> scratch_{nullptr};
  std::atomic<uint32_t*> ready_{nullptr};
  std::unique_ptr<Deque> deques_[Lanes::count];

 public:
  const int cpu;  // that the slot is bound to; -1: any
  alignas(64) std::atomic<uint32_t> state{Crew::parked};
  std::atomic<bool> telling{false};  // the slot's own thread calls callbacks
};

}  // namespace pando::runtime
