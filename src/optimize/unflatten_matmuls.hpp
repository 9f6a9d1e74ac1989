#pragma once
#include "base/compile_context.hpp"
#include "graph/graph.hpp"

namespace pando {

// reshape([..., K] -> [rows, K]), product with a matrix, reshape([rows, N] -> [..., N]): the product is taken on the
// leading dimensions as they are, so that what lies around it meets without reshapes.
Graph unflatten_matmuls(Graph graph, CompileContext& context);

}  // namespace pando
