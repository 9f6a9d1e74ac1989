// Runs the passes of a plan on one device, op by op, and follows what it holds.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "plan/layers/memory_costs.hpp"

namespace pando::plan {
namespace {

// A layer under its choice, per pass: seconds on each stream, bytes of each kind.
struct Run {
  double data, replica_samples, shard;                               // shard: weights of one tensor part
  double compute, tensor_sum, weights_gather, gradient_pass;         // gradient_pass: one of the all-reduce's two
  double kept, moved, made_again;                                    // activations: held, sent to the host, recomputed
  double edge, gathered_bytes, gradient_bytes, states, everlasting;  // everlasting: weights, gradients, states
  const MemoryChoice* choice;
  bool gathers() const { return choice->sharded == 3 && data > 1; }
  bool scatters() const { return choice->sharded > 1 && data > 1; }
};

Run run_of(const MemoryProblem& p, const SymmetricCosts& costs, const MemoryLayer& layer, const MemoryChoice& c) {
  Run r{};
  r.choice = &c;
  auto t = static_cast<double>(c.tensor);
  r.data = static_cast<double>(c.data);
  r.replica_samples = static_cast<double>(p.samples()) / r.data;
  r.shard = layer.weights / t;
  double inner = layer.inside + layer.inside_split / t, n = r.replica_samples;
  r.edge = layer.input * n;
  switch (c.keep) {
    case Keep::keep: r.kept = r.edge + inner * n; break;
    case Keep::recompute: r.kept = r.edge, r.made_again = inner * n; break;
    case Keep::offload: r.moved = r.edge + inner * n; break;
  }
  r.compute = costs.compute_seconds(layer.flops * n / t, r.shard * p.weight_bytes + r.edge + inner * n);
  r.tensor_sum = 2 * costs.gather_seconds(c.tensor, 1, layer.exchanged * n);
  r.weights_gather = costs.gather_seconds(c.data, c.tensor, r.shard * p.weight_bytes);
  r.gradient_pass = costs.gather_seconds(c.data, c.tensor, r.shard * p.gradient_bytes);
  r.gathered_bytes = r.gathers() ? r.shard * p.weight_bytes : 0;
  r.gradient_bytes = r.scatters() ? r.shard * p.gradient_bytes : 0;
  r.states = r.shard * p.state_bytes / (c.sharded > 0 ? r.data : 1);
  r.everlasting = r.shard * p.weight_bytes / (c.sharded > 2 ? r.data : 1) +
                  r.shard * p.gradient_bytes / (c.sharded > 1 ? r.data : 1) + (c.offload_states ? 0 : r.states);
  return r;
}

class Streams {
 public:
  Streams(const MemoryProblem& problem, const std::vector<MemoryChoice>& plan) : p_(problem), costs_(problem) {
    for (size_t l = 0; l < plan.size(); l++) runs_.push_back(run_of(p_, costs_, p_.layers[l], plan[l]));
    left_.resize(plan.size(), 0);
  }

