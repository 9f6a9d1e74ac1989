// What moving and computing cost when all devices do alike: the common ground of the search and its evaluator. Not
// thread-safe.
#pragma once
#include <map>
#include <tuple>

#include "plan/cost/collective.hpp"
#include "plan/layers/layer_memory.hpp"

namespace pando::plan {

// Device data * tensor degree + t is number t of a tensor group, so that tensor groups stay within nodes.
class SymmetricCosts {
 public:
  explicit SymmetricCosts(const MemoryProblem& problem);
  // Arithmetic at the peak or bytes at the memory's rate, whichever is slower.
  double compute_seconds(double flops, double bytes) const;
  double bytes_seconds(double bytes) const { return bytes / memory_bytes_per_s_; }
  double host_seconds(double bytes) const { return bytes / host_bytes_per_s_; }
  // An all-gather or a reduce-scatter of `bytes` (the whole) in groups of `members` devices that are `stride` apart, in
  // all groups at once: links are shared among the groups that use them. An all-reduce takes twice as long.
  double gather_seconds(int64_t members, int64_t stride, double bytes) const;

 private:
  struct Rate {
    double fixed_s = 0, s_per_byte = 0;
  };
  Rate rate(int64_t members, int64_t stride, int64_t bytes) const;
  const Cluster& cluster_;
  mutable std::map<std::tuple<int64_t, int64_t, int64_t>, Rate> known_;  // many layers are alike
  double flops_ = 0, memory_bytes_per_s_ = 0, host_bytes_per_s_ = 0;
};

}  // namespace pando::plan
