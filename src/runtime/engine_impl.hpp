// The inside of an Engine.
#pragma once
#include <mutex>
#include <thread>
#include <vector>

#include "runtime/worker.hpp"

namespace pando::runtime {

struct Engine::Impl {
  explicit Impl(const EngineOptions& options);
  ~Impl();  // waits for runs in flight

  // Gives a context its number, and every worker the memory that its program needs. Throws out_of_memory.
  void enter(RunContext::State& context);
  void leave(RunContext::State& context);
  // The context was written before its run entered the queue that the item came from.
  RunContext::State& context(const Item& item) const { return *contexts[item.context]; }

  void begin_run() { in_flight_.fetch_add(1, std::memory_order_relaxed); }
  void end_run();
  bool has_several_runs() const { return in_flight_.load(std::memory_order_relaxed) > 1; }

  const std::vector<int> cpus;
  const int worker_count;
  const bool oversubscribed;
  const uint64_t spin_ns;
  const bool give_way;
  Injection injection;
  Crew crew;
  std::vector<std::unique_ptr<Worker>> workers;
  RunContext::State** contexts;  // by number

 private:
  static constexpr uint32_t max_contexts = 1 << 16;
  static constexpr uint32_t closing = 1u << 31;
  void reserve_memory(size_t scratch_bytes, size_t nodes);
  void stop_threads();

  std::vector<std::thread> threads_;
  alignas(64) std::atomic<uint32_t> in_flight_{0};  // runs, and the bit `closing`
  alignas(64) std::mutex contexts_mutex_;
  AlignedBuffer context_table_;
  std::vector<uint32_t> free_numbers_;
  uint32_t numbers_ = 0;
  size_t scratch_bytes_ = 0, node_capacity_ = 0;
  std::vector<AlignedBuffer> memory_, retired_memory_;
};

}  // namespace pando::runtime
