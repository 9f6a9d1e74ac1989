// What a timeline shows: rows for devices and links, and on them who held them when. Of a plan task by task, or of a
// pipeline stage by stage.
#pragma once
#include <string>
#include <vector>

#include "plan/simulate/staged.hpp"

namespace pando::plan {

struct Slice {
  uint32_t row, name;  // numbers
  uint32_t part;       // of the operator; of a pipeline: the micro-batch
  int64_t start_ns, ns;
};

struct Slices {
  std::vector<std::string> rows, names;
  std::vector<Slice> list;
  int64_t makespan_ns = 0, iteration_ns = 0;  // of all; of one iteration
};

// A slice per task and resource that it holds, in the order in which tasks begin.
Slices slices_of(const TaskGraph& graph, const Timeline& timeline);
// A slice per device, stage, direction and micro-batch, then the exchange of the gradients. Schedules that go on and
// on: several iterations.
Slices slices_of(const TaskGraph& graph, const StagedPrediction& prediction);

// As events for Chrome's tracing page and Perfetto.
std::string trace_json(const Slices& slices);

}  // namespace pando::plan
