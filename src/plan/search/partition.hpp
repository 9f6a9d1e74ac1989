// Every operator cut in two again and again, along samples, along what it reduces over, or along its outputs, in shares
// that fit unequal devices: AccPar's types I, II and III (Song et al., HPCA 2020) on operators, their costs taken from
// the cost model and the access rules.
#pragma once
#include "plan/search.hpp"
#include "plan/simulate/task_graph.hpp"

namespace pando::plan {

struct PartitionOptions {
  bool ratios = true;         // false: equal parts
  double exchange_share = 1;  // of the exchange of gradients: how much of it is not hidden behind other work
};

struct PartitionPlan {
  std::vector<Config> configs;
  std::vector<double> shares;  // per level: of the first half
  double formula_ns = 0;       // the sum for the last level
  bool exact = true;           // the types are the best for the shares, level by level
};

// One level per halving of the devices, of which the largest power of two is used; devices that are together in the
// cluster file stay together longest. Per level the types with the least sum of computing (the slower half), exchange
// of gradients and transfers, by nonserial dynamic programming over the graph of operators. Then shares such that the
// halves of every level compute equally long, and types again, until nothing changes. Ends early, with what it has,
// when control says so.
PartitionPlan partition(const Space& space, const CostModel& costs, const TaskOptions& tasks,
                        const PartitionOptions& options, const SearchControl& control);

// Equal pieces or shares of `dims`, one dimension per level (-1: not cut there), on devices counted by the levels'
// halves; nothing when a piece would be empty.
std::optional<Config> halved(const Space& space, uint32_t op, const std::vector<int>& dims,
                             const std::vector<double>& shares, uint32_t levels);

}  // namespace pando::plan
