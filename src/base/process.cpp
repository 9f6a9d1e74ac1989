#include "base/process.hpp"

#include <pthread.h>
#include <time.h>
#include <unistd.h>

#include <cstdlib>

#include "base/error.hpp"

namespace pando {
namespace {

thread_local int depth = 0;             // how often this thread has entered the gate
thread_local bool called_exit = false;  // this thread runs the handlers of exit()

std::atomic<uint32_t> generation{0};

}  // namespace

// ---- exit ----

std::atomic<bool> ExitGate::closed_{false};
std::atomic<int> ExitGate::inside_{0};

void ExitGate::enter() {
  if (depth++ > 0) return;
  inside_.fetch_add(1, std::memory_order_seq_cst);
  if (closed_.load(std::memory_order_seq_cst)) halt();
}

void ExitGate::leave() {
  if (--depth == 0) inside_.fetch_sub(1, std::memory_order_seq_cst);  // release: close() comes after what we did
}

void ExitGate::halt() {
  if (depth > 0) inside_.fetch_sub(1, std::memory_order_seq_cst);
  for (;;) pause();
}

void ExitGate::close() {
  called_exit = true;
  closed_.store(true, std::memory_order_seq_cst);
  // A signal handler may have interrupted a tile of this very thread to call exit().
  const int self = depth > 0 ? 1 : 0;
  const timespec nap{0, 50'000};
  while (inside_.load(std::memory_order_seq_cst) > self) nanosleep(&nap, nullptr);
}

void ExitGate::refuse_after_exit() {
  if (called_exit) fail(ErrorCode::invalid_argument, "the process is exiting: its workers have stopped");
}

void ExitGate::close_at_exit() { std::atexit(&ExitGate::close); }

// ---- fork ----

void reset_exit_gate_in_child() { ExitGate::inside_.store(depth > 0 ? 1 : 0, std::memory_order_seq_cst); }

// Intrusive, so that nothing is allocated; never destroyed, since forks happen until the end.
class ForkAwareList {
 public:
  static ForkAwareList& instance() {
    static auto& list = *new ForkAwareList;
    return list;
  }
  void add(ForkAware& object) {
    std::lock_guard lock(mutex_);
    object.after_ = first_;
    if (first_) first_->before_ = &object;
    first_ = &object;
  }
  void remove(ForkAware& object) {
    std::lock_guard lock(mutex_);
    (object.before_ ? object.before_->after_ : first_) = object.after_;
    if (object.after_) object.after_->before_ = object.before_;
  }

 private:
  ForkAwareList() { pthread_atfork(&before, &in_parent, &in_child); }
  static void before() {
    instance().mutex_.lock();
    for (ForkAware* o = instance().first_; o; o = o->after_) o->before_fork();
  }
  static void in_parent() {
    for (ForkAware* o = instance().first_; o; o = o->after_) o->after_fork_in_parent();
    instance().mutex_.unlock();
  }
  static void in_child() {
    generation.fetch_add(1, std::memory_order_relaxed);
    reset_exit_gate_in_child();
    for (ForkAware* o = instance().first_; o; o = o->after_) o->after_fork_in_child();
    instance().mutex_.unlock();
  }

  std::mutex mutex_;
  ForkAware* first_ = nullptr;
};

void ForkAware::watch_forks() { ForkAwareList::instance().add(*this); }
void ForkAware::unwatch_forks() { ForkAwareList::instance().remove(*this); }

uint32_t fork_generation() { return generation.load(std::memory_order_relaxed); }

}  // namespace pando
