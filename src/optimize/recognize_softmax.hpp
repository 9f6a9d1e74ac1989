#pragma once
#include "base/compile_context.hpp"
#include "graph/graph.hpp"

namespace pando {

// exp(x - max(x)) / sum(exp(x - max(x))) becomes `softmax`.
Graph recognize_softmax(Graph graph, CompileContext& context);

}  // namespace pando
