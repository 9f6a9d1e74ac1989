// Hierarchical partition of a chain of layers by three types ("AccPar: Tensor Partitioning for Heterogeneous Deep
// Learning Accelerators", Song et al., HPCA 2020): per level of halving, each layer is cut along the batch (I), its
// input channels (II) or its output channels (III).
#pragma once
#include <string>
#include <vector>

#include "plan/search.hpp"

namespace pando::plan {

// Elements of a layer's input feature map, output feature map and weights.
struct TableLayer {
  std::string name;
  double input = 0, output = 0, weights = 0;
};

struct LayerTable {
  std::vector<TableLayer> layers;  // a chain, for the whole batch
  // Shortcuts: layer l also reads from layer l - span, where l >= first and l % stride == first % stride. Span 0: none.
  int span = 0, first = 0, stride = 1;
  int levels = 7;
};

struct TableLevel {
  std::vector<int> types;  // 1, 2, 3 per layer
  double moved = 0;        // elements, between the two halves of one pair
};

struct TableOutcome : SearchOutcome {
  std::vector<TableLevel> levels;
};

// The least elements moved per level, halves being equal; what a level cut is half as large at the next one. Exact per
// level, by dynamic programming over the types of as many layers as shortcuts reach back (at most 3); of equal plans,
// the one with the lowest types, the first layer deciding first.
TableOutcome search_chain(const LayerTable& table, const SearchControl& control);

// The evaluator: shares no code with the search. Elements moved per level, for types as in TableLevel.
std::vector<double> evaluate_chain(const LayerTable& table, const std::vector<std::vector<int>>& types);

}  // namespace pando::plan
