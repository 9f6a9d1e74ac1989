#pragma once
#include "graph/graph.hpp"

namespace pando {

// A reshape between a matrix operator and maps moves behind the maps, which can then become the operator's epilogue.
Graph move_reshapes(Graph graph);

}  // namespace pando
