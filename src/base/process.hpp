// What happens to the whole process while threads of ours work: exit() and fork().
#pragma once
#include <atomic>
#include <cstdint>
#include <mutex>

namespace pando {

// exit() destroys what running tiles need: the JIT library's code first of all. So a handler of exit() closes this
// gate, then waits until no thread is inside. A thread that runs tiles is inside, looks at `closed` between two of
// them, and halts. A thread is outside while it sleeps or runs code of the user, which may call exit() itself or wait
// for who does.
class ExitGate {
 public:
  // Blocks for ever when the gate is closed. Threads may enter more than once.
  static void enter();
  static void leave();
  static bool closed() { return closed_.load(std::memory_order_relaxed); }
  // Throws on the thread that has called exit() when the gate is closed: in the destructor of a static object, say.
  static void refuse_after_exit();
  // Leaves if inside, and sleeps until the process has ended.
  [[noreturn]] static void halt();
  // Has exit() close the gate before anything that was registered for it earlier. May be called again.
  static void close_at_exit();

 private:
  static void close();
  friend void reset_exit_gate_in_child();
  // enter: count, then look at closed_; close: set closed_, then look at the count. Both seq_cst: one sees the other.
  static std::atomic<bool> closed_;
  static std::atomic<int> inside_;  // threads
};

// Inside the gate for the object's life.
class ScopedExitGate {
 public:
  ScopedExitGate() { ExitGate::enter(); }
  ~ScopedExitGate() { ExitGate::leave(); }
  ScopedExitGate(const ScopedExitGate&) = delete;
  ScopedExitGate& operator=(const ScopedExitGate&) = delete;
};

// Outside for the object's life, for code of the user that a thread inside calls.
class ScopedOutsideExitGate {
 public:
  ScopedOutsideExitGate() { ExitGate::leave(); }
  ~ScopedOutsideExitGate() { ExitGate::enter(); }
  ScopedOutsideExitGate(const ScopedOutsideExitGate&) = delete;
  ScopedOutsideExitGate& operator=(const ScopedOutsideExitGate&) = delete;
};

// An object with locks or threads that a fork() would leave behind half-way: in the child only the calling thread goes
// on, and what other threads held stays locked for ever.
class ForkAware {
 public:
  // On the thread that calls fork(): takes the object's locks, which no thread may hold for long.
  virtual void before_fork() = 0;
  virtual void after_fork_in_parent() = 0;
  // Makes the object as new but for what it was built from. Other threads do not exist.
  virtual void after_fork_in_child() = 0;

  ForkAware(const ForkAware&) = delete;
  ForkAware& operator=(const ForkAware&) = delete;

 protected:
  ForkAware() = default;
  ~ForkAware() = default;
  // At the end of the constructor and at the beginning of the destructor of the whole object.
  void watch_forks();
  void unwatch_forks();

 private:
  friend class ForkAwareList;
  ForkAware *before_ = nullptr, *after_ = nullptr;
};

// A mutex that a fork() does not leave locked in the child. Held for short; no other lock is taken under it.
class ForkAwareMutex : private ForkAware {
 public:
  ForkAwareMutex() { watch_forks(); }
  ~ForkAwareMutex() { unwatch_forks(); }
  void lock() { mutex_.lock(); }
  bool try_lock() { return mutex_.try_lock(); }
  void unlock() { mutex_.unlock(); }

 private:
  void before_fork() override { lock(); }
  void after_fork_in_parent() override { unlock(); }
  void after_fork_in_child() override { unlock(); }
  std::mutex mutex_;
};

// How many forks lie between the first process that used the library and this one.
uint32_t fork_generation();

}  // namespace pando
