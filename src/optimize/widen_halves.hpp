#pragma once
#include "base/compile_context.hpp"
#include "graph/graph.hpp"

namespace pando {

// Graphs on float16 and bfloat16 become graphs on float32, which is what tiles compute in. Values are widened where
// they are first computed with: what is only moved stays as it is, inputs and outputs keep their types, and so do the
// weights of products, which kernels widen themselves. Nothing is rounded to 16 bits on the way, so results differ from
// those of the model as written by its rounding, and are nearer to those of its float32 twin.
Graph widen_halves(Graph graph, CompileContext& context);

}  // namespace pando
