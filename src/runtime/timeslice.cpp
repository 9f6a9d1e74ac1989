#include "runtime/timeslice.hpp"

#include <pthread.h>
#include <sys/resource.h>

#include <algorithm>

#include "runtime/thread.hpp"

namespace pando::runtime {
namespace {

constexpr uint64_t look_every_ns = 1000000;
constexpr uint64_t shortest_ns = 300000, longest_ns = 4000000;
constexpr uint64_t nobody_ran_ns = 20000;
constexpr int free_yields_to_end = 8;

}  // namespace

int64_t Timeslice::preemptions() {
  rusage usage;
  if (getrusage(RUSAGE_THREAD, &usage) != 0) return 0;
  const auto self = static_cast<uint64_t>(pthread_self());
  const int64_t count = self == thread_ ? usage.ru_nivcsw - seen_ : 0;
  thread_ = self;
  seen_ = usage.ru_nivcsw;
  return count;
}

void Timeslice::look() {
  const uint64_t now = now_ns();
  if (now < next_look_ns_) return;
  next_look_ns_ = now + look_every_ns;
  if (preemptions() == 0) return;
  contended_ = true;
  free_yields_ = 0;
  begin_ns_ = now;
}

bool Timeslice::passed() const { return now_ns() - begin_ns_ >= length_ns_; }

// To be late costs others a slice, to be early what is left of ours. So the length grows fast until it was too long for
// the first time, then stays a little below that and tries more only now and then.
void Timeslice::learn(bool too_late) {
  constexpr uint32_t calm_to_try = 16;
  if (too_late) {
    length_ns_ -= length_ns_ / (in_time_ > 0 ? 16 : 8);  // late again: by more
    in_time_ = 0;
    found_ = true;
  } else {
    in_time_++;
    if (!found_) length_ns_ += length_ns_ / 8;
    else if (in_time_ % calm_to_try == 0) length_ns_ += length_ns_ / 32;
  }
  length_ns_ = std::clamp(length_ns_, shortest_ns, longest_ns);
}

void Timeslice::give_way() {
  const bool too_late = preemptions() > 0;
  learn(too_late);
  const uint64_t before = now_ns();
  sched_yield();
  begin_ns_ = now_ns();
  preemptions();
  free_yields_ = !too_late && begin_ns_ - before < nobody_ran_ns ? free_yields_ + 1 : 0;
  if (free_yields_ >= free_yields_to_end) contended_ = false;
}

}  // namespace pando::runtime
