// Pipelines of stages with data and tensor parallelism and a choice of memory option per layer ("Piper:
// Multidimensional Planner for DNN Parallelization", Tarnawski et al., NeurIPS 2021).
#pragma once
#include <limits>
#include <map>
#include <vector>

#include "plan/layers/layer_graph.hpp"

namespace pando::plan {

// Times in seconds, sizes in bytes; edges carry bytes, nodes their configurations.
struct PipelineProblem {
  LayerGraph graph;
  int64_t devices = 1, microbatches = 1;
  int64_t samples = 0;  // of a microbatch that replicas share; 0: replicas take whole microbatches, in turns
  // What data degrees divide, and the most replicas there may be.
  int64_t shares() const { return samples > 0 ? samples : microbatches; }
  double memory = std::numeric_limits<double>::infinity();  // of one device
  double bandwidth = std::numeric_limits<double>::infinity();
  bool data = true, tensor = true;  // may stages have degrees above 1?
  bool whole_batch = false;         // the objective counts how the pipeline fills and drains
};

struct LayerStage {
  std::vector<int> nodes;
  int64_t data = 1, tensor = 1;  // degrees
  std::vector<int> config;       // per node of `nodes`: index into the list of that tensor degree
};

struct PipelineOutcome : SearchOutcome {
  std::vector<LayerStage> stages;  // front to back
};

// Least time per sample: the slowest stage. Dynamic programming over ideals from the back, a knapsack per stage. Proven
// optimal unless the ideals outgrow the budget or a knapsack its steps. For the whole batch: least (microbatches - 1) x
// slowest stage + sum of stages, and the plans within a few percent of that run as a flow shop; the fastest is taken,
// and its time is the value, of which the least sum is a lower bound.
PipelineOutcome search_pipeline(const PipelineProblem& problem, const SearchControl& control);

// The fastest configuration of every layer of a stage that fits the memory.
struct StageChoice {
  double time = std::numeric_limits<double>::infinity();   // of the stage; infinity: none fits, or none below the limit
  double bound = std::numeric_limits<double>::infinity();  // no choice is faster
  std::vector<int> config;
};
class StageKnapsack {
 public:
  explicit StageKnapsack(const PipelineProblem& problem);
  // `in_flight`: microbatches whose activations the stage holds. Times up to `enough` are all as good, times from
  // `limit` on all as bad.
  StageChoice choose(const std::vector<int>& nodes, int64_t data, int64_t tensor, int64_t in_flight, double enough,
                     double limit);

  // A lower bound, cheap: the least compute time (on one replica) beyond that of the fastest configurations that saves
  // `need` bytes, when swaps may be taken in part. `inside`: per node, whether it is in the stage.
  double least_extra_time(const std::vector<char>& inside, int64_t tensor, int64_t in_flight, double need);

 private:
  struct Saving {
    double time, bytes;
    int node;
  };
  const std::vector<Saving>& savings(int64_t tensor, int64_t in_flight);

  const PipelineProblem& problem_;
  Adjacency in_, out_;  // edges of each node
  std::vector<char> inside_;
  std::map<std::pair<int64_t, int64_t>, std::vector<Saving>> savings_;  // by degree and in_flight, cheapest first
};

// The evaluator: shares no code with the search.
struct PipelineScore {
  double value = 0;
  std::string violation;  // one line; empty: legal
  std::vector<double> stage_time, stage_memory;
  // Of the whole batch: the sum, and the time of a flow shop in which microbatches take turns on a stage's replicas,
  // each of which takes `data` times the stage's time. With equal shares of forward and backward in all stages that is
  // the makespan of schedule fill_drain.
  double batch_sum = 0, batch_time = 0;
};
PipelineScore evaluate_pipeline(const PipelineProblem& problem, const std::vector<LayerStage>& stages);

// The configurations of a node at a tensor degree, or null.
const std::vector<LayerConfig>* configs_at(const LayerNode& node, int64_t tensor);

}  // namespace pando::plan
