// Where work waits that lies in no worker's deque: new runs with first tiles left to start, tiles that found their
// worker's deque full, and ends of runs that a worker's own thread must tell.
#pragma once
#include <mutex>

#include "runtime/context_state.hpp"

namespace pando::runtime {

// A lock and two intrusive lists, so that nothing allocates. Not on the fast path: a run passes here once per chunk of
// its first tiles.
class Injection {
 public:
  // First tiles [begin, begin + count) of a run's list; a run without tiles comes as one empty chunk.
  struct Chunk {
    RunContext::State* run = nullptr;
    uint32_t begin = 0, count = 0;
  };

  // `shares`: how many workers may come for chunks.
  explicit Injection(uint32_t shares) : shares_(shares) {}

  // Enters a run, in a lane from now on; with `first`, the caller leaves with the first chunk of it.
  void add(RunContext::State& run, Chunk* first);
  // The run has no tile left: it leaves its lane.
  void end(RunContext::State& run);
  // Takes a chunk of the lane's oldest run: half of an even share, so that workers get bands of neighbouring tiles and
  // nobody sits on tiles that others could start. False: none, or another worker holds the lock.
  bool try_take(uint32_t lane, Chunk& chunk);
  void push_overflow(RunContext::State& run, std::span<const uint32_t> tiles);
  // `table`: the engine's contexts by number. False: none in the lane, or another worker holds the lock.
  bool try_pop_overflow(uint32_t lane, Item& item, RunContext::State* const* table);

  // The end of a submitted run, to be told by a worker's own thread.
  void push_completion(RunContext::State& run);
  RunContext::State* pop_completion();  // null: none

  Lanes& lanes() { return lanes_; }
  const Lanes& lanes() const { return lanes_; }
  // seq_cst: the last look of a worker that goes to sleep, see crew.hpp.
  bool has_completions() const { return completions_.load(std::memory_order_seq_cst) != 0; }
  bool has_runs() const { return waiting_.load(std::memory_order_seq_cst) != 0; }
  bool has_runs(uint32_t lane) const { return waiting_.load(std::memory_order_seq_cst) >> lane & 1; }
  bool has_overflow() const { return overflows_.load(std::memory_order_seq_cst) != 0; }
  bool has_overflow(uint32_t lane) const { return overflows_.load(std::memory_order_seq_cst) >> lane & 1; }
  // Held while runs are entered: guards what must not change while a run starts.
  std::mutex& mutex() { return mutex_; }
  // In the child of a fork().
  void clear();

 private:
  struct List {
    RunContext::State *oldest = nullptr, *newest = nullptr;
    void append(RunContext::State& run);
    void remove_oldest();
  };
  Chunk take_from(RunContext::State& run);

  const uint32_t shares_;
  Lanes lanes_;
  // A bit per lane with runs, or tiles that found no place, in its list.
  alignas(64) std::atomic<uint64_t> waiting_{0};
  std::atomic<uint64_t> overflows_{0};
  std::atomic<uint32_t> completions_{0};
  alignas(64) std::mutex mutex_;
  List runs_[Lanes::count], completed_;
  struct Overflow {
    Item newest;
    uint32_t count = 0;
  };
  Overflow overflow_[Lanes::count];
};

}  // namespace pando::runtime
