#pragma once
#include "base/compile_context.hpp"
#include "graph/graph.hpp"

namespace pando {

// matmul(softmax(scale * matmul(q, k^T) + mask), v) becomes `attention` between transposes to [B, S, H, D] and back,
// which the layout pass then cancels against the model's own. A constant lower triangular mask becomes `causal`.
Graph recognize_attention(Graph graph, CompileContext& context);

}  // namespace pando
