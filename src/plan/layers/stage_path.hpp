// What is known of a pipeline stage while it grows along a walk: lower bounds, whatever configurations are chosen.
#pragma once
#include <limits>
#include <vector>

#include "plan/layers/pipeline.hpp"

namespace pando::plan {

// What a layer adds to a stage at one tensor degree, whatever configurations are chosen: lower bounds.
struct Least {
  double time = 0, parameters = 0, per_batch = 0, fixed = 0;  // the smallest of each
  double fast_per_batch = 0, fast_fixed = 0;                  // of one fastest configuration
  double tied_per_batch = 0, tied_fixed = 0;                  // the smallest of each among the fastest
  bool offered = false, settled = true;                       // settled: only time and memory are left to choose
};

struct Degrees {
  std::vector<int64_t> tensor, data;
  std::vector<Least> least;  // per node and tensor degree
  // Per edge and tensor degree: the fewest bytes that its two ends move when a stage begins or ends there.
  std::vector<double> entering, leaving;

  explicit Degrees(const PipelineProblem& p);
};

// A growing stage: sums of lower bounds per tensor degree. Grows towards the front of the pipeline.
struct StagePath {
  const PipelineProblem& p;
  const Degrees& degrees;
  size_t count;  // of tensor degrees
  struct Sums {
    double time = 0, parameters = 0, per_batch = 0, fixed = 0, fast_per_batch = 0, fast_fixed = 0, tied_per_batch = 0,
           tied_fixed = 0, moved = 0;
    int missing = 0, unsettled = 0;
  };
  std::vector<Sums> sums;  // a block of `count` per depth
  std::vector<int> path;
  std::vector<char> inside;
  Adjacency in, out;  // edges
  double limit = std::numeric_limits<double>::infinity();
  int64_t devices_left = 0, replicas_behind = 0;  // of the most modest label

  StagePath(const PipelineProblem& problem, const Degrees& all)
      : p(problem), degrees(all), count(all.tensor.size()), sums(count), inside(problem.graph.nodes.size(), 0) {
    std::vector<std::pair<int, int>> entering, leaving;
    for (size_t e = 0; e < p.graph.edges.size(); e++) {
      entering.emplace_back(p.graph.edges[e].to, static_cast<int>(e));
      leaving.emplace_back(p.graph.edges[e].from, static_cast<int>(e));
    }
    in = adjacency(static_cast<int>(p.graph.nodes.size()), entering);
    out = adjacency(static_cast<int>(p.graph.nodes.size()), leaving);
  }
  const Sums& now(size_t t) const { return sums[sums.size() - count + t]; }

  bool push(int v) {
    path.push_back(v);
    inside[v] = 1;
    size_t base = sums.size();
    sums.resize(base + count);
    for (size_t t = 0; t < count; t++) {
      Sums& s = sums[base + t];
      s = sums[base - count + t];
      const Least& x = degrees.least[static_cast<size_t>(v) * count + t];
      s.time += x.time;
      s.parameters += x.parameters;
      s.per_batch += x.per_batch;
      s.fixed += x.fixed;
      s.fast_per_batch += x.fast_per_batch;
      s.fast_fixed += x.fast_fixed;
      s.tied_per_batch += x.tied_per_batch;
      s.tied_fixed += x.tied_fixed;
      s.missing += !x.offered;
      s.unsettled += !x.settled;
      // What comes before v is not in the stage yet; what comes after it is in it or behind it.
      for (int e : in[v]) s.moved += degrees.entering[static_cast<size_t>(e) * count + t];
      for (int e : out[v]) {
        if (inside[p.graph.edges[e].to]) s.moved -= degrees.entering[static_cast<size_t>(e) * count + t];
        else s.moved += degrees.leaving[static_cast<size_t>(e) * count + t];
      }
    }
    return may_grow();
  }
  void pop() {
    inside[path.back()] = 0;
    path.pop_back();
    sums.resize(sums.size() - count);
  }

  // Compute time and least memory only ever grow with the stage.
  bool may_grow() const {
    for (size_t t = 0; t < count; t++) {
      const Sums& s = now(t);
      if (s.missing > 0) continue;
      for (size_t i = degrees.data.size(); i-- > 0;) {
        int64_t d = degrees.data[i];
        if (d * degrees.tensor[t] > devices_left) continue;
        if (s.time >= limit * static_cast<double>(d)) break;  // smaller degrees take longer still
        int64_t in_flight = (replicas_behind + 2 * d - 1) / d;
        if (s.per_batch * static_cast<double>(in_flight) + s.fixed <= p.memory * (1 + 1e-12)) return true;
      }
    }
    return false;
  }
  double least_time(size_t t, int64_t data) const {
    const Sums& s = now(t);
    double d = static_cast<double>(data), n = static_cast<double>(p.microbatches);
    return (s.time + (s.moved + 4 * (d - 1) * s.parameters / n) / p.bandwidth) / d;
  }
};

}  // namespace pando::plan