  MemoryScore score() {
    MemoryScore out;
    constexpr int64_t max_passes = 8;  // beyond, passes are like the last but one
    int64_t passes = std::min(p_.microbatches, max_passes);
    int64_t layers = static_cast<int64_t>(runs_.size()), ops = 2 * layers * passes;
    std::vector<double> pass_end;
    for (const Run& r : runs_) out.states += r.everlasting;
    double end_before = 0, released_before = 0, released_last = 0;  // of the op before; of the one before it, and it
    Ready ready = prepare(0, 0);
    for (int64_t k = 0; k < ops; k++) {
      Run& r = run_at(k);
      bool back = backward(k), again = back && r.choice->keep == Keep::recompute;
      double start = std::max({end_before, ready.time, released_before});
      if (double move = handover(k); move > 0) start = take(network_, start, move);
      double computed = start + r.compute * (back ? 2 : 1) + (again ? r.compute : 0);
      double sums = r.tensor_sum * (again ? 2 : 1);
      // What the next op needs is asked for as soon as this one has begun and the buffers of the last one are free.
      double ask = std::max(start, released_last);
      bool more = k + 1 < ops, turn = more && at(k + 1) == at(k);  // the last layer's activations have to leave first
      bool first = ask <= computed && !turn;
      Ready next;
      if (first && more) next = prepare(k + 1, ask);
      double end = sums > 0 ? take(network_, computed, sums) : computed;
      if (!first && more && !turn) next = prepare(k + 1, ask);
      released_before = released_last;
      released_last = release(k, start, end, back && k >= ops - layers);
      if (turn) next = prepare(k + 1, ask);
      hold(start, end, 2 * r.edge + (back ? r.made_again : 0));
      if (ready.fetched >= 0) hold(ready.fetched, end, r.moved);
      if (ready.gathered >= 0) hold(ready.gathered, end, r.gathered_bytes);
      if (r.kept > 0) events_.push_back({back ? end : start, back ? -r.kept : r.kept});
      end_before = end;
      ready = next;
      if ((k + 1) % (2 * layers) == 0) pass_end.push_back(end);
    }
    out.seconds = std::max({end_before, network_, to_host_, released_before, released_last});
    if (p_.microbatches > passes)
      out.seconds +=
          static_cast<double>(p_.microbatches - passes) * (pass_end[max_passes - 2] - pass_end[max_passes - 3]);
    for (const Run& r : runs_) out.seconds += update(r);
    out.formula = formula();
    find_peak(out);
    return out;
  }

 private:
  struct Ready {
    double time = 0, fetched = -1, gathered = -1;  // all is there; when fetch and gather began
  };
  struct Event {
    double when, bytes;
  };
  size_t at(int64_t k) const {
    auto layers = static_cast<int64_t>(runs_.size());
    int64_t i = k % (2 * layers);
    return static_cast<size_t>(i < layers ? i : 2 * layers - 1 - i);
  }
  Run& run_at(int64_t k) { return runs_[at(k)]; }
  bool backward(int64_t k) const { return k / static_cast<int64_t>(runs_.size()) % 2 == 1; }

