// Which models have runs in flight, and how much of the workers' time each has received.
#pragma once
#include <atomic>
#include <cstdint>

#include "schedule/schedule.hpp"

namespace pando::runtime {

// What an engine remembers of a compiled model. Guarded by the injection queue's lock.
struct Account {
  uint32_t runs = 0;  // in flight
  uint32_t lane = 0;  // while there are any
  uint64_t received_ns = 0;
};

// A lane is a place for one model with runs in flight; its ready tiles lie in deques of its own, so that a worker can
// choose whom to serve. With more models in flight than lanes some share the last one, and count as one.
class Lanes {
 public:
  static constexpr uint32_t count = 64;  // bits of a word

  // ---- under the injection queue's lock ----
  void begin_run(Account& account);
  void end_run(Account& account);
  void clear();  // forgets all runs, in the child of a fork()

  // ---- any thread ----
  // A bit per lane with runs in flight. seq_cst: set before a run's first tile is made visible, and read before the
  // deques in a worker's last look before it sleeps (crew.hpp).
  uint64_t active() const { return active_.load(std::memory_order_seq_cst); }
  bool several() const { return several_.load(std::memory_order_relaxed); }
  // Worker time; relaxed, since a choice may be made by figures that are a little old.
  void charge(uint32_t lane, uint64_t ns) { received_ns_[lane].fetch_add(ns, std::memory_order_relaxed); }
  uint64_t received(uint32_t lane) const { return received_ns_[lane].load(std::memory_order_relaxed); }
  uint32_t least_received_of(uint64_t candidates) const;

 private:
  alignas(64) std::atomic<uint64_t> active_{0};
  std::atomic<bool> several_{false};
  uint32_t models_[count] = {};  // in each lane; guarded
  uint64_t level_ = 0;           // the most that any model has received; guarded
  alignas(64) std::atomic<uint64_t> received_ns_[count] = {};
};

}  // namespace pando::runtime
