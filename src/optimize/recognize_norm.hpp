#pragma once
#include "graph/graph.hpp"

namespace pando {

// Layer normalization spelled out as means and products, and the scale and bias that follow it, become `norm`.
Graph recognize_norm(Graph graph);

}  // namespace pando
