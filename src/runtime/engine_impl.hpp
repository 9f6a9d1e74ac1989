// The inside of an Engine.
#pragma once
#include <mutex>
#include <thread>
#include <unordered_map>
#include <vector>

#include "base/process.hpp"
#include "runtime/thread.hpp"
#include "runtime/worker.hpp"

namespace pando::runtime {

struct Engine::Impl : private ForkAware {
  explicit Impl(const EngineOptions& options);
  ~Impl();  // waits for runs in flight

  // Gives a context its number, and every worker the memory that its program needs. Throws out_of_memory.
  void enter(RunContext::State& context);
  void leave(RunContext::State& context);
  // The context was written before its run entered the queue that the item came from.
  RunContext::State& context(const Item& item) const { return *contexts[item.context]; }

  // Takes the context for a run, see RunContext::State::begin. In the child of a fork() it starts the workers anew.
  void begin_run(RunContext::State& run, const RunRequest& request);
  void end_run();
  // The calling thread works in the slot that was lent to it, and gives it back.
  void serve(Worker& worker, const RunContext::State& run, const Injection::Chunk* first);

  const std::vector<int> cpus;  // allowed ones
  const int usable;             // CPUs: fewer where a quota reduces them
  const int worker_count;
  const bool oversubscribed;
  const uint64_t spin_ns;
  const bool give_way;
  const uint32_t deque_capacity;
  const ThreadMasks user_masks;  // of the thread that made the engine
  Injection injection;
  Crew crew;
  std::vector<std::unique_ptr<Worker>> workers;
  RunContext::State** contexts;  // by number

 private:
  static constexpr uint32_t max_contexts = 1 << 16;
  static constexpr uint32_t closing = 1u << 31;
  struct Known {
    Account account;
    uint32_t contexts = 0;
  };
  void reserve_memory(size_t scratch_bytes, size_t nodes);
  void start_threads();
  void stop_threads();
  void before_fork() override;
  void after_fork_in_parent() override;
  void after_fork_in_child() override;

  std::vector<std::thread> threads_;
  std::atomic<bool> lost_threads_{false};           // by a fork()
  alignas(64) std::atomic<uint32_t> in_flight_{0};  // runs, and the bit `closing`
  alignas(64) std::mutex contexts_mutex_;
  AlignedBuffer context_table_;
  std::unordered_map<const Program*, Known> programs_;  // of the contexts
  std::vector<uint32_t> free_numbers_;
  uint32_t numbers_ = 0;
  size_t scratch_bytes_ = 0, node_capacity_ = 0;
  std::vector<AlignedBuffer> memory_, retired_memory_;
};

}  // namespace pando::runtime
