// Who works, who searches, who sleeps: the states of the engine's worker slots and the protocol of waking.
#pragma once
#include <atomic>
#include <memory>
#include <span>

namespace pando::runtime {

class Injection;
class Worker;

// The protocol loses no work. A thread that makes work visible (a push, a new run: a seq_cst store) then reads
// `searching_` and `awake_`, and wakes a sleeper unless another thread searches or all that may be awake are. A thread
// that stops searching or being awake first counts itself out (seq_cst), then looks at all queues once more. In the
// single total order of these operations either the producer's read comes after the count, and the producer wakes
// somebody, or the producer's store comes before the look, and the work is seen. A searcher that found work and was the
// last one wakes the next when there is more: so one wake-up spreads to as many workers as there is work for. (The idea
// is that of Go's scheduler.) Counts may be off for a moment by a thread between its change of state and its count. Too
// low costs a needless wake-up; too high is harmless since that thread is going to look at the queues after it has
// counted.
class Crew {
 public:
  // States of a slot, which its background thread sleeps on.
  enum State : uint32_t {
    parked,     // nobody works in it; its thread sleeps or is about to
    searching,  // its thread looks for work and does not touch the deque: a caller may take the slot
    active,     // its thread works in it
    lent,       // a thread that called Engine::run works in it; its own thread sleeps
    called,     // the same, but its own thread is to call callbacks
    stopping,   // its thread ends
  };

  // Callbacks of submitted runs are called by the slots' own threads, never by a caller's, which may hold locks that
  // the user's code wants. A thread leaves its slot for that (Worker::telling): callers may take it, but nobody is to
  // be woken in it, and afterwards the thread looks at all queues once more. A thread that puts the end of a run into
  // the list (seq_cst) then reads the states; each thread looks at the list after it has read a state to sleep on. So
  // where the producer sees a thread that is awake, that thread will look.

  // At most `limit` workers are woken (callers come on top): with more threads than CPUs, a tile that others wait for
  // would lie in a thread that waits for a CPU.
  Crew(Injection& injection, int limit) : injection_(injection), limit_(limit) {}
  void set_workers(std::span<const std::unique_ptr<Worker>> workers) { workers_ = workers; }

  // Something to do anywhere?
  bool has_work() const;
  // After `count` tiles were made visible.
  void notify(uint32_t count) {
    if (searching_.load(std::memory_order_seq_cst) <= 0 && awake_.load(std::memory_order_seq_cst) < limit_) wake(count);
  }
  // After the end of a run was put into the list.
  void notify_completion();
  // The same as notify for a run's begin: wakes workers for all `count` tiles, less those that search already.
  void wake_for_run(uint32_t count);

  // ---- a slot's own thread ----
  bool wait_until_woken(Worker& worker);  // returns in `searching`; false: the thread shall end
  bool claim(Worker& worker);             // searching -> active, to look for work; false: the slot has been taken
  bool unclaim(Worker& worker);           // active -> searching, found none; false: the thread shall end
  bool begin_search(Worker& worker);      // active -> searching after work; false: the thread shall end
  bool park(Worker& worker);              // searching -> parked; true: there is work after all, searching again
  bool still_searching(const Worker& worker) const;
  // Leaves the slot where it is searching, calls callbacks; true: searching again, false: see wait_until_woken.
  bool tell_completions(Worker& worker);

  // ---- threads that call Engine::run ----
  Worker* lend();  // a slot for the calling thread, best the one of its CPU; null: all are in use
  void give_back(Worker& worker);
  void begin_search() { searching_.fetch_add(1, std::memory_order_seq_cst); }

  // Both: counts one searcher out; wakes the next one when it was the last and there is work.
  void end_search();

  void stop();
  void clear();  // all parked, in the child of a fork()

 private:
  void wake(uint32_t count);
  bool wake_one();
  bool search_again(Worker& worker);
  bool try_lend(Worker& worker, State from);

  Injection& injection_;
  const int limit_;
  std::span<const std::unique_ptr<Worker>> workers_;
  alignas(64) std::atomic<int> searching_{0};
  std::atomic<int> awake_{0};  // slots that are searching, active or lent
};

}  // namespace pando::runtime
