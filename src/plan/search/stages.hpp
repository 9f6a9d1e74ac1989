// Models as graphs of layers with times, for the searches that work on those, and their plans as plans of operators.
#pragma once
#include <optional>

#include "plan/layers/pipeline.hpp"
#include "plan/layers/placement.hpp"
#include "plan/simulate/task_graph.hpp"

namespace pando::plan {

// Operators in a chain without branches are one layer while it stays below `max_ns` of the first device's time.
struct LayeredModel {
  LayerGraph graph;                        // times in ms on a device of the first kind and, as `cpu`, of the second
  std::vector<std::vector<uint32_t>> ops;  // per node
};
LayeredModel layers_of(const Space& space, const CostModel& costs, const TaskOptions& tasks, double max_ns);

struct StagedPlan {
  std::vector<Config> configs;  // empty: none was found
  double seconds = 0;           // the layer search's own value, of a micro-batch or of what the rules say
  bool optimal = false;         // of that value
};

// Every layer on one device, the largest load of a device least. Devices of a second kind are the search's CPUs,
// without limit of memory; clusters of more kinds are taken as of their slowest. Exact over contiguous placements, over
// cuts of one order only, or guided (control.seed) over all of them.
enum class Placing : uint8_t { ideals, linear, local };
StagedPlan place_layers(const Space& space, const CostModel& costs, const TaskOptions& tasks, Placing how,
                        const SearchControl& control);

// Stages of consecutive devices, which share the samples of a micro-batch.
struct StageRules {
  uint32_t micro_batches = 1;  // each is what the space computes
  bool data = true;            // may stages have several devices?
  bool whole_batch = true;     // least time with fill and drain; else least slowest stage
};
StagedPlan pipeline_layers(const Space& space, const CostModel& costs, const TaskOptions& tasks,
                           const StageRules& rules, const SearchControl& control);

}  // namespace pando::plan
