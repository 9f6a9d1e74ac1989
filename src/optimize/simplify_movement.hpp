#pragma once
#include "base/compile_context.hpp"
#include "graph/graph.hpp"

namespace pando {

// Drops operators that change nothing (reshape, transpose, slice, expand, pad, copy, adding 0, multiplying by 1) and
// joins reshapes of reshapes, transposes of transposes, slices of slices, concats of concats.
Graph simplify_movement(Graph graph, CompileContext& context);

}  // namespace pando
