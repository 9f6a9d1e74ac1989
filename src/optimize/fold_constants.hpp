#pragma once
#include "base/compile_context.hpp"
#include "graph/graph.hpp"

namespace pando {

// Evaluates nodes whose operands are all constant. `all`: large transposes too; until then they are left, since a
// matrix product may read its constant operand transposed without a copy.
Graph fold_constants(Graph graph, bool all, CompileContext& context);

}  // namespace pando
