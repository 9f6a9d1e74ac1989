#pragma once
#include "base/compile_context.hpp"
#include "graph/graph.hpp"

namespace pando {

// Maps behind conv and matmul become their epilogue: done to each tile while it is in cache.
Graph fuse_epilogues(Graph graph, CompileContext& context);

}  // namespace pando
