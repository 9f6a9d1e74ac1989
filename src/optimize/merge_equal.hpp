#pragma once
#include "base/compile_context.hpp"
#include "graph/graph.hpp"

namespace pando {

// Common subexpressions: nodes that do the same with the same operands become one; so do equal small constants.
Graph merge_equal(Graph graph, CompileContext& context);

}  // namespace pando
