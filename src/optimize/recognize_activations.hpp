#pragma once
#include "base/compile_context.hpp"
#include "graph/graph.hpp"

namespace pando {

// GELU (erf and tanh forms), hard swish, hard sigmoid and mish, spelled out in any order of their factors, become one
// instruction each.
Graph recognize_activations(Graph graph, CompileContext& context);

}  // namespace pando
