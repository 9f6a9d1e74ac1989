// When a search must end, and how it says where it is.
#pragma once
#include <chrono>

#include "plan/search.hpp"

namespace pando::plan {

class Stopwatch {
 public:
  explicit Stopwatch(const SearchControl& control) : control_(control) {}
  double seconds() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count(); }
  int64_t proposals() const { return proposals_; }

  // Counts work; true when the search must end. Looks at the clock every 65,536 proposals or 1,024 calls.
  bool spend(int64_t proposals, double best) {
    proposals_ += proposals;
    best_ = best;
    if (ended_ || (proposals_ < next_ && ++calls_ < 1024)) return ended_;
    return look();
  }
  // Looks at the clock at once: for steps that take long.
  bool look() {
    if (ended_) return true;
    next_ = proposals_ + (1 << 16);
    calls_ = 0;
    double now = seconds();
    if (control_.progress && now - reported_ > 0.2) {
      reported_ = now;
      control_.progress({proposals_, best_, now});
    }
    ended_ =
        proposals_ >= control_.budget_proposals || now >= control_.budget_seconds || control_.stop.stop_requested();
    return ended_;
  }
  bool ended() const { return ended_; }

 private:
  const SearchControl& control_;
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
  int64_t proposals_ = 0, next_ = 1 << 16;
  int calls_ = 0;
  double reported_ = 0, best_ = infinity;
  bool ended_ = false;
};

}  // namespace pando::plan