  static double take(double& stream, double from, double seconds) { return stream = std::max(stream, from) + seconds; }
  void hold(double from, double to, double bytes) {
    if (bytes <= 0) return;
    events_.push_back({from, bytes});
    events_.push_back({to, -bytes});
  }
  // Gathers weights and fetches activations for op k, not before `ask`.
  Ready prepare(int64_t k, double ask) {
    const Run& r = run_at(k);
    Ready out{ask, -1, -1};
    if (r.gathers()) {
      double done = take(network_, ask, r.weights_gather);
      out.gathered = done - r.weights_gather;
      out.time = done;
    }
    if (backward(k) && r.moved > 0) {
      double fetch = costs_.host_seconds(r.moved), done = take(from_host_, std::max(ask, left_[at(k)]), fetch);
      out.fetched = done - fetch;
      out.time = std::max(out.time, done);
    }
    return out;
  }
  // Sends activations to the host and gradients to their owners; returns when op k's buffers are free.
  double release(int64_t k, double start, double end, bool last_pass) {
    const Run& r = run_at(k);
    double free = end;
    if (!backward(k) && r.moved > 0) {
      free = left_[at(k)] = take(to_host_, end, costs_.host_seconds(r.moved));
      hold(start, free, r.moved);
    }
    if (backward(k) && r.data > 1) {
      if (r.scatters()) {
        free = take(network_, end, r.gradient_pass);
        hold(start, free, r.gradient_bytes);
      } else if (last_pass) {
        take(network_, end, r.gradient_pass * (r.choice->sharded == 0 ? 2 : 1));
      }
    }
    return free;
  }
  // Between layers of other degrees, the side with more replicas has too few samples: forward the later layer's input,
  // or backward the earlier one's gradient is gathered.
  double handover(int64_t k) const {
    size_t here = at(k);
    bool back = backward(k);
    if (back ? here + 1 == runs_.size() : here == 0) return 0;
    int64_t mine = runs_[here].choice->tensor, other = runs_[back ? here + 1 : here - 1].choice->tensor;
    if (mine <= other) return 0;
    const MemoryLayer& border = p_.layers[back ? here + 1 : here];
    double bytes = border.input * runs_[here].replica_samples;
    return costs_.gather_seconds(mine / other, other, bytes);
  }
  // Once all gradients are there; states and weights of one layer stream in pieces too small to count.
  double update(const Run& r) const {
    double owned = r.choice->sharded > 0 ? r.shard / r.data : r.shard;
    double seconds = costs_.bytes_seconds(owned * (p_.gradient_bytes + 2 * p_.state_bytes + p_.weight_bytes));
    if (r.choice->sharded == 1 || r.choice->sharded == 2) seconds = std::max(seconds, r.weights_gather);
    if (r.choice->offload_states) seconds = std::max(seconds, costs_.host_seconds(r.states));
    return seconds;
  }
  double formula() const {
    double sum = 0, passes = static_cast<double>(p_.microbatches);
    for (size_t l = 0; l < runs_.size(); l++) {
      const Run& r = runs_[l];
      double gather = r.gathers() ? r.weights_gather : 0, host = costs_.host_seconds(r.moved);
      double ahead = r.tensor_sum + std::max(r.compute, std::max(gather, host));
      int times = r.choice->keep == Keep::recompute ? 1 : 0;
      auto back = [&](double exchange) {
        return r.tensor_sum * (1 + times) + std::max(r.compute * (2 + times), std::max(gather + exchange, host));
      };
      double last = r.gradient_pass * (r.choice->sharded == 0 ? 2 : 1);
      sum += passes * ahead + (passes - 1) * back(r.scatters() ? r.gradient_pass : 0) + back(last) + update(r);
      if (l > 0 && r.choice->tensor != runs_[l - 1].choice->tensor) {
        const Run& coarse = r.choice->tensor > runs_[l - 1].choice->tensor ? r : runs_[l - 1];
        const Run& fine = &coarse == &r ? runs_[l - 1] : r;
        sum += passes * costs_.gather_seconds(coarse.choice->tensor / fine.choice->tensor, fine.choice->tensor,
                                              p_.layers[l].input * coarse.replica_samples);
      }
    }
    return sum;
  }
  void find_peak(MemoryScore& out) {
    std::sort(events_.begin(), events_.end(),
              [](const Event& a, const Event& b) { return a.when != b.when ? a.when < b.when : a.bytes < b.bytes; });
    double now = out.states;
    out.peak = now;
    for (const Event& e : events_) {
      now += e.bytes;
      out.peak = std::max(out.peak, now);
    }
    if (out.peak > p_.memory * (1 + 1e-12))
      out.violation = fmt::format(
          "{:.4g} GB > {:.4g} GB: weights, gradients and states {:.4g} GB, activations and buffers "
          "{:.4g} GB",
          out.peak * 1e-9, p_.memory * 1e-9, out.states * 1e-9, (out.peak - out.states) * 1e-9);
  }

  const MemoryProblem& p_;
  SymmetricCosts costs_;
  std::vector<Run> runs_;
  std::vector<double> left_;  // per layer: when its activations have reached the host
  double network_ = 0, from_host_ = 0, to_host_ = 0;
  std::vector<Event> events_;
};

}  // namespace

MemoryScore evaluate_layer_memory(const MemoryProblem& p, const std::vector<MemoryChoice>& plan) {
  auto devices = static_cast<int64_t>(p.cluster.size());
  for (size_t l = 0; l < plan.size(); l++) {
    const MemoryChoice& c = plan[l];
    MemoryScore bad;
    if (c.data < 1 || c.tensor < 1 || c.data * c.tensor != devices) bad.violation = "degrees that are not the devices";
    else if (p.layers.at(l).tensor_degrees % c.tensor != 0) bad.violation = "a tensor degree that does not divide it";
    else if (p.samples() % c.data != 0) bad.violation = "a data degree that does not divide the samples";
    else if (c.sharded < 0 || c.sharded > 3) bad.violation = "an unknown sharding";
    if (bad.violation.empty()) continue;
    bad.violation = fmt::format("layer {} has {}", l, bad.violation);
    return bad;
  }
  if (plan.size() != p.layers.size()) {
    MemoryScore bad;
    bad.violation = fmt::format("{} choices for {} layers", plan.size(), p.layers.size());
    return bad;
  }
  return Streams(p, plan).score();
}

}  // namespace pando::plan
