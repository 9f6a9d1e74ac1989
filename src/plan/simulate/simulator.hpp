// Runs a task graph in virtual time. Devices and links serve the task that is ready first; among those ready at the
// same time the smaller (block, task) goes first: one total order, so that every result is exact and repeatable. (After
// the execution simulator of FlexFlow: Jia, Zaharia, Aiken, SysML 2019.)
#pragma once
#include <bit>
#include <limits>
#include <vector>

#include "plan/simulate/task_graph.hpp"

namespace pando::plan {

struct TaskTimes {  // nanoseconds
  int64_t ready = 0, start = 0, end = 0;
  uint32_t waits = 0;  // for as many others; 0 once it has begun
  uint32_t block = 0;  // that it belongs to
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
  // Tasks that are ready, the next one first: ready time and number in `times` in one integer, which is compared
  // without a branch that guesses wrong. Four children per node: half the levels, and siblings in one cache line.
  template <class Item>
  class Queue {
   public:
    void reset(uint32_t tasks) {
      items_.clear();
      bits_ = std::bit_width(tasks);
    }
    bool empty() const { return items_.empty(); }
    void push(int64_t ready, uint32_t index) { push(static_cast<Item>(ready) << bits_ | index); }
    Item pop();
    Item top() const { return items_[0]; }
    int64_t ready_of(Item i) const { return static_cast<int64_t>(i >> bits_); }
    uint32_t index_of(Item i) const { return static_cast<uint32_t>(i) & ((1u << bits_) - 1); }
    // The latest ready time that there is room for.
    int64_t latest() const { return sizeof(Item) > 8 ? unlimited : unlimited >> bits_; }

   private:
    void push(Item item);
    std::vector<Item> items_;
    int bits_ = 0;
  };
  __extension__ using Wide = unsigned __int128;
  void prepare();
  void open(uint32_t block);
  int64_t find_tails();
  int64_t first_difference() const;
  bool run_from(int64_t until, int64_t limit);
  template <class Item>
  bool run_from(Queue<Item>& queue, int64_t until, int64_t limit);
  template <class Item>
  void replay(Queue<Item>& queue, int64_t until);
  template <class Item>
  bool run(Queue<Item>& queue, int64_t limit);
  void run_fair();
  template <class Item>
  void begin_all(Queue<Item>& queue);
  template <class Push>
  void follow(uint32_t block, uint32_t task, int64_t end, Push&& push);

  const TaskGraph* graph_;
  Timeline now_, next_;
  std::vector<int64_t> free_, left_;  // per resource: idle from, work that is still to begin
  std::vector<int64_t> tail_;         // per block: the shortest time from a task's end to the end of all
  std::vector<uint8_t> opened_;       // per block: its tasks' times in next_ are set
  Queue<uint64_t> queue_;
  Queue<Wide> wide_queue_;
  uint64_t timed_ = 0, all_ = 0;
};

}  // namespace pando::plan
