#pragma once
#include "base/compile_context.hpp"
#include "graph/graph.hpp"

namespace pando {

// Products and sums with per-channel constants after conv and matmul (batch normalization) become their scale and
// bias; constant zero padding before conv becomes its own.
Graph fold_scales(Graph graph, CompileContext& context);

}  // namespace pando
