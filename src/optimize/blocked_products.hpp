#pragma once
#include "base/compile_context.hpp"
#include "graph/graph.hpp"

namespace pando {

// Products by constant weights that are dequantized in blocks along k (as DequantizeLinear with block_size) keep them
// as codes, see BlockFormat: of 4 bits where all codes and zero points fit, else of 8.
Graph blocked_products(Graph graph, CompileContext& context);

}  // namespace pando
