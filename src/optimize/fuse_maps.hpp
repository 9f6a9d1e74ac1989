#pragma once
#include "base/compile_context.hpp"
#include "graph/graph.hpp"

namespace pando {

// Maps that feed one map only, of the same shape, become part of it: a chain costs one pass over memory.
Graph fuse_maps(Graph graph, CompileContext& context);

}  // namespace pando
