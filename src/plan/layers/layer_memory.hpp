// Training a chain of layers on equal devices: per layer, what becomes of its activations (kept, recomputed, offloaded
// to the host), how states are sharded (ZeRO: Rajbhandari et al., SC 2020) or offloaded, and the degrees of data and
// tensor parallelism.
#pragma once
#include <limits>
#include <string>
#include <vector>

#include "plan/cluster/cluster.hpp"
#include "plan/plan.hpp"
#include "plan/search.hpp"

namespace pando::plan {

// Of one sample, forward. Activations are what the backward pass needs: the layer's input, and what is made inside.
struct MemoryLayer {
  std::string name;
  double flops = 0;
  double weights = 0;          // elements
  double input = 0;            // bytes; whole on every device of a tensor group
  double inside = 0;           // bytes, whole on every device of a tensor group
  double inside_split = 0;     // bytes that a tensor group shares
  double exchanged = 0;        // bytes that a tensor group adds up in the forward pass, and as many backward
  int64_t tensor_degrees = 1;  // a tensor degree divides it
};

struct MemoryProblem {
  std::vector<MemoryLayer> layers;
  Cluster cluster;                                          // its slowest device counts; every layer uses all devices
  double memory = std::numeric_limits<double>::infinity();  // bytes of one device
  int64_t batch = 1, microbatches = 1;                      // samples of a step, and passes it takes
  double weight_bytes = 2, gradient_bytes = 2, state_bytes = 12;  // per weight
  double host_gb_per_s = 25;                                      // of one device's link to the host, either way
  int64_t samples() const { return batch / microbatches; }        // of one pass, all devices
};

struct MemoryChoice {
  int64_t data = 1, tensor = 1;  // their product is the number of devices
  int sharded = 0;               // ZeRO stage: 1 states, 2 and gradients, 3 and weights
  Keep keep = Keep::keep;
  bool offload_states = false;  // the optimizer's states lie on the host and pass through the device for the update
  bool operator==(const MemoryChoice&) const = default;
};

struct MemoryOutcome : SearchOutcome {
  std::vector<MemoryChoice> plan;  // per layer
  double formula = 0;              // the dynamic program's sum for it, s; `value` is the simulated time
  int64_t step_bytes = 0;          // memory counts in these
};

// The dynamic program over memory steps for every pair of (working, ahead) that could matter, cheapest bound
// first; then the plans that it finds within this and smaller capacities, simulated, and the fastest taken. The
// simulated value is not proven; `formula` is the least there is in whole steps.
MemoryOutcome search_layer_memory(const MemoryProblem& problem, const SearchControl& control);

// What the search sums: seconds of a step and bytes of one device for one layer and choice.
//   time: per pass forward max(compute, gather, offload) and backward max(compute and recomputation, gather and
//     exchange of gradients, fetch), each behind the layer's sums over tensor groups; then the update
//   resident: all the time, or from the layer's forward to its backward pass
//   working: while the layer runs, what was gathered, fetched and computed again included
//   ahead: of that, what is gathered and fetched while the layer before still runs, or sent away while the next one
//   does
// A device needs the sum of resident + the largest working + the largest ahead.
struct MemoryOption {
  MemoryChoice choice;
  double time = 0, resident = 0, working = 0, ahead = 0;
  double serial = 0;  // seconds of a step that nothing of this layer can overlap with
};
std::vector<MemoryOption> memory_options(const MemoryProblem& problem, const MemoryLayer& layer);
// Seconds of a step to hand a layer's input, and its gradient, from layers of one tensor degree to another.
double relayout_seconds(const MemoryProblem& problem, const MemoryLayer& layer, int64_t from, int64_t to);

// The evaluator: shares no code with the search. Runs the passes op by op on one device's streams (compute, network,
// from the host, to the host), where gathers and fetches run one layer ahead, and follows its memory.
struct MemoryScore {
  double formula = 0, seconds = 0;
  double peak = 0, states = 0;  // bytes; states: weights, gradients, optimizer states
  std::string violation;
};
MemoryScore evaluate_layer_memory(const MemoryProblem& problem, const std::vector<MemoryChoice>& plan);

}  // namespace pando::plan
