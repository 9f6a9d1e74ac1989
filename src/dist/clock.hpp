// The emulator's clock: when everything happens, given how long each part of an operator took. Independent of the
// simulator (and a check of it): only the task graph says what there is to do and who waits for whom.
#pragma once
#include "plan/simulate/task_graph.hpp"

namespace pando::dist {

// Nanoseconds, by block and task.
using TaskTimes = std::vector<std::vector<int64_t>>;

struct Clock {
  TaskTimes ready, start, end;
  int64_t makespan = 0;
};

// `compute[b][i]`: the time of task i of block b; blocks for which it is empty keep the task graph's own times, so that
// transfers and collectives take what the links' model says. A device or link serves the task that is ready first, of
// equals the smaller (block, task). Throws not_supported for links that share their rate.
Clock run_clock(const plan::TaskGraph& graph, const TaskTimes& compute);

}  // namespace pando::dist
