// When another program wants a worker's CPU too, the operating system takes the CPU away in the middle of a tile, and
// all that waits for that tile waits for the other program's time slice, some milliseconds. A worker that notices it
// gives the CPU away itself, a little earlier, between two tiles: others then go on with all tiles there are.
#pragma once
#include <cstdint>

namespace pando::runtime {

class Timeslice {
 public:
  // After a tile, the tiles_run-th. True: let another program run now (give_way), with no tile in hand. Costs a
  // comparison, or reading a clock where a CPU is shared.
  bool is_over(uint32_t tiles_run) {
    if (contended_) return passed();
    if (tiles_run % tiles_between_looks == 0) look();
    return false;
  }
  void give_way();

 private:
  static constexpr uint32_t tiles_between_looks = 16;

  void look();
  bool passed() const;
  void learn(bool too_late);
  // Times that the CPU was taken away from the calling thread since the last call.
  int64_t preemptions();

  bool contended_ = false;
  bool found_ = false;     // how long a slice is, about
  uint32_t in_time_ = 0;   // yields in succession before which the CPU was not taken away
  int free_yields_ = 0;    // in succession, after which nobody else ran
  uint64_t begin_ns_ = 0;  // of the slice, about
  uint64_t next_look_ns_ = 0;
  uint64_t length_ns_ = 1000000;  // after which the worker gives way
  int64_t seen_ = -1;             // preemptions counted by the system
  uint64_t thread_ = 0;           // whose they are: a slot is used by different threads
};

}  // namespace pando::runtime
