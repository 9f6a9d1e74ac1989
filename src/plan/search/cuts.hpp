// Plans in two groups: where no single split of all operators is good, a front of the model on some devices and the
// rest on others often is (large layers whose weights need not be exchanged everywhere), and single moves do not get
// there.
#pragma once
#include <functional>

#include "plan/simulate/simulator.hpp"

namespace pando::plan {

// The best `count` of these plans, the best first, memory left out of account: the operators before a point of their
// order on the first half, quarter, three quarters or all of the devices, the others on the last; all by sample, or
// those whose weights are larger than their results by the dimension that cuts the weights. `go_on` is asked before
// each simulation. Empty for fewer than two devices.
std::vector<std::vector<Config>> best_cuts(const Space& space, const CostModel& costs, const TaskOptions& tasks,
                                           size_t count, const std::function<bool()>& go_on);

}  // namespace pando::plan
