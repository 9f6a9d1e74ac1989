// Quantized operators. Sums of 8-bit products are computed in 32-bit integers, as the definition has them.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "graph/quantization.hpp"
#include "import/converters.hpp"
#include "import/windows.hpp"

namespace pando::onnx {
namespace {

struct Range {
  float lo, hi;
};
Range range_of(const OnnxNode& n, DType type) {
  switch (type) {
    case DType::u8: return {0, 255};
    case DType::i8: return {-128, 127};
    case DType::u16: return {0, 65535};
    case DType::i16: return {-32768, 32767};
    default: n.unsupported("quantization to {} is", name_of(type));
  }
}

// A scale or zero point shaped to broadcast to a tensor of `rank` dimensions along `axis`.
ValueId along(const OnnxNode& n, Builder& b, ValueId v, int rank, int64_t axis) {
  if (b.count(v) == 1) return b.reshape(v, {});
  if (b.rank(v) != 1) n.unsupported("quantization by blocks ({}) is", to_string(b.shape(v)));
  Shape shape(rank, 1);
  shape[n.axis(axis, rank)] = b.count(v);
  return b.reshape(v, shape);
}

bool is_zero(Builder& b, ValueId v) {
  if (v == none) return true;
  if (!b.is_constant(v)) return false;
  std::vector<float> all = elements<float>(*b.constant_of(v));
  return std::all_of(all.begin(), all.end(), [](float x) { return x == 0; });
}

// Where an element of this type is scaled: 32-bit integers do not fit float32.
DType scaled_in(DType type) { return type == DType::i32 || type == DType::f64 ? DType::f64 : DType::f32; }

// The zero point as an immediate to add, `sign` times; nothing when it is not known, or not one.
std::optional<double> known_zero(Builder& b, ValueId zero, double sign) {
  if (zero == none || is_zero(b, zero)) return -0.0;  // the one that changes nothing
  if (!b.is_constant(zero) || b.count(zero) != 1) return {};
  return sign * elements<double>(*b.constant_of(zero))[0];
}

// round(x / scale) + zero, saturated. `zero` may be none. One map from float32 to integers: graph/quantization.hpp
// knows it again.
ValueId quantize(const OnnxNode& n, Builder& b, ValueId x, ValueId scale, ValueId zero, DType type) {
  Range r = range_of(n, type);
  DType real = scaled_in(b.dtype(x));
  if (real == DType::f32) {
    const std::optional<double> offset = known_zero(b, zero, 1);
    std::vector<ValueId> operands = {b.cast(x, real), b.cast(scale, real)};
    if (!offset) operands.push_back(zero);
    return b.add(map_op, operands, quantize_program(type, r.lo, r.hi, offset));
  }
  ValueId q = b.map(MapOp::round, {b.map(MapOp::div, {b.cast(x, real), b.cast(scale, real)})});
  if (!is_zero(b, zero)) q = b.map(MapOp::add, {q, b.cast(zero, real)});
  return b.cast(b.map(MapOp::clip, {q}, r.lo, r.hi), type);
}

// (x - zero) * scale.
ValueId dequantize(Builder& b, ValueId x, ValueId scale, ValueId zero) {
  DType real = scaled_in(b.dtype(x));
  if (real == DType::f32 && b.dtype(scale) == DType::f32) {
    const std::optional<double> offset = known_zero(b, zero, -1);
    const bool one = b.is_constant(scale) && b.count(scale) == 1;
    std::vector<ValueId> operands = {x};
    if (!one) operands.push_back(scale);
    if (!offset) operands.push_back(zero);
    const std::optional<double> factor =
        one ? std::optional<double>(elements<float>(*b.constant_of(scale))[0]) : std::nullopt;
    return b.add(map_op, operands, dequantize_program(offset, factor));
  }
  ValueId v = b.cast(x, real);
  if (!is_zero(b, zero)) v = b.map(MapOp::sub, {v, b.cast(zero, real)});
  return b.cast(b.map(MapOp::mul, {v, b.cast(scale, real)}), b.dtype(scale));
}

Values quantize_linear(const OnnxNode& n, Builder& b) {
  ValueId x = n.in(0);
  int rank = b.rank(x);
  int64_t axis = n.i("axis", 1);
  if (n.i("block_size", 0) != 0) n.unsupported("quantization by blocks is");
  DType type = DType::u8;
  if (n.has(2)) type = b.dtype(n.in(2));
  else if (n.i("output_dtype", 0) != 0) type = to_dtype(static_cast<int32_t>(n.i("output_dtype", 0)), b.node());
  ValueId zero = n.has(2) ? along(n, b, n.in(2), rank, axis) : none;
  return {quantize(n, b, x, along(n, b, n.in(1), rank, axis), zero, type)};
}

Values dequantize_linear(const OnnxNode& n, Builder& b) {
  ValueId x = n.in(0);
  int rank = b.rank(x);
  int64_t axis = n.i("axis", 1);
  if (n.i("block_size", 0) != 0) n.unsupported("quantization by blocks is");
  ValueId zero = n.has(2) ? along(n, b, n.in(2), rank, axis) : none;
  return {dequantize(b, x, along(n, b, n.in(1), rank, axis), zero)};
}

// scale = (max(x, 0) - min(x, 0)) / 255, zero = round(-min / scale).
Values dynamic_quantize_linear(const OnnxNode& n, Builder& b) {
  ValueId x = n.in(0);
  std::vector<int64_t> all(static_cast<size_t>(b.rank(x)));
  std::iota(all.begin(), all.end(), 0);
  ValueId nought = b.floats({0}, {});
  ValueId lo = b.map(MapOp::min, {b.reduce(ReduceKind::min, x, all, false), nought});
  ValueId hi = b.map(MapOp::max, {b.reduce(ReduceKind::max, x, all, false), nought});
  ValueId scale = b.map(MapOp::div, {b.map(MapOp::sub, {hi, lo}), b.floats({255}, {})});
  ValueId zero = b.map(MapOp::round, {b.map(MapOp::div, {b.map(MapOp::neg, {lo}), scale})});
  zero = b.cast(b.map(MapOp::clip, {zero}, 0, 255), DType::u8);
  return {quantize(n, b, x, scale, zero, DType::u8), scale, zero};
}

// x - zero in 32-bit integers. A list of zero points is one per row of a matrix (`axis` -2) or column (-1).
ValueId centred(const OnnxNode& n, Builder& b, ValueId x, ValueId zero, int64_t axis) {
  ValueId v = b.cast(x, DType::i32);
  if (is_zero(b, zero)) return v;
  ValueId z = b.cast(zero, DType::i32);
  if (b.count(z) == 1) z = b.reshape(z, {});
  else if (b.rank(z) == 1) z = along(n, b, z, b.rank(x), axis);
  return b.map(MapOp::sub, {v, z});
}

// The attributes of a convolution of x by w.
ConvAttrs conv_attributes(const OnnxNode& n, Builder& b, ValueId x, ValueId w) {
  if (b.rank(x) < 3 || b.rank(w) != b.rank(x))
    n.invalid("input {} and weights {}", to_string(b.shape(x)), to_string(b.shape(w)));
  std::vector<int64_t> spatial(b.shape(x).begin() + 2, b.shape(x).end());
  std::vector<int64_t> kernel(b.shape(w).begin() + 2, b.shape(w).end());
  for (int64_t k : kernel)
    if (k < 1) n.invalid("weights {} have an empty kernel", to_string(b.shape(w)));
  Windows windows = resolve_windows(n, spatial, kernel);
  int64_t group = n.i("group", 1);
  if (group < 1 || group > INT32_MAX) n.invalid("group is {}", group);
  return {windows.strides, windows.dilations, windows.pads_begin, windows.pads_end, group, {}};
}

// Convolution of 32-bit integers that came from 8-bit ones.
ValueId integer_conv(const OnnxNode& n, Builder& b, ValueId x, ValueId w, ValueId bias) {
  const ConvAttrs a = conv_attributes(n, b, x, w);
  return b.channels_first(b.add(conv_op, {b.channels_last(x), w, bias, none}, a));
}

// The weights of an integer product where they are constant and fit: i8 without a zero point. Null otherwise.
TensorPtr integer_weights(Builder& b, ValueId w, ValueId zero, size_t axis) {
  if (!b.is_constant(w) || size_of(b.dtype(w)) != 1 || b.dtype(w) == DType::boolean ||
      b.rank(w) <= static_cast<int>(axis))
    return nullptr;
  if (zero != none && !b.is_constant(zero)) return nullptr;
  const std::vector<float> zeros = zero == none ? std::vector<float>{0} : elements<float>(*b.constant_of(zero));
  if (zeros.size() != 1 && (b.rank(zero) != 1 || static_cast<int64_t>(zeros.size()) != b.shape(w)[axis]))
    return nullptr;
  return without_zero(b.constant_of(w), zeros, axis);
}

// The sums of the columns of w [k, n].
ValueId column_sums(Builder& b, const Tensor& w) {
  const int64_t k = w.shape[0], n = w.shape[1];
  auto sums = b.new_tensor(DType::i32, {n});
  auto* to = reinterpret_cast<int32_t*>(writable(*sums));
  std::fill_n(to, n, 0);
  for (int64_t p = 0; p < k; p++)
    for (int64_t o = 0; o < n; o++) to[o] += static_cast<int8_t>(w.data[p * n + o]);
  return b.constant(std::move(sums));
}

// The product of bytes by constant weights. A zero point of a that is computed becomes a bias:
// (a - zero) w = a w - zero * (sums of w's columns). Sums, or what `end` makes of them. `none`: not of this kind.
ValueId byte_product(Builder& b, ValueId a, ValueId zero, const TensorPtr& w, const Epilogue& end = {},
                     const Values& operands = {}) {
  const DType type = b.dtype(a);
  if (!w || (type != DType::u8 && type != DType::i8) || w->shape.size() != 2 || b.rank(a) < 2 ||
      (zero != none && b.count(zero) != 1))
    return none;
  MatMulAttrs attrs;
  ValueId bias = none;
  if (zero != none && b.dtype(zero) != type) return none;
  if (zero != none && b.is_constant(zero)) {
    attrs.zero = elements<int64_t>(*b.constant_of(zero))[0];
  } else if (zero != none) {
    const ValueId z = b.map(MapOp::neg, {b.cast(b.reshape(zero, {1}), DType::i32)});
    bias = b.map(MapOp::mul, {z, column_sums(b, *w)});
  }
  attrs.epilogue = end;
  Values inputs{a, b.constant(w), bias};
  inputs.insert(inputs.end(), operands.begin(), operands.end());
  return b.add(matmul_op, inputs, attrs);
}

Values matmul_integer(const OnnxNode& n, Builder& b) {
  if (ValueId y = byte_product(b, n.in(0), n.optional(2), integer_weights(b, n.in(1), n.optional(3), 1)); y != none)
    return {y};
  return {b.matmul(centred(n, b, n.in(0), n.optional(2), -2), centred(n, b, n.in(1), n.optional(3), -1))};
}

// The zero point of x, where it is known and of x's type.
std::optional<int64_t> constant_zero(Builder& b, ValueId zero, DType type) {
  if (zero == none) return 0;
  if (!b.is_constant(zero) || b.count(zero) != 1 || b.dtype(zero) != type) return {};
  return elements<int64_t>(*b.constant_of(zero))[0];
}

// The convolution of bytes by constant weights, channels last: sums, or what `end` makes of them. `none`: not of this
// kind.
ValueId byte_conv(const OnnxNode& n, Builder& b, ValueId x, ValueId x_zero, ValueId w, ValueId w_zero, ValueId bias,
                  const Epilogue& end = {}, const Values& operands = {}) {
  const TensorPtr weights = b.rank(w) >= 3 ? integer_weights(b, w, w_zero, 0) : nullptr;
  const std::optional<int64_t> zero = constant_zero(b, x_zero, b.dtype(x));
  if (!weights || !zero || (b.dtype(x) != DType::u8 && b.dtype(x) != DType::i8)) return none;
  ConvAttrs a = conv_attributes(n, b, x, w);
  a.zero = *zero;
  a.epilogue = end;
  Values inputs{b.channels_last(x), b.constant(weights), bias, none};
  inputs.insert(inputs.end(), operands.begin(), operands.end());
  return b.channels_first(b.add(conv_op, inputs, a));
}

// round(sum * m) + zero, saturated, with m = (a_scale * b_scale) / y_scale, where all are constant; m is one number or
// one per channel. Nothing otherwise.
struct Requantization {
  Epilogue end;
  Values operands;
};
std::optional<Requantization> constant_requantization(const OnnxNode& n, Builder& b, ValueId a_scale, ValueId b_scale,
                                                      ValueId y_scale, ValueId y_zero) {
  const auto known = [&](ValueId v) { return b.is_constant(v) && b.dtype(v) == DType::f32; };
  const std::optional<int64_t> zero = constant_zero(b, y_zero, b.dtype(y_zero));
  if (!known(a_scale) || !known(b_scale) || !known(y_scale) || !zero || b.count(a_scale) != 1 || b.count(y_scale) != 1)
    return {};
  const float a = elements<float>(*b.constant_of(a_scale))[0], y = elements<float>(*b.constant_of(y_scale))[0];
  std::vector<float> m = elements<float>(*b.constant_of(b_scale));
  for (float& x : m) x = (a * x) / y;
  if (!std::all_of(m.begin(), m.end(), [](float x) { return std::isfinite(x); })) return {};
  const DType type = b.dtype(y_zero);
  if (type != DType::u8 && type != DType::i8) return {};
  const Range range = range_of(n, type);
  Requantize end{std::nullopt, {MapOp::copy}, static_cast<double>(*zero), range.lo, range.hi};
  Values operands;
  if (m.size() == 1) end.scale = m[0];
  else operands.push_back(b.floats(m, {static_cast<int64_t>(m.size())}));
  return Requantization{{requantize_program(end), type}, operands};
}

Values conv_integer(const OnnxNode& n, Builder& b) {
  if (ValueId y = byte_conv(n, b, n.in(0), n.optional(2), n.in(1), n.optional(3), none); y != none) return {y};
  return {integer_conv(n, b, centred(n, b, n.in(0), n.optional(2), 1), centred(n, b, n.in(1), n.optional(3), 0), none)};
}

// round(sum * ((a_scale * b_scale) / y_scale)) + y_zero, saturated.
ValueId requantize(const OnnxNode& n, Builder& b, ValueId sum, ValueId a_scale, ValueId b_scale, ValueId y_scale,
                   ValueId y_zero) {
  ValueId factor = b.map(MapOp::div, {b.map(MapOp::mul, {a_scale, b_scale}), b.cast(y_scale, DType::f32)});
  ValueId real = b.map(MapOp::mul, {b.cast(sum, DType::f32), factor});
  return quantize(n, b, real, b.floats({1}, {}), y_zero, b.dtype(y_zero));
}

// Operands: a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero
Values qlinear_matmul(const OnnxNode& n, Builder& b) {
  if (auto end = constant_requantization(n, b, n.in(1), n.in(4), n.in(6), n.in(7)))
    if (ValueId y = byte_product(b, n.in(0), n.in(2), integer_weights(b, n.in(3), n.in(5), 1), end->end, end->operands);
        y != none)
      return {y};
  ValueId sum = b.matmul(centred(n, b, n.in(0), n.in(2), -2), centred(n, b, n.in(3), n.in(5), -1));
  int rank = b.rank(sum);
  auto scale = [&](int i, int64_t axis) { return b.cast(along(n, b, n.in(i), rank, axis), DType::f32); };
  return {requantize(n, b, sum, scale(1, -2), scale(4, -1), scale(6, -2), along(n, b, n.in(7), rank, -2))};
}

// The same, and a bias in 32-bit integers.
Values qlinear_conv(const OnnxNode& n, Builder& b) {
  if (auto end = constant_requantization(n, b, n.in(1), n.in(4), n.in(6), n.in(7)))
    if (ValueId y = byte_conv(n, b, n.in(0), n.in(2), n.in(3), n.in(5), n.optional(8), end->end, end->operands);
        y != none)
      return {y};
  ValueId x = centred(n, b, n.in(0), n.in(2), 1), w = centred(n, b, n.in(3), n.in(5), 0);
  ValueId sum = integer_conv(n, b, x, w, n.optional(8));
  int rank = b.rank(sum);
  auto scale = [&](int i) { return along(n, b, n.in(i), rank, 1); };
  return {requantize(n, b, sum, scale(1), scale(4), scale(6), along(n, b, n.in(7), rank, 1))};
}

constexpr Converter quant_list[] = {
    {"ConvInteger", conv_integer},
    {"DequantizeLinear", dequantize_linear},
    {"DynamicQuantizeLinear", dynamic_quantize_linear},
    {"MatMulInteger", matmul_integer},
    {"QLinearConv", qlinear_conv},
    {"QLinearMatMul", qlinear_matmul},
    {"QuantizeLinear", quantize_linear},
};

}  // namespace

std::span<const Converter> quant_converters() { return quant_list; }

}  // namespace pando::onnx
