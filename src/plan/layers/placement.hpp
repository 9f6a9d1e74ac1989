// Placement of layers on accelerators and CPUs ("Efficient Algorithms for Device Placement of DNN Graph Operators",
// Tarnawski et al., NeurIPS 2020): the problem, its plans, and the searches for them.
#pragma once
#include <functional>
#include <limits>
#include <vector>

#include "plan/layers/layer_graph.hpp"

namespace pando::plan {

// Times and costs are in ms, sizes in bytes.
struct PlacementProblem {
  LayerGraph graph;
  int64_t accelerators = 0, cpus = 0;
  double memory = std::numeric_limits<double>::infinity();  // of one accelerator; CPUs have no limit
};

// Accelerators are devices 0..accelerators-1, CPUs follow.
struct Placement {
  std::vector<int> device;  // per node
};

struct PlacementOutcome : SearchOutcome {
  Placement plan;  // empty when infeasible
};

// Steps (1) to (4) of the preparation: nodes that share a device become one group. A net is the output of one node:
// it loads every device that holds some but not all of the groups it joins.
struct PlacementGroups {
  struct Group {
    double accelerator_time = 0, cpu_time = 0, bytes = 0;
    bool on_accelerator = true;
    std::vector<int> members;  // nodes
  };
  std::vector<Group> groups;
  Adjacency successors;              // forward edges between groups, acyclic, without duplicates
  std::vector<double> net_cost;      // of nets that join at least two groups
  Adjacency net_groups, group_nets;  // while groups are made, a net's owner comes first

  int size() const { return static_cast<int>(groups.size()); }
};
// `contiguous`: strongly connected groups are fused, so that the groups can be put in a line.
PlacementGroups group_nodes(const PlacementProblem& problem, bool contiguous);

// No placement has a lower maximal load, contiguous or not; infinity: some node can run nowhere.
double max_load_bound(const PlacementProblem& problem, const PlacementGroups& groups);
// One line: which node it is. Call when the bound is infinite.
std::string unplaceable(const PlacementProblem& problem, const PlacementGroups& groups);

// Least maximal load over contiguous placements. `linear`: only those along one topological order (fast). Proven
// optimal unless the ideals outgrow control.budget_bytes or the walk control.budget_proposals.
PlacementOutcome search_ideals(const PlacementProblem& problem, bool linear, const SearchControl& control);
// Least maximal load over all placements, by simulated annealing from the linear solution; at most so many moves.
PlacementOutcome search_local(const PlacementProblem& problem, const SearchControl& control, int64_t moves = 6'000'000);
// Least latency of one sample, memory kept.
PlacementOutcome search_latency(const PlacementProblem& problem, bool linear, const SearchControl& control);

// The evaluator: shares no code with the searches and works on the problem as it was read.
struct PlacementScore {
  double value = 0;                      // ms
  std::string violation;                 // one line; empty: the plan is legal
  std::vector<std::vector<int>> pieces;  // latency: nodes of each piece or CPU node, by start
  std::vector<int> piece_device;         // latency
};
PlacementScore evaluate_max_load(const PlacementProblem& problem, const Placement& plan, bool contiguous);
PlacementScore evaluate_latency(const PlacementProblem& problem, const Placement& plan);

}  // namespace pando::plan
