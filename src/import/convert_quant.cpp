// Quantized operators. Sums of 8-bit products are computed in 32-bit integers, as the definition has them.
#include "import/converters.hpp"
#include "import/quantized.hpp"

namespace pando::onnx {
namespace {

// What QuantizeLinear and DequantizeLinear do, f, on x and on parameters that broadcast to it: one of each, one per
// index of an axis, or one per block of indices.
template <class F>
ValueId with_parameters(const OnnxNode& n, Builder& b, F&& f) {
  const ValueId x = n.in(0), scale = n.in(1), zero = n.optional(2);
  const int rank = b.rank(x);
  const int64_t block = n.i("block_size", 0);
  if (block == 0) return f(x, along(n, b, scale, rank, n.i("axis", 1)), along(n, b, zero, rank, n.i("axis", 1)));
  if (block < 0) n.invalid("block_size is {}", block);
  return in_blocks(n, b, {x, scale, zero}, n.axis(n.i("axis", 1), rank), block, f);
}

Values quantize_linear(const OnnxNode& n, Builder& b) {
  DType type = DType::u8;
  if (n.has(2)) type = b.dtype(n.in(2));
  else if (n.i("output_dtype", 0) != 0) type = to_dtype(static_cast<int32_t>(n.i("output_dtype", 0)), b.node());
  if (n.i("saturate", 1) == 0) n.unsupported("a quantization that does not saturate is");
  return {with_parameters(
      n, b, [&](ValueId x, ValueId scale, ValueId zero) { return quantize(n, b, x, scale, zero, type); })};
}

Values dequantize_linear(const OnnxNode& n, Builder& b) {
  const ValueId y = with_parameters(n, b, [&](ValueId x, ValueId scale, ValueId zero) {
    return dequantize(b, {x, scale, zero});
  });
  const auto type = static_cast<int32_t>(n.i("output_dtype", 0));
  return {type == 0 ? y : b.cast(y, to_dtype(type, b.node()))};
}

Values dynamic_quantize_linear(const OnnxNode& n, Builder& b) {
  const Quantized y = quantize_dynamically(n, b, n.in(0));
  return {y.q, y.scale, y.zero};
}

// Operands: a, b, zero point of a, of b.
Values matmul_integer(const OnnxNode& n, Builder& b) {
  return {integer_matmul(n, b, {n.in(0), none, n.optional(2)}, {n.in(1), none, n.optional(3)})};
}

Values conv_integer(const OnnxNode& n, Builder& b) {
  return {integer_conv(n, b, {n.in(0), none, n.optional(2)}, {n.in(1), none, n.optional(3)})};
}

// Operands: a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero
Values qlinear_matmul(const OnnxNode& n, Builder& b) {
  return {quantized_matmul(n, b, {n.in(0), n.in(1), n.in(2)}, {n.in(3), n.in(4), n.in(5)}, none, {n.in(6), n.in(7)})};
}

// The same, and a bias in 32-bit integers.
Values qlinear_conv(const OnnxNode& n, Builder& b) {
  return {quantized_conv(n, b, {n.in(0), n.in(1), n.in(2)}, {n.in(3), n.in(4), n.in(5)}, n.optional(8),
                         {n.in(6), n.in(7)})};
}

constexpr Converter quant_list[] = {
    {"ConvInteger", conv_integer},
    {"DequantizeLinear", dequantize_linear},
    {"DynamicQuantizeLinear", dynamic_quantize_linear},
    {"MatMulInteger", matmul_integer},
    {"QLinearConv", qlinear_conv},
    {"QLinearMatMul", qlinear_matmul},
    {"QuantizeLinear", quantize_linear},
    // The same with more types.
    {"com.microsoft.DequantizeLinear", dequantize_linear},
    {"com.microsoft.QuantizeLinear", quantize_linear},
};

}  // namespace

std::span<const Converter> quant_converters() { return quant_list; }

}  // namespace pando::onnx
