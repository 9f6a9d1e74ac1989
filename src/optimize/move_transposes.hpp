#pragma once
#include "base/compile_context.hpp"
#include "graph/graph.hpp"

namespace pando {

// Moves transposes through operators until they cancel. Never more bytes of transposes than before.
Graph move_transposes(Graph graph, CompileContext& context);

}  // namespace pando
