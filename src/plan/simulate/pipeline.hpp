// Schedules of pipelines: the order in which every device runs the micro-batches of its stages, and what that gives.
#pragma once
#include <cstdint>
#include <string_view>
#include <vector>

namespace pando::plan {

enum class Schedule : uint8_t {
  fill_drain,         // all forward, then all backward (Huang et al., GPipe, NeurIPS 2019)
  one_f_one_b,        // as few micro-batches in flight as keep everyone busy (Narayanan et al., PipeDream, SOSP 2019)
  interleaved,        // several chunks of layers per device (Narayanan et al., Megatron-LM, SC 2021)
  two_buffered,       // one_f_one_b on and on, with two versions of the weights (PipeDream-2BW, ICML 2021)
  delayed_gradients,  // on and on; gradients are used some steps late (Yang et al., Ouroboros, NeurIPS 2019)
};
const char* name_of(Schedule schedule);
bool parse(std::string_view name, Schedule& out);

struct PipelineOptions {
  Schedule schedule = Schedule::one_f_one_b;
  uint32_t micro_batches = 1;  // of an iteration
  uint32_t chunks = 1;         // per device: interleaved only; then micro_batches is a multiple of the devices
  uint32_t iterations = 1;     // two_buffered and delayed_gradients run them without a pause
};

// Times of one micro-batch in a stage; transfers to the next stage and back.
struct PipelineStage {
  int64_t forward_ns = 0, backward_ns = 0, transfer_ns = 0;
  int64_t ns() const { return forward_ns + backward_ns; }
};

struct PipelineTask {
  bool backward = false;
  uint32_t stage = 0, micro_batch = 0;
  int64_t start_ns = 0, end_ns = 0;
};
struct PipelineTimeline {
  int64_t makespan_ns = 0;
  std::vector<std::vector<PipelineTask>> devices;  // in order
  std::vector<uint32_t> in_flight;                 // per device: most micro-batches (of one chunk) begun and not ended
  int64_t busy_ns(size_t device) const;
  double idle_share() const;  // of all devices' time until the makespan
  // Of the time in which every device has begun and none has ended: steady state.
  double steady_idle_share() const;
};

// Stage k stands on device k modulo the number of devices, stages.size() / chunks. Throws invalid_argument.
PipelineTimeline simulate_pipeline(const std::vector<PipelineStage>& stages, const PipelineOptions& options);

}  // namespace pando::plan
