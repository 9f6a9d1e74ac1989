#pragma once
#include "base/compile_context.hpp"
#include "graph/graph.hpp"

namespace pando {

// Convolutions and products between DequantizeLinear and QuantizeLinear become products of 8-bit integers, whose sums
// are exact:
//
//   q = saturate(round_half_even(float(sum) * m) + zero),   m = (scale_x * scale_w) / scale_q in float32
//
// for operand 0 of u8 or i8 with one scale and zero point, constant weights of u8 or i8 with one scale and zero point
// or one per output channel, whose difference from the zero point fits i8, and a bias that is a multiple of scale_x *
// scale_w, or none. A Relu or a clip may stand before QuantizeLinear. Without one the result is float32: float(sum) *
// (scale_x * scale_w).
Graph integer_products(Graph graph, CompileContext& context);

}  // namespace pando
