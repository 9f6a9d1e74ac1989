#include "runtime/lanes.hpp"

#include <algorithm>
#include <bit>

namespace pando::runtime {

void Lanes::begin_run(Account& account) {
  if (account.runs++ > 0) return;
  const uint64_t active = active_.load(std::memory_order_relaxed);
  // The lowest free one: one model alone always finds its tiles in the same memory.
  account.lane = std::min(static_cast<uint32_t>(std::countr_one(active)), count - 1);
  if (models_[account.lane]++ > 0) return;
  const uint64_t least = active == 0 ? level_ : received(least_received_of(active));
  received_ns_[account.lane].store(received_at_entry(account.received_ns, least), std::memory_order_relaxed);
  several_.store(active != 0, std::memory_order_relaxed);
  active_.fetch_or(uint64_t{1} << account.lane, std::memory_order_seq_cst);
}

void Lanes::end_run(Account& account) {
  if (--account.runs > 0) return;
  account.received_ns = received(account.lane);
  level_ = std::max(level_, account.received_ns);
  if (--models_[account.lane] > 0) return;
  const uint64_t left =
      active_.fetch_and(~(uint64_t{1} << account.lane), std::memory_order_seq_cst) & ~(uint64_t{1} << account.lane);
  several_.store(std::popcount(left) > 1, std::memory_order_relaxed);
}

void Lanes::clear() {
  active_.store(0, std::memory_order_relaxed);
  several_.store(false, std::memory_order_relaxed);
  std::fill(std::begin(models_), std::end(models_), 0u);
}

uint32_t Lanes::least_received_of(uint64_t candidates) const {
  uint64_t received_ns[count];
  for (uint64_t left = candidates; left != 0; left &= left - 1) {
    const auto lane = static_cast<uint32_t>(std::countr_zero(left));
    received_ns[lane] = received(lane);
  }
  return least_received(received_ns, candidates);
}

}  // namespace pando::runtime
