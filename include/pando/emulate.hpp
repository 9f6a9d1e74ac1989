// Plans run for real on logical devices that share this machine: their outputs, and what they take against what was
// predicted. Times of real kernels for the cost models.
//
//   pando::EmulateRequest request;
//   request.model = "model.onnx";
//   request.machine = "host";
//   request.plan = ...;                                          // JSON, see pando/simulate.hpp
//   request.input = [](const pando::Port& port) { return ...; };
//   pando::EmulateResult result = pando::emulate_model_plan(request);
#pragma once
#include "pando/pando.hpp"
#include "pando/simulate.hpp"

namespace pando {

struct EmulateRequest : SimulateRequest {
  // The value of an input of the model, whose shape is settled.
  std::function<Array(const Port&)> input;
  int runs = 3;       // the median counts; one more warms up
  bool wall = false;  // threads instead of a virtual clock: the plan's own pace, at most as many devices as CPUs
};

struct EmulateResult {
  std::string report;  // JSON: the prediction, and predicted_seconds, emulated_seconds, error, max_difference ...
  std::vector<Port> ports;
  std::vector<Array> outputs;
  double max_difference = 0;  // from the unsplit run, relative to an output's largest element; 0: the same bits
};

// Every part runs its real kernels alone, boxes are really copied; the link model says how long copies take, devices of
// another kind take longer in proportion to the peaks. With `wall` every device is a thread. Throws Error:
// not_supported for training and for reductions that cannot be cut; as simulate_model_plan.
PANDO_API EmulateResult emulate_model_plan(const EmulateRequest& request);

struct CostsRequest : SimulateRequest {
  std::function<Array(const Port&)> input;
  std::vector<std::string> plans;  // JSON: their parts are measured; none: baselines and random plans (`seed`)
  int runs = 3;
  std::function<bool(double fraction)> measured;  // false cancels
};
// A cost file for `costs = "measured:FILE"` and `"fitted:FILE"`.
PANDO_API std::string measure_model_costs(const CostsRequest& request);

}  // namespace pando
