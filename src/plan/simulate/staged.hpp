// Plans that are pipelines: operators on different sets of devices form stages, which work on several micro-batches at
// once. A micro-batch is simulated task by task, alone; its stages then run by a schedule (plan/simulate/pipeline.hpp).
#pragma once
#include <string>

#include "plan/simulate/memory.hpp"
#include "plan/simulate/pipeline.hpp"

namespace pando::plan {

struct StagedPrediction {
  PipelineOptions options;
  std::vector<std::vector<uint32_t>> stages;  // operators of each, in order
  std::vector<PipelineStage> times;           // of one micro-batch
  PipelineTimeline timeline;                  // of one iteration; without pauses between iterations: of several
  int64_t exchange_ns = 0;                    // gradients and update, behind the last backward pass
  int64_t iteration_ns = 0;
  std::vector<DeviceMemory> memory;         // per device, all micro-batches in flight
  std::vector<int64_t> kept;                // per device: bytes that a micro-batch in flight keeps
  std::vector<std::vector<uint32_t>> rows;  // devices of each row of the timeline
};

// `graph`: of one micro-batch, with Gradients::after. A stage takes the time from its first task's start to its last
// one's end, so stages that wait inside count their waits. Schedules that go on and on hide exchange and update behind
// the next iteration; their time is that of an iteration in steady state. Throws invalid_argument when the operators'
// devices form no pipeline or the schedule does not fit.
StagedPrediction simulate_stages(const TaskGraph& graph, const PipelineOptions& options);

// Empty when every device has room; else one line: stage, need, limit, its parts.
std::string memory_reason(const Space& space, const StagedPrediction& prediction, int64_t limit = 0);

}  // namespace pando::plan
