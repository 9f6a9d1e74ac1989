#pragma once
#include "base/compile_context.hpp"
#include "graph/graph.hpp"

namespace pando {

// A map behind reshapes and transposes of a matrix operator's result moves before them, where it can become the
// operator's epilogue: GPT-2's flattened products, transposed convolutions.
Graph move_maps(Graph graph, CompileContext& context);

}  // namespace pando
