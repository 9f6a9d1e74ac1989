#pragma once
#include "graph/graph.hpp"

namespace pando {

// Maps behind conv and matmul become their epilogue: done to each tile while it is in cache.
Graph fuse_epilogues(Graph graph);

}  // namespace pando
