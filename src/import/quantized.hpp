// What converters of quantized operators share: quantized values, and sums of products of 8-bit integers.
#pragma once
#include <functional>

#include "import/onnx_node.hpp"

namespace pando::onnx {

// Integers that stand for (q - zero) * scale. zero: none for 0.
struct Quantized {
  ValueId q = none, scale = none, zero = none;
};

// A scale or zero point shaped to broadcast to a tensor of `rank` dimensions along `axis`; none stays none.
ValueId along(const OnnxNode& n, Builder& b, ValueId v, int rank, int64_t axis);
// One number, as a scalar; none stays none.
ValueId one_number(const OnnxNode& n, Builder& b, ValueId v);

// round(x / scale) + zero, saturated, where scale and zero point broadcast to x. Of float32 one map, which
// graph/quantization.hpp knows again.
ValueId quantize(const OnnxNode& n, Builder& b, ValueId x, ValueId scale, ValueId zero, DType type);
// Numbers that a product with scales in it has brought to the units of the result: the same without the division.
ValueId quantize(const OnnxNode& n, Builder& b, ValueId x, ValueId zero, DType type);
// (q - zero) * scale.
ValueId dequantize(Builder& b, const Quantized& x);
// f on x.q and on its scale and zero point, of which there is one for each `block` indices along `axis`.
using OnBlocks = std::function<ValueId(ValueId q, ValueId scale, ValueId zero)>;
ValueId in_blocks(const OnnxNode& n, Builder& b, const Quantized& x, int axis, int64_t block, const OnBlocks& f);
// u8 with the scale and the zero point that the range of x asks for.
Quantized quantize_dynamically(const OnnxNode& n, Builder& b, ValueId x);

// What becomes of the sums of a product: bytes with this scale and zero point, of the type of `zero`.
struct Target {
  ValueId scale = none, zero = none;
};

// Sums (a - zero) (w - zero) + bias in 32-bit integers. Zero points: one, one per row of a or one per column of w.
// bias: i32, one per column, or none. Bytes by constant weights are one product of bytes, anything else runs by the
// references.
ValueId integer_matmul(const OnnxNode& n, Builder& b, const Quantized& a, const Quantized& w, ValueId bias = none);
// The same, back in bytes: round(sum * ((a.scale * w.scale) / y.scale)) + y.zero, saturated.
ValueId quantized_matmul(const OnnxNode& n, Builder& b, const Quantized& a, const Quantized& w, ValueId bias,
                         const Target& y);
// The same of convolutions, by the node's attributes. w: one zero point and scale, or one per output channel.
ValueId integer_conv(const OnnxNode& n, Builder& b, const Quantized& x, const Quantized& w, ValueId bias = none);
ValueId quantized_conv(const OnnxNode& n, Builder& b, const Quantized& x, const Quantized& w, ValueId bias,
                       const Target& y);

}  // namespace pando::onnx
