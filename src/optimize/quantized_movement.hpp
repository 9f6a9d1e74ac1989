#pragma once
#include "base/compile_context.hpp"
#include "graph/graph.hpp"

namespace pando {

// Between DequantizeLinear and QuantizeLinear of the same scale and zero point, operators that only pick elements
// (movement, maximum pooling, joining) pick bytes: quantizing gives back exactly the bytes that were dequantized, and
// keeps their order.
Graph quantized_movement(Graph graph, CompileContext& context);

}  // namespace pando
