// Runs a task graph in virtual time. Devices and links serve whoever is ready first; among those ready at the same time
// the smaller (block, task) goes first: one total order, so that every result is exact and repeatable. (After the
// execution simulator of FlexFlow: Jia, Zaharia, Aiken, SysML 2019.)
#pragma once
#include <limits>
#include <vector>

#include "plan/simulate/task_graph.hpp"

namespace pando::plan {

struct TaskTimes {  // nanoseconds
  int64_t ready = 0, start = 0, end = 0;
  uint32_t waits = 0;  // for as many others; 0 once it has begun
  bool operator==(const TaskTimes&) const = default;
};

struct Timeline {
  std::vector<uint32_t> base;    // blocks + 1
  std::vector<TaskTimes> times;  // of task i of block b: base[b] + i
  std::vector<uint64_t> order;   // block << 32 | task, as they began
  int64_t makespan = 0;
  bool operator==(const Timeline&) const = default;
};

class Simulator {
 public:
  static constexpr int64_t unlimited = std::numeric_limits<int64_t>::max();
  explicit Simulator(const TaskGraph& graph) : graph_(&graph) {}

  // Times all tasks anew: the current timeline.
  void full();
  // After graph.change(): times the changed graph beside the current timeline, which stays as it is until accept().
  // False: stopped, since the makespan is above `limit`. `delta`: tasks that begin before the change can matter keep
  // their times. The result equals that of full(). Fair links are always timed anew, to the end.
  bool propose(int64_t limit = unlimited, bool delta = true);
  void accept() { std::swap(now_, next_); }
  const Timeline& timeline() const { return now_; }
  const Timeline& proposed() const { return next_; }
  // Of all proposals so far: tasks that were timed, and tasks that there were.
  uint64_t timed() const { return timed_; }
  uint64_t all() const { return all_; }

 private:
  // Ready time, block and task in one number: compared without a branch that guesses wrong.
  __extension__ using Item = unsigned __int128;
  static Item item(int64_t ready, uint64_t id) { return static_cast<Item>(ready) << 64 | id; }
  static int64_t ready_of(Item i) { return static_cast<int64_t>(i >> 64); }
  // A heap with four children per node: half the levels, and siblings in one cache line.
  class Heap {
   public:
    bool empty() const { return items_.empty(); }
    void clear() { items_.clear(); }
    void push(Item item);
    Item pop();
    Item top() const { return items_[0]; }

   private:
    std::vector<Item> items_;
  };
  void prepare();
  int64_t find_tails();
  int64_t first_difference() const;
  void replay(int64_t until);
  bool run(int64_t limit);
  void run_fair();
  void begin_all();
  template <class Push>
  void follow(uint32_t block, uint32_t task, int64_t end, Push&& push);

  const TaskGraph* graph_;
  Timeline now_, next_;
  std::vector<int64_t> free_, left_;  // per resource: idle from, work that is still to begin
  std::vector<int64_t> tail_;         // per block: the shortest time from a task's end to the end of all
  Heap heap_;
  uint64_t timed_ = 0, all_ = 0;
};

}  // namespace pando::plan
