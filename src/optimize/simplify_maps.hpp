#pragma once
#include "base/compile_context.hpp"
#include "graph/graph.hpp"

namespace pando {

// Algebra on float32 maps of one instruction: constant scalar operands become parameters, powers become products,
// min and max of constants become clip. Results keep their bits, but for a power that becomes a product.
Graph simplify_maps(Graph graph, CompileContext& context);

}  // namespace pando
