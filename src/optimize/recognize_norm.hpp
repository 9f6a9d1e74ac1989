#pragma once
#include "base/compile_context.hpp"
#include "graph/graph.hpp"

namespace pando {

// Layer normalization spelled out as means and products, and the scale and bias that follow it, become `norm`.
Graph recognize_norm(Graph graph, CompileContext& context);

}  // namespace pando
