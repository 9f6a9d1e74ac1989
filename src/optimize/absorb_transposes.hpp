#pragma once
#include "base/compile_context.hpp"
#include "graph/graph.hpp"

namespace pando {

// A transpose and flattening before a product with constant weights goes into the order of the weights' rows.
Graph absorb_transposes(Graph graph, CompileContext& context);

}  // namespace pando
