// The maps that quantize and dequantize, as programs that passes know again.
//
//   dequantize: y = (float(x) - zero) * scale, x an integer of 8 or 16 bits
//   quantize:   y = saturate(round_half_even(x / scale) + zero)
//   requantize: y = saturate(round_half_even(activation(x * scale)) + zero), of sums of products of integers
#pragma once
#include <optional>

#include "graph/ops/ops.hpp"

namespace pando {

// Operands: x, then the scale where `factor` does not give it, then the zero point where `offset` does not give what
// is added to x (-zero; -0.0 for no zero point).
MapAttrs dequantize_program(std::optional<double> offset, std::optional<double> factor);
// Operands: x, the scale, then the zero point where `offset` does not give it. `lo`, `hi`: the range of `type`.
MapAttrs quantize_program(DType type, double lo, double hi, std::optional<double> offset);

// A node that one of them made. What is known is given as numbers, else as values.
struct Dequantize {
  ValueId x = none;
  ValueId scale_value = none, zero_value = none;
  std::optional<double> scale, zero;
};
std::optional<Dequantize> as_dequantize(const NodeView& node);
// Of a constant of two dimensions or more, which may yet be multiplied as it is: it is folded late.
bool dequantizes_weights(const NodeView& node);
// Constant weights of u8 or i8 less their zero point, one for all or one per index of dimension `axis`, as i8; null
// where a difference does not fit. The same tensor where nothing changes.
TensorPtr without_zero(const TensorPtr& weights, std::span<const float> zero, size_t axis);

struct Quantize {
  ValueId x = none, scale_value = none, zero_value = none;
  std::optional<double> zero;
  double lo = 0, hi = 0;
};
std::optional<Quantize> as_quantize(const NodeView& node);

// The way from sums of products back to 8 bits: an epilogue of matrix operators.
struct Requantize {
  std::optional<double> scale;          // else operand 1, one per channel
  MapInstr activation = {MapOp::copy};  // relu or clip; copy: none
  double zero = 0, lo = 0, hi = 0;      // lo, hi: the range of the type
};
MapProgram requantize_program(const Requantize& r);
std::optional<Requantize> as_requantize(const MapProgram& program);

// The sum of two dequantized values, back in 8 bits, as a map. Operands: two values of 8 bits and the scale that the
// sum is divided by.
struct QuantizedSum {
  struct Operand {
    double offset = 0, scale = 0;  // (x + offset) * scale
  } operand[2];
  MapInstr activation = {MapOp::copy};  // relu or clip; copy: none
  double zero = 0, lo = 0, hi = 0;
};
std::optional<QuantizedSum> as_quantized_sum(const MapProgram& program);

}  // namespace pando
