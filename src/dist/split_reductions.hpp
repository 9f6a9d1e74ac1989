// A plan may cut a reduction: parts then make partial sums, which the readers of the result add. Here that becomes
// operators: one per piece of the reduction, on slices of the operands, and one that adds their results.
#pragma once
#include "plan/space.hpp"

namespace pando::dist {

struct SplitGraph {
  Graph graph;  // values of the space's graph keep their ids
  // Per planned operator: what its pieces make, row-major over the pieces of its reduction dimensions. One entry where
  // none is cut: the operator's own first output.
  std::vector<std::vector<ValueId>> results;
};

// Convolutions of one group, products and reductions; float32. Throws not_supported for others, naming the operator.
SplitGraph split_reductions(const plan::Space& space, const std::vector<plan::Config>& configs);

// Which piece of the reduction a part of the operator belongs to.
uint32_t reduction_index(const Domain& domain, const plan::Split& split, const Extents& part);

}  // namespace pando::dist
