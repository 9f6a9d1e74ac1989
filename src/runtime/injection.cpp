#include "runtime/injection.hpp"

#include <algorithm>

namespace pando::runtime {

Injection::Chunk Injection::take_from(RunContext::State& run) {
  uint32_t left = static_cast<uint32_t>(run.roots.size()) - run.next_root;
  uint32_t count = first_tiles(left, shares_);
  Chunk chunk{&run, run.next_root, count};
  run.next_root += count;
  return chunk;
}

void Injection::add(RunContext::State& run, Chunk* first) {
  std::lock_guard lock(mutex_);
  run.next_root = 0;
  run.next_run = nullptr;
  if (first) {
    *first = take_from(run);
    if (run.next_root == run.roots.size()) return;
  }
  (newest_ ? newest_->next_run : oldest_) = &run;
  newest_ = &run;
  runs_.fetch_add(1, std::memory_order_seq_cst);
}

bool Injection::try_take(Chunk& chunk) {
  if (!has_runs()) return false;
  std::unique_lock lock(mutex_, std::try_to_lock);
  if (!lock || !oldest_) return false;
  RunContext::State& run = *oldest_;
  chunk = take_from(run);
  // Unlinked together with its last chunk, while the run cannot have ended: no dangling entry.
  if (run.next_root == run.roots.size()) {
    oldest_ = run.next_run;
    if (!oldest_) newest_ = nullptr;
    runs_.fetch_sub(1, std::memory_order_seq_cst);
  }
  return true;
}

void Injection::push_overflow(RunContext::State& run, std::span<const uint32_t> tiles) {
  std::lock_guard lock(mutex_);
  // A tile is ready at most once at a time, so its place in overflow_next is free.
  for (uint32_t tile : tiles) {
    run.overflow_next[tile] = overflow_;
    overflow_ = {run.number, tile};
  }
  overflows_.fetch_add(static_cast<uint32_t>(tiles.size()), std::memory_order_seq_cst);
}

bool Injection::try_pop_overflow(Item& item, RunContext::State* const* table) {
  if (!has_overflow()) return false;
  std::unique_lock lock(mutex_, std::try_to_lock);
  if (!lock || !has_overflow()) return false;
  item = overflow_;
  overflow_ = table[item.context]->overflow_next[item.tile];
  overflows_.fetch_sub(1, std::memory_order_seq_cst);
  return true;
}

}  // namespace pando::runtime
