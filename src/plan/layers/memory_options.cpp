// Time and memory of one layer for every choice.
#include <algorithm>

#include "plan/layers/memory_costs.hpp"

namespace pando::plan {
namespace {

// One layer at one pair of degrees: what does not depend on the rest of the choice.
struct Degree {
  double data, passes, samples;  // of the layer's replicas: count, passes of a step, samples of a pass
  double shard;                  // weights of a tensor group's member
  double input, inside;          // bytes of activations of a pass
  double forward, sums;          // seconds of a pass: compute, sums over the tensor group
  double gather, exchange;       // seconds: all-gather of weights, reduce-scatter of gradients
};

MemoryOption option(const MemoryProblem& p, const SymmetricCosts& costs, const Degree& x, const MemoryChoice& c) {
  MemoryOption o;
  o.choice = c;
  bool sharded_weights = c.sharded == 3 && x.data > 1, sharded_gradients = c.sharded >= 2 && x.data > 1;
  double activations = x.input + x.inside;
  double gather = sharded_weights ? x.gather : 0, offload = 0;
  if (c.keep == Keep::offload) offload = costs.host_seconds(activations);
  double forward = x.sums + std::max({x.forward, gather, offload});
  bool again = c.keep == Keep::recompute;
  double compute = 2 * x.forward + (again ? x.forward : 0), sums = x.sums + (again ? x.sums : 0);
  // Without sharded gradients they are exchanged in the last pass only; without any sharding by an all-reduce.
  double each = sharded_gradients ? x.exchange : 0, last = c.sharded == 0 ? 2 * x.exchange : x.exchange;
  double backward = sums + std::max({compute, gather + each, offload});
  double final_backward = sums + std::max({compute, gather + last, offload});
  double states = x.shard * p.state_bytes / (c.sharded >= 1 ? x.data : 1);
  double share = c.sharded >= 1 ? x.shard / x.data : x.shard;
  double update = costs.bytes_seconds(share * (p.gradient_bytes + 2 * p.state_bytes + p.weight_bytes));
  double hand_out = c.sharded == 1 || c.sharded == 2 ? x.gather : 0;
  double stream = c.offload_states ? costs.host_seconds(states) : 0;
  double close = std::max({update, hand_out, stream});
  o.serial = x.passes * (x.forward + x.sums + compute + sums) + close;
  o.time = x.passes * forward + (x.passes - 1) * backward + final_backward + close;
  o.resident =
      x.shard * (p.weight_bytes / (c.sharded >= 3 ? x.data : 1) + p.gradient_bytes / (c.sharded >= 2 ? x.data : 1));
  if (!c.offload_states) o.resident += states;
  if (c.keep == Keep::keep) o.resident += activations;
  if (again) o.resident += x.input;
  double weights = sharded_weights ? x.shard * p.weight_bytes : 0;
  double gradients = sharded_gradients ? x.shard * p.gradient_bytes : 0;
  double away = c.keep == Keep::offload ? activations : 0;
  o.working = 2 * x.input + (again ? x.inside : 0) + weights + gradients + away;  // 2: gradients of output and input
  o.ahead = std::max(weights + away, gradients);
  return o;
}

}  // namespace

std::vector<MemoryOption> memory_options(const MemoryProblem& p, const MemoryLayer& layer) {
  std::vector<MemoryOption> out;
  SymmetricCosts costs(p);
  auto devices = static_cast<int64_t>(p.cluster.size());
  for (int64_t tensor = 1; tensor <= devices; tensor++) {
    if (devices % tensor != 0 || layer.tensor_degrees % tensor != 0) continue;
    int64_t data = devices / tensor;
    if (p.samples() % data != 0) continue;
    int64_t each = p.samples() / data;
    auto t = static_cast<double>(tensor), samples = static_cast<double>(each);
    Degree x;
    x.data = static_cast<double>(data);
    x.passes = static_cast<double>(p.microbatches);
    x.samples = samples;
    x.shard = layer.weights / t;
    x.input = layer.input * samples;
    x.inside = (layer.inside + layer.inside_split / t) * samples;
    x.forward = costs.compute_seconds(layer.flops * samples / t, x.shard * p.weight_bytes + x.input + x.inside);
    x.sums = 2 * costs.gather_seconds(tensor, 1, layer.exchanged * samples);
    x.gather = costs.gather_seconds(data, tensor, x.shard * p.weight_bytes);
    x.exchange = costs.gather_seconds(data, tensor, x.shard * p.gradient_bytes);
    for (int sharded = 0; sharded <= (data > 1 ? 3 : 0); sharded++)
      for (Keep keep : {Keep::keep, Keep::recompute, Keep::offload})
        for (bool states : {false, true}) out.push_back(option(p, costs, x, {data, tensor, sharded, keep, states}));
  }
  return out;
}

double relayout_seconds(const MemoryProblem& p, const MemoryLayer& layer, int64_t from, int64_t to) {
  if (from == to) return 0;
  // Forward or backward, the side with the larger tensor groups needs the samples of several replicas of the other.
  int64_t small = std::min(from, to), large = std::max(from, to);
  auto samples = static_cast<double>(p.samples() * large) / static_cast<double>(p.cluster.size());
  SymmetricCosts costs(p);
  return static_cast<double>(p.microbatches) * costs.gather_seconds(large / small, small, layer.input * samples);
}

}  // namespace pando::plan
