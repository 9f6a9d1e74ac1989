// Reverse-mode differentiation into core operators, which run like all others.
#pragma once
#include <span>

#include "graph/graph.hpp"

namespace pando {

// Appends to the graph the gradients of y, weighted by dy (of its type and shape), with respect to `wanted`: per value
// its gradient, `none` where y does not depend on it. Parts of a gradient are added in an order that the graph fixes:
// from the last reader of a value to its first. Throws not_supported, naming the node, where an operator between has
// no gradient.
std::vector<ValueId> differentiate(Graph& graph, ValueId y, ValueId dy, std::span<const ValueId> wanted);

}  // namespace pando
