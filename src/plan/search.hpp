// What every search over plans has in common: how it is steered and what it says about its result.
#pragma once
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>

namespace pando::plan {

constexpr double infinity = std::numeric_limits<double>::infinity();

// What a plan of a model should be good at. All but `memory` in nanoseconds of an iteration.
enum class Objective : uint8_t {
  time,      // of an iteration
  latency,   // of one batch from input to output: inference only, where it is the time
  max_load,  // of the busiest device or link: what an iteration takes when the next ones follow without a pause
  memory,    // bytes on the fullest device; of equal ones the faster plan
};
const char* name_of(Objective objective);
bool parse(std::string_view name, Objective& out);

struct SearchProgress {
  int64_t proposals = 0;  // plans, states or moves looked at so far
  double best = 0;        // value of the best plan so far, in the objective's unit; infinity: none yet
  double seconds = 0;
};

// Seconds are wall time. A search that runs out of budget, or is stopped, returns the best it has.
struct SearchControl {
  uint64_t seed = 1;
  double budget_seconds = infinity;
  int64_t budget_proposals = std::numeric_limits<int64_t>::max();
  size_t budget_bytes = size_t{4} << 30;  // of the search's own tables
  std::stop_token stop;
  std::function<void(const SearchProgress&)> progress;  // called on the searching thread, a few times a second
};

struct SearchOutcome {
  std::string search;     // the name by which it was asked for
  std::string objective;  // "max-load", "latency", "time", "memory"
  std::string unit;       // "ms", "s", "bytes"
  bool feasible = false;
  std::string reason;                 // one line: why there is no plan; empty when feasible
  double value = 0;                   // of the plan found
  bool optimal = false;               // proven
  std::optional<double> lower_bound;  // no plan can be better than this
  double seconds = 0;
  int64_t proposals = 0;
};

}  // namespace pando::plan
