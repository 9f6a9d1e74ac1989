#include "runtime/crew.hpp"

#include <algorithm>
#include <bit>

#include "base/process.hpp"
#include "runtime/injection.hpp"
#include "runtime/thread.hpp"
#include "runtime/worker.hpp"

namespace pando::runtime {
namespace {

// States change rarely: seq_cst throughout. An exchange also hands over what the slot's last user left in it.
bool change(Worker& worker, uint32_t from, uint32_t to) {
  return worker.state.compare_exchange_strong(from, to, std::memory_order_seq_cst);
}

}  // namespace

bool Crew::has_work() const {
  if (injection_.has_runs() || injection_.has_overflow()) return true;
  for (uint64_t lanes = injection_.lanes().active(); lanes != 0; lanes &= lanes - 1) {
    const auto lane = static_cast<uint32_t>(std::countr_zero(lanes));
    if (std::any_of(workers_.begin(), workers_.end(),
                    [lane](const auto& worker) { return !worker->deque(lane).empty(); }))
      return true;
  }
  return false;
}

bool Crew::wake_one() {
  for (const auto& worker : workers_) {
    if (worker->state.load(std::memory_order_seq_cst) != parked || worker->telling.load(std::memory_order_seq_cst) ||
        !change(*worker, parked, searching))
      continue;
    // Counted from now on, not from when the thread runs: others need not wake more meanwhile.
    awake_.fetch_add(1, std::memory_order_seq_cst);
    searching_.fetch_add(1, std::memory_order_seq_cst);
    futex_wake(worker->state, 1);
    return true;
  }
  return false;
}

void Crew::wake(uint32_t count) {
  while (count-- > 0 && awake_.load(std::memory_order_seq_cst) < limit_ && wake_one()) {
  }
}

void Crew::notify_completion() {
  auto any = [this](uint32_t state) {
    return std::any_of(workers_.begin(), workers_.end(),
                       [state](const auto& worker) { return worker->state.load(std::memory_order_seq_cst) == state; });
  };
  if (any(searching) || wake_one() || any(active) || any(called)) return;
  for (const auto& worker : workers_) {
    if (!change(*worker, lent, called)) continue;
    futex_wake(worker->state, 1);
    return;
  }
  // What is left are threads that call callbacks, and look at the list afterwards, or that have just changed their
  // state.
  if (!any(parked)) notify_completion();
}

void Crew::wake_for_run(uint32_t count) {
  int already = std::max(0, searching_.load(std::memory_order_seq_cst));
  if (count > static_cast<uint32_t>(already)) wake(count - static_cast<uint32_t>(already));
}

bool Crew::wait_until_woken(Worker& worker) {
  for (;;) {
    uint32_t state = worker.state.load(std::memory_order_seq_cst);
    if (state == searching) return true;
    if (state == stopping) return false;
    if (injection_.has_completions()) {
      ScopedExitGate inside;
      if (tell_completions(worker)) return true;
    } else if (state != called || !change(worker, called, lent)) {
      futex_wait(worker.state, state);
    }
  }
}

bool Crew::claim(Worker& worker) { return change(worker, searching, active); }
bool Crew::unclaim(Worker& worker) { return change(worker, active, searching); }

bool Crew::begin_search(Worker& worker) {
  begin_search();  // before the change: a caller that takes the slot counts one searcher out
  if (change(worker, active, searching)) return true;
  end_search();
  return false;
}

void Crew::end_search() {
  if (searching_.fetch_sub(1, std::memory_order_seq_cst) <= 1 && awake_.load(std::memory_order_seq_cst) < limit_ &&
      has_work())
    wake(1);
}

bool Crew::still_searching(const Worker& worker) const {
  return worker.state.load(std::memory_order_relaxed) == searching;
}

bool Crew::park(Worker& worker) {
  if (!change(worker, searching, parked)) return false;  // taken by a caller, who has counted us out; or stopping
  awake_.fetch_sub(1, std::memory_order_seq_cst);
  searching_.fetch_sub(1, std::memory_order_seq_cst);
  // The last look, after we are counted out. Where the change back fails, somebody else has given the slot a purpose.
  return has_work() && search_again(worker);
}

bool Crew::search_again(Worker& worker) {
  if (!change(worker, parked, searching)) return false;
  awake_.fetch_add(1, std::memory_order_seq_cst);
  searching_.fetch_add(1, std::memory_order_seq_cst);
  return true;
}

bool Crew::tell_completions(Worker& worker) {
  worker.telling.store(true, std::memory_order_seq_cst);
  if (change(worker, searching, parked)) {
    awake_.fetch_sub(1, std::memory_order_seq_cst);
    end_search();
  }
  worker.tell_completions();
  worker.telling.store(false, std::memory_order_seq_cst);
  return search_again(worker);
}

bool Crew::try_lend(Worker& worker, State from) {
  if (worker.state.load(std::memory_order_seq_cst) != from || !change(worker, from, lent)) return false;
  if (from == parked) awake_.fetch_add(1, std::memory_order_seq_cst);
  else end_search();
  return true;
}

Worker* Crew::lend() {
  int cpu = sched_getcpu();
  // A sleeper's slot before a searcher's: the searcher is awake and goes on beside us.
  for (State from : {parked, searching}) {
    for (const auto& worker : workers_)
      if (worker->cpu == cpu && try_lend(*worker, from)) return worker.get();
    // From the other end than wake_one, so that the threads that are woken stay the same ones.
    for (size_t i = workers_.size(); i-- > 0;)
      if (try_lend(*workers_[i], from)) return workers_[i].get();
  }
  return nullptr;
}

void Crew::give_back(Worker& worker) {
  // From `called`, too: the slot's thread is awake then, and goes by the new state afterwards.
  worker.state.store(parked, std::memory_order_seq_cst);
  awake_.fetch_sub(1, std::memory_order_seq_cst);
  // Tiles of other runs may lie in the slot's deque, or a run may have come while all slots were in use.
  if (awake_.load(std::memory_order_seq_cst) < limit_ && has_work()) wake(1);
}

void Crew::stop() {
  for (const auto& worker : workers_) {
    worker->state.store(stopping, std::memory_order_seq_cst);
    futex_wake(worker->state, 1);
  }
}

void Crew::clear() {
  searching_.store(0, std::memory_order_seq_cst);
  awake_.store(0, std::memory_order_seq_cst);
  for (const auto& worker : workers_) {
    worker->state.store(parked, std::memory_order_seq_cst);
    worker->telling.store(false, std::memory_order_seq_cst);
  }
}

}  // namespace pando::runtime
