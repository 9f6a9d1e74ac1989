// What every device must hold over time, and why a plan does not fit.
#pragma once
#include <string>

#include "plan/simulate/simulator.hpp"

namespace pando::plan {

// Bytes that stay all the time for `weights` bytes of parameters: themselves; in training their gradients and the
// optimizer's states too.
int64_t resident_bytes(const Space& space, int64_t weights);

struct DeviceMemory {
  int64_t weights = 0;      // parameters, and in training their gradients and states; gathered included
  int64_t gathered = 0;     // of sharded weights: room for the operator that runs and the next one
  int64_t peak = 0;         // most at any time
  int64_t peak_ns = 0;      // when that was first reached
  int64_t activations = 0;  // outputs and received operands at that time
};

// The curves of a simulated plan. An output lives on its device from the start of its task to the end of the last
// reader's (training: of the gradients that need it, where the operator keeps it); what a transfer brings lives on the
// reader's device from the transfer's start to the reader's end, and until the gradients' end where it is needed.
std::vector<DeviceMemory> memory_of(const TaskGraph& graph, const Timeline& timeline);
// Per device: (ns, bytes of activations from then on), in order of time.
using MemoryCurve = std::vector<std::pair<int64_t, int64_t>>;
std::vector<MemoryCurve> memory_curves(const TaskGraph& graph, const Timeline& timeline);
// Bytes of activations that each device holds at a time of its own.
std::vector<int64_t> activations_at(const TaskGraph& graph, const Timeline& timeline, const std::vector<int64_t>& ns);
// The most that a device holds.
int64_t peak_of(const std::vector<DeviceMemory>& memory);
// Empty when every device has room; else one line about the first that has not: device, need, limit, its parts.
std::string memory_reason(const Space& space, const std::vector<DeviceMemory>& memory, int64_t limit = 0);

}  // namespace pando::plan
