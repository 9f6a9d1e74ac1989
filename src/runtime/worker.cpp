#include "runtime/worker.hpp"

#include <pthread.h>

#include <algorithm>
#include <bit>
#include <climits>

#include "base/float_mode.hpp"
#include "base/process.hpp"
#include "runtime/engine_impl.hpp"
#include "runtime/thread.hpp"

namespace pando::runtime {
namespace {

constexpr uint32_t max_pauses = 16;  // between two looks of a searcher: the looks slow the owners of deques down

void pause_for(uint32_t round) {
  uint32_t pauses = round < 4 ? 1u << round : max_pauses;
  for (uint32_t i = 0; i < pauses; i++) pause_cpu();
}

}  // namespace

void Worker::background() {
  ScopedFloatMode mode;
  while (engine_.crew.wait_until_woken(*this)) {
    ScopedExitGate inside;
    Found found;
    while (search_in_background(found)) {
      work(found, nullptr);
      if (!engine_.crew.begin_search(*this)) break;
    }
  }
}

// From state `searching` and counted as such; true: in state `active` with something to do; false: see
// wait_until_woken.
bool Worker::search_in_background(Found& found) {
  uint64_t deadline = now_ns() + engine_.spin_ns;
  for (uint32_t round = 0;; round++) {
    if (ExitGate::closed()) ExitGate::halt();
    if (engine_.injection.has_completions()) {
      if (!engine_.crew.tell_completions(*this)) return false;
      deadline = now_ns() + engine_.spin_ns;
    }
    if (engine_.crew.has_work()) {
      if (!engine_.crew.claim(*this)) return false;
      if (find(found)) {
        engine_.crew.end_search();
        return true;
      }
      if (!engine_.crew.unclaim(*this)) return false;
    } else if (!engine_.crew.still_searching(*this)) {
      return false;
    }
    if (now_ns() >= deadline) {
      if (!engine_.crew.park(*this)) return false;
      deadline = now_ns() + engine_.spin_ns;
    }
    pause_for(round);
    if (engine_.oversubscribed && round >= 4) sched_yield();  // the thread that has the work may wait for this CPU
  }
}

void Worker::serve(const RunContext::State& run, const Injection::Chunk* chunk) {
  struct Borrow {
    bool& borrowed;
    ~Borrow() { borrowed = false; }
  } borrow{borrowed_};
  borrowed_ = true;
  turn_begin_ns_ = 0;  // the slot's last user left long ago
  Found found;
  bool something = (chunk && take_chunk(*chunk, found)) || find(found);
  for (;;) {
    if (something) work(found, &run);
    if (run.has_ended()) return;
    something = false;
    engine_.crew.begin_search();
    uint64_t deadline = now_ns() + engine_.spin_ns;
    for (uint32_t round = 0; !something && !run.has_ended() && now_ns() < deadline; round++) {
      if (ExitGate::closed()) ExitGate::halt();
      something = engine_.crew.has_work() && find(found);
      if (!something) pause_for(round);
    }
    engine_.crew.end_search();
    if (!something) return;
  }
}

// Runs `found` and all that comes after it or can be found at once; a caller stops when its own run has ended.
void Worker::work(Found found, const RunContext::State* own_run) {
  for (;;) {
    RunContext::State& run = engine_.context(found.item);
    if (own_run && own_run->has_ended()) {
      push(run, {&found.item.tile, 1});
      break;
    }
    takes_oldest_ = takes_oldest(run.policy);
    const uint32_t lane = run.lane;
    uint32_t next =
        run.plain ? step<true>(run, found.item.tile, found.stolen) : step<false>(run, found.item.tile, found.stolen);
    // Without a next tile in hand the run may have ended and its context be gone.
    if (ExitGate::closed()) ExitGate::halt();
    Found other;
    tiles_run_++;
    const bool several = engine_.injection.lanes().several();
    if (!several) turn_begin_ns_ = 0;
    if (engine_.give_way && timeslice_.is_over(tiles_run_)) {
      if (next != no_tile) push(run, {&next, 1});
      if (turn_begin_ns_ != 0) settle(now_ns());
      turn_begin_ns_ = 0;  // other programs' time is no model's
      timeslice_.give_way();
      if (!find(found)) break;
    } else if (!borrowed_ && engine_.injection.has_completions()) {
      if (next != no_tile) push(run, {&next, 1});
      break;  // outside of the slot: callbacks may take their time
    } else if (several && turn_is_over(lane) && find_less_served(lane, other)) {
      if (next != no_tile) push(run, {&next, 1});
      found = other;
    } else if (next != no_tile) {
      found = {{found.item.context, next}, false};
    } else if (!find(found)) {
      break;
    }
  }
  if (turn_begin_ns_ != 0) settle(now_ns());
  turn_begin_ns_ = 0;
}

// Runs a tile, counts down what waits for it, and returns the tile to continue with, or no_tile.
template <bool plain>
uint32_t Worker::step(RunContext::State& run, uint32_t tile, bool stolen) {
  if constexpr (plain) execute(run, tile);
  else execute_specially(run, tile, stolen);

  // Readied tiles grow from the buffer's front, events to expand from its back. A node is readied once per run, so room
  // for all nodes is enough for both.
  uint32_t* const ready = ready_.load(std::memory_order_acquire);
  uint32_t* const no_events = ready + run.nodes;
  uint32_t* events = no_events;
  size_t readied = 0;
  for (uint32_t node = tile;;) {
    uint32_t edge = run.successor_begin[node], end = run.successor_begin[node + 1];
    if (edge == end && run.count_down(run.final_event())) {
      complete(run);
      return no_tile;
    }
    for (; edge < end; edge++) {
      uint32_t successor = run.successors[edge];
      if (!run.count_down(successor)) continue;
      if (successor < run.tiles) ready[readied++] = successor;
      else *--events = successor;
    }
    if (events == no_events) break;
    node = *events++;
  }
  // Nothing readied: another worker may have ended the run since our last count, and the context be gone.
  if (readied == 0) return no_tile;
  if constexpr (!plain)
    if (run.slices)
      for (size_t i = 0; i < readied; i++) run.slices[ready[i]].readied_by = tile;
  return release(run, {ready, readied});
}

// Makes readied tiles available but for the one to continue with, which it returns. They may all have run, and the
// context be gone, when it returns no_tile.
uint32_t Worker::release(RunContext::State& run, std::span<uint32_t> ready) {
  bool continues = order_ready(run.policy, ready, run.priority);
  if (std::span<uint32_t> rest = ready.subspan(continues); !rest.empty()) push(run, rest);
  return continues ? ready[0] : no_tile;
}

void Worker::push(RunContext::State& run, std::span<const uint32_t> tiles) {
  size_t fitted = deque(run.lane).push(run.number, tiles);
  if (fitted < tiles.size()) engine_.injection.push_overflow(run, tiles.subspan(fitted));
  engine_.crew.notify(static_cast<uint32_t>(tiles.size()));
}

// With several models in flight, those that have received least come first. The time of a search that finds nothing,
// and of what a worker does then, is no model's.
bool Worker::find(Found& found) {
  found.stolen = false;
  uint64_t lanes = engine_.injection.lanes().active();
  if ((lanes & (lanes - 1)) == 0) {
    turn_begin_ns_ = 0;
    return lanes != 0 && find_in(static_cast<uint32_t>(std::countr_zero(lanes)), found);
  }
  const uint64_t now = now_ns();
  settle(now);
  while (lanes != 0) {
    const uint32_t lane = engine_.injection.lanes().least_received_of(lanes);
    if (find_in(lane, found)) {
      turn_lane_ = lane;
      turn_begin_ns_ = now;
      return true;
    }
    lanes &= ~(uint64_t{1} << lane);
  }
  turn_begin_ns_ = 0;
  return false;
}

bool Worker::find_in(uint32_t lane, Found& found) {
  if (take_own(lane, found) || engine_.injection.try_pop_overflow(lane, found.item, engine_.contexts) ||
      take_injected(lane, found))
    return true;
  auto workers = static_cast<uint32_t>(engine_.workers.size());
  for (uint32_t attempt = 0; attempt + 1 < workers; attempt++) {
    Deque& victim = engine_.workers[next_victim(number_, workers, attempt, random_)]->deque(lane);
    if (!victim.steal(found.item)) continue;
    found.stolen = true;
    count_steal(engine_.context(found.item));
    steal_more(victim);
    return true;
  }
  return false;
}

// After a turn: something of a model that has received less than the one that was served.
bool Worker::find_less_served(uint32_t lane, Found& found) {
  const Lanes& lanes = engine_.injection.lanes();
  const uint64_t received = lanes.received(lane);
  uint64_t others = lanes.active() & ~(uint64_t{1} << lane);
  while (others != 0) {
    const uint32_t other = lanes.least_received_of(others);
    if (lanes.received(other) >= received) return false;
    if (find_in(other, found)) {
      turn_lane_ = other;
      return true;
    }
    others &= ~(uint64_t{1} << other);
  }
  return false;
}

// A turn begins with the first tile after which several models are seen in flight, or when another one is served.
bool Worker::turn_is_over(uint32_t lane) {
  const uint64_t now = now_ns();
  if (turn_begin_ns_ == 0) {
    turn_lane_ = lane;
    turn_begin_ns_ = now;
  }
  if (now - turn_begin_ns_ < turn_ns) return false;
  settle(now);
  return true;
}

// Charges the time since the turn's begin to the model that was served.
void Worker::settle(uint64_t now) {
  if (turn_begin_ns_ != 0) engine_.injection.lanes().charge(turn_lane_, now - turn_begin_ns_);
  turn_begin_ns_ = now;
}

// Half of what the victim has: its lines are in our cache now, and the next tiles are neighbours of the first one.
void Worker::steal_more(Deque& victim) {
  Item stolen[max_stolen];
  uint32_t count = 0;
  for (uint32_t more = more_to_steal(victim.size()); count < more && victim.steal(stolen[count]);) count++;
  // The neighbour of the first one is to be ours next: in at the end that we take from.
  if (!takes_oldest_) std::reverse(stolen, stolen + count);
  for (uint32_t i = 0; i < count; i++) push(engine_.context(stolen[i]), {&stolen[i].tile, 1});
}

bool Worker::take_own(uint32_t lane, Found& found) {
  Deque& own = deque(lane);
  if (!takes_oldest_) return own.pop(found.item);
  while (!own.empty())  // a thief may be quicker; then the next one may be ours
    if (own.steal(found.item)) return true;
  return false;
}

bool Worker::take_injected(uint32_t lane, Found& found) {
  Injection::Chunk chunk;
  return engine_.injection.try_take(lane, chunk) && (take_chunk(chunk, found) || take_own(lane, found));
}

// As if one completion had readied the chunk's tiles.
bool Worker::take_chunk(const Injection::Chunk& chunk, Found& found) {
  RunContext::State& run = *chunk.run;
  if (chunk.count == 0) {  // a program without tiles
    complete(run);
    return false;
  }
  takes_oldest_ = takes_oldest(run.policy);
  uint32_t* ready = ready_.load(std::memory_order_acquire);
  std::copy_n(run.roots.begin() + chunk.begin, chunk.count, ready);
  uint32_t context = run.number;
  uint32_t tile = release(run, {ready, chunk.count});
  found = {{context, tile}, false};
  return tile != no_tile;
}

void Worker::count_steal(RunContext::State& run) {
  // One writer at a time: no locked instruction.
  for (std::atomic<uint64_t>* count : {&steals_, &run.steals[number_].value})
    count->store(count->load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}

// The final event: nothing of the run is ready or running anywhere.
void Worker::complete(RunContext::State& run) {
  if (!run.done) return tell(run);
  engine_.injection.push_completion(run);
  if (borrowed_) engine_.crew.notify_completion();  // a caller may hold locks that `done` takes; a worker goes itself
}

void Worker::tell(RunContext::State& run) {
  std::function<void(bool)> done = std::move(run.done);
  bool cancelled = run.cancelled.load(std::memory_order_relaxed);  // set before a decrement that we acquired
  engine_.injection.end(run);
  // From here on the context is its owner's again. Release: what we acquired from all tiles is shown to him.
  if (run.phase.exchange(RunContext::State::ended, std::memory_order_acq_rel) == RunContext::State::awaited)
    futex_wake(run.phase, INT_MAX);
  if (done) call(done, cancelled);
  engine_.end_run();
}

void Worker::tell_completions() {
  while (RunContext::State* run = engine_.injection.pop_completion()) tell(*run);
}

// Code of the user: it may call exit(), start threads and processes, and fork.
void Worker::call(std::function<void(bool)>& done, bool cancelled) {
  const uint32_t generation = fork_generation();
  {
    ScopedOutsideExitGate outside;
    ScopedUserMasks masks(engine_.user_masks, cpu);
    done(cancelled);
    done = nullptr;  // what it holds must not outlive the engine
  }
  if (fork_generation() != generation) pthread_exit(nullptr);  // in the child the engine has other workers
}

void Worker::make_deques(uint32_t lanes, uint32_t capacity) {
  for (uint32_t lane = 0; lane < lanes; lane++)
    if (!deques_[lane]) deques_[lane] = std::make_unique<Deque>(capacity);
}

void Worker::clear() {
  for (const auto& deque : deques_)
    if (deque) deque->clear();
  borrowed_ = false;
  turn_begin_ns_ = 0;
}

}  // namespace pando::runtime
