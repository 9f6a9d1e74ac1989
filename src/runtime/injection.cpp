#include "runtime/injection.hpp"

#include <algorithm>

namespace pando::runtime {

void Injection::List::append(RunContext::State& run) {
  run.next_run = nullptr;
  (newest ? newest->next_run : oldest) = &run;
  newest = &run;
}

void Injection::List::remove_oldest() {
  oldest = oldest->next_run;
  if (!oldest) newest = nullptr;
}

Injection::Chunk Injection::take_from(RunContext::State& run) {
  uint32_t left = static_cast<uint32_t>(run.roots.size()) - run.next_root;
  uint32_t count = first_tiles(left, shares_);
  Chunk chunk{&run, run.next_root, count};
  run.next_root += count;
  return chunk;
}

void Injection::add(RunContext::State& run, Chunk* first) {
  std::lock_guard lock(mutex_);
  lanes_.begin_run(*run.account);
  run.lane = run.account->lane;
  run.next_root = 0;
  if (first) {
    *first = take_from(run);
    if (run.next_root == run.roots.size()) return;
  }
  runs_[run.lane].append(run);
  waiting_.fetch_or(uint64_t{1} << run.lane, std::memory_order_seq_cst);
}

void Injection::end(RunContext::State& run) {
  std::lock_guard lock(mutex_);
  lanes_.end_run(*run.account);
}

bool Injection::try_take(uint32_t lane, Chunk& chunk) {
  if (!has_runs(lane)) return false;
  std::unique_lock lock(mutex_, std::try_to_lock);
  List& list = runs_[lane];
  if (!lock || !list.oldest) return false;
  RunContext::State& run = *list.oldest;
  chunk = take_from(run);
  // Unlinked together with its last chunk, while the run cannot have ended: no dangling entry.
  if (run.next_root == run.roots.size()) {
    list.remove_oldest();
    if (!list.oldest) waiting_.fetch_and(~(uint64_t{1} << lane), std::memory_order_seq_cst);
  }
  return true;
}

void Injection::push_overflow(RunContext::State& run, std::span<const uint32_t> tiles) {
  std::lock_guard lock(mutex_);
  Overflow& list = overflow_[run.lane];
  // A tile is ready at most once at a time, so its place in overflow_next is free.
  for (uint32_t tile : tiles) {
    run.overflow_next[tile] = list.newest;
    list.newest = {run.number, tile};
  }
  list.count += static_cast<uint32_t>(tiles.size());
  overflows_.fetch_or(uint64_t{1} << run.lane, std::memory_order_seq_cst);
}

bool Injection::try_pop_overflow(uint32_t lane, Item& item, RunContext::State* const* table) {
  if (!has_overflow(lane)) return false;
  std::unique_lock lock(mutex_, std::try_to_lock);
  Overflow& list = overflow_[lane];
  if (!lock || list.count == 0) return false;
  item = list.newest;
  list.newest = table[item.context]->overflow_next[item.tile];
  if (--list.count == 0) overflows_.fetch_and(~(uint64_t{1} << lane), std::memory_order_seq_cst);
  return true;
}

void Injection::push_completion(RunContext::State& run) {
  std::lock_guard lock(mutex_);
  completed_.append(run);
  completions_.fetch_add(1, std::memory_order_seq_cst);
}

RunContext::State* Injection::pop_completion() {
  std::lock_guard lock(mutex_);
  RunContext::State* run = completed_.oldest;
  if (!run) return nullptr;
  completed_.remove_oldest();
  completions_.fetch_sub(1, std::memory_order_seq_cst);
  return run;
}

void Injection::clear() {
  lanes_.clear();
  waiting_.store(0, std::memory_order_relaxed);
  overflows_.store(0, std::memory_order_relaxed);
  completions_.store(0, std::memory_order_relaxed);
  std::fill(std::begin(runs_), std::end(runs_), List{});
  std::fill(std::begin(overflow_), std::end(overflow_), Overflow{});
  completed_ = {};
}

}  // namespace pando::runtime
