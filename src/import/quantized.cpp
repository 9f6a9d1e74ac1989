#include "import/quantized.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "graph/quantization.hpp"
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
    case DType::f8e4m3fn: return {-448, 448};
    case DType::f8e4m3fnuz: return {-240, 240};
    case DType::f8e5m2:
    case DType::f8e5m2fnuz: return {-57344, 57344};
    default: n.unsupported("quantization to {} is", name_of(type));
  }
}

bool is_byte(DType t) { return t == DType::u8 || t == DType::i8; }

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

// The zero point of a value of this type, where it is known.
std::optional<int64_t> constant_zero(Builder& b, ValueId zero, DType type) {
  if (zero == none) return 0;
  if (!b.is_constant(zero) || b.count(zero) != 1 || b.dtype(zero) != type) return {};
  return elements<int64_t>(*b.constant_of(zero))[0];
}

// q - zero in 32-bit integers. A list of zero points is one per row of a matrix (`axis` -2) or column (-1).
ValueId centred(const OnnxNode& n, Builder& b, const Quantized& x, int64_t axis) {
  ValueId v = b.cast(x.q, DType::i32);
  if (is_zero(b, x.zero)) return v;
  ValueId z = b.cast(x.zero, DType::i32);
  if (b.count(z) == 1 || b.rank(z) == 1) z = along(n, b, z, b.rank(x.q), axis);
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

// The weights of an integer product where they are constant and fit: i8 without a zero point. Null otherwise.
TensorPtr integer_weights(Builder& b, const Quantized& w, size_t axis) {
  if (!b.is_constant(w.q) || !is_byte(b.dtype(w.q)) || b.rank(w.q) <= static_cast<int>(axis)) return nullptr;
  if (w.zero != none && !b.is_constant(w.zero)) return nullptr;
  const std::vector<float> zeros = w.zero == none ? std::vector<float>{0} : elements<float>(*b.constant_of(w.zero));
  if (zeros.size() != 1 && (b.rank(w.zero) != 1 || static_cast<int64_t>(zeros.size()) != b.shape(w.q)[axis]))
    return nullptr;
  return without_zero(b.constant_of(w.q), zeros, axis);
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

// What a product does with its sums before it stores them, and its operands.
struct End {
  Epilogue epilogue;
  Values operands;
};

// The product of bytes by constant weights: sums, or what `end` makes of them. A zero point of a that is computed
// becomes part of the bias: (a - zero) w = a w - zero * (sums of w's columns). `none`: not of this kind.
ValueId byte_matmul(Builder& b, const Quantized& a, const Quantized& w, ValueId bias, const End& end) {
  const DType type = b.dtype(a.q);
  if (!is_byte(type) || b.rank(a.q) < 2 || b.rank(w.q) != 2) return none;
  if (a.zero != none && (b.count(a.zero) != 1 || b.dtype(a.zero) != type)) return none;
  const TensorPtr weights = integer_weights(b, w, 1);
  if (!weights) return none;
  MatMulAttrs attrs;
  if (a.zero != none && b.is_constant(a.zero)) {
    attrs.zero = elements<int64_t>(*b.constant_of(a.zero))[0];
  } else if (a.zero != none) {
    const ValueId z = b.map(MapOp::neg, {b.cast(b.reshape(a.zero, {1}), DType::i32)});
    const ValueId part = b.map(MapOp::mul, {z, column_sums(b, *weights)});
    bias = bias == none ? part : b.map(MapOp::add, {part, bias});
  }
  attrs.epilogue = end.epilogue;
  Values inputs{a.q, b.constant(weights), bias};
  inputs.insert(inputs.end(), end.operands.begin(), end.operands.end());
  return b.add(matmul_op, inputs, attrs);
}

// The convolution of bytes by constant weights, likewise.
ValueId byte_conv(const OnnxNode& n, Builder& b, const Quantized& x, const Quantized& w, ValueId bias, const End& end) {
  const std::optional<int64_t> zero = constant_zero(b, x.zero, b.dtype(x.q));
  if (!zero || !is_byte(b.dtype(x.q)) || b.rank(w.q) < 3) return none;
  const TensorPtr weights = integer_weights(b, w, 0);
  if (!weights) return none;
  ConvAttrs a = conv_attributes(n, b, x.q, w.q);
  a.zero = *zero;
  a.epilogue = end.epilogue;
  Values inputs{b.channels_last(x.q), b.constant(weights), bias, none};
  inputs.insert(inputs.end(), end.operands.begin(), end.operands.end());
  return b.channels_first(b.add(conv_op, inputs, a));
}

ValueId any_matmul(const OnnxNode& n, Builder& b, const Quantized& a, const Quantized& w, ValueId bias) {
  const ValueId sum = b.matmul(centred(n, b, a, -2), centred(n, b, w, -1));
  return bias == none ? sum : b.map(MapOp::add, {sum, bias});
}

ValueId any_conv(const OnnxNode& n, Builder& b, const Quantized& x, const Quantized& w, ValueId bias) {
  const ConvAttrs a = conv_attributes(n, b, x.q, w.q);
  const ValueId pixels = b.channels_last(centred(n, b, x, 1));
  return b.channels_first(b.add(conv_op, {pixels, centred(n, b, w, 0), bias, none}, a));
}

// The way back to bytes where all of it is constant. Nothing otherwise.
std::optional<End> constant_end(const OnnxNode& n, Builder& b, ValueId a_scale, ValueId w_scale, const Target& y) {
  const auto known = [&](ValueId v) { return b.is_constant(v) && b.dtype(v) == DType::f32; };
  const DType type = b.dtype(y.zero);
  const std::optional<int64_t> zero = constant_zero(b, y.zero, type);
  if (!is_byte(type) || !zero) return {};
  if (!known(a_scale) || !known(w_scale) || !known(y.scale) || b.count(a_scale) != 1 || b.count(y.scale) != 1)
    return {};
  const float a = elements<float>(*b.constant_of(a_scale))[0], to = elements<float>(*b.constant_of(y.scale))[0];
  std::vector<float> m = elements<float>(*b.constant_of(w_scale));
  for (float& x : m) x = (a * x) / to;
  if (!std::all_of(m.begin(), m.end(), [](float x) { return std::isfinite(x); })) return {};
  const Range range = range_of(n, type);
  Requantize r{std::nullopt, {MapOp::copy}, static_cast<double>(*zero), range.lo, range.hi};
  Values operands;
  if (m.size() == 1) r.scale = m[0];
  else operands.push_back(b.floats(m, {static_cast<int64_t>(m.size())}));
  return End{{requantize_program(r), type}, operands};
}

// The way back to bytes, of sums that a product gave. Scales and zero point broadcast to them.
ValueId any_end(const OnnxNode& n, Builder& b, ValueId sum, ValueId a_scale, ValueId w_scale, const Target& y) {
  ValueId factor = b.map(MapOp::div, {b.map(MapOp::mul, {a_scale, w_scale}), b.cast(y.scale, DType::f32)});
  return quantize(n, b, b.map(MapOp::mul, {b.cast(sum, DType::f32), factor}), y.zero, b.dtype(y.zero));
}

}  // namespace

ValueId along(const OnnxNode& n, Builder& b, ValueId v, int rank, int64_t axis) {
  if (v == none) return none;
  if (b.count(v) == 1) return b.reshape(v, {});
  if (b.rank(v) != 1) n.invalid("a scale or zero point is {}", to_string(b.shape(v)));
  Shape shape(rank, 1);
  shape[n.axis(axis, rank)] = b.count(v);
  return b.reshape(v, shape);
}

ValueId one_number(const OnnxNode& n, Builder& b, ValueId v) {
  if (v == none) return none;
  if (b.count(v) != 1) n.unsupported("a scale or zero point of shape {} is", to_string(b.shape(v)));
  return b.reshape(v, {});
}

ValueId quantize(const OnnxNode& n, Builder& b, ValueId x, ValueId scale, ValueId zero, DType type) {
  Range r = range_of(n, type);
  DType real = scaled_in(b.dtype(x));
  if (is_float(type)) {  // rounded when it is stored; it has no zero point
    if (!is_zero(b, zero)) n.unsupported("a zero point of {} other than 0 is", name_of(type));
    const ValueId scaled = b.map(MapOp::div, {b.cast(x, DType::f32), b.cast(scale, DType::f32)});
    return b.cast(b.map(MapOp::clip, {scaled}, r.lo, r.hi), type);
  }
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

ValueId quantize(const OnnxNode& n, Builder& b, ValueId x, ValueId zero, DType type) {
  return quantize(n, b, x, b.floats({1}, {}), zero, type);
}

ValueId dequantize(Builder& b, const Quantized& x) {
  DType real = scaled_in(b.dtype(x.q));
  if (real == DType::f32 && b.dtype(x.scale) == DType::f32) {
    const std::optional<double> offset = known_zero(b, x.zero, -1);
    const bool one = b.is_constant(x.scale) && b.count(x.scale) == 1;
    std::vector<ValueId> operands = {x.q};
    if (!one) operands.push_back(x.scale);
    if (!offset) operands.push_back(x.zero);
    const std::optional<double> factor =
        one ? std::optional<double>(elements<float>(*b.constant_of(x.scale))[0]) : std::nullopt;
    return b.add(map_op, operands, dequantize_program(offset, factor));
  }
  ValueId v = b.cast(x.q, real);
  if (!is_zero(b, x.zero)) v = b.map(MapOp::sub, {v, b.cast(x.zero, real)});
  return b.cast(b.map(MapOp::mul, {v, b.cast(x.scale, real)}), b.dtype(x.scale));
}

ValueId in_blocks(const OnnxNode& n, Builder& b, const Quantized& x, int axis, int64_t block, const OnBlocks& f) {
  const Shape shape = b.shape(x.q);
  Shape blocks = shape;
  blocks[axis] = (shape[axis] + block - 1) / block;
  const bool one = x.zero != none && b.count(x.zero) == 1;
  if (b.shape(x.scale) != blocks || (x.zero != none && !one && b.shape(x.zero) != blocks))
    n.invalid("scale {}: it and its zero point are {} for blocks of {} of {}", to_string(b.shape(x.scale)),
              to_string(blocks), block, to_string(shape));
  if (shape[axis] % block == 0 && b.rank(x.q) < max_rank) {  // a dimension of its own for what is in a block
    Shape split = shape;
    split[axis] = block;
    split.insert(split.begin() + axis, blocks[axis]);
    blocks.insert(blocks.begin() + axis + 1, 1);
    const ValueId zeros = x.zero == none || one ? x.zero : b.reshape(x.zero, blocks);
    return b.reshape(f(b.reshape(x.q, split), b.reshape(x.scale, blocks), zeros), shape);
  }
  std::vector<int64_t> at(static_cast<size_t>(shape[axis]));
  for (size_t i = 0; i < at.size(); i++) at[i] = static_cast<int64_t>(i) / block;
  const ValueId index = b.ints(at);
  return f(x.q, b.gather(x.scale, index, axis), x.zero == none || one ? x.zero : b.gather(x.zero, index, axis));
}

// scale = (max(x, 0) - min(x, 0)) / 255, or 1 where x is all zeros; zero = round(-min / scale).
Quantized quantize_dynamically(const OnnxNode& n, Builder& b, ValueId x) {
  std::vector<int64_t> all(static_cast<size_t>(b.rank(x)));
  std::iota(all.begin(), all.end(), 0);
  ValueId nought = b.floats({0}, {});
  ValueId lo = b.map(MapOp::min, {b.reduce(ReduceKind::min, x, all, false), nought});
  ValueId hi = b.map(MapOp::max, {b.reduce(ReduceKind::max, x, all, false), nought});
  MapAttrs range;
  range.program.inputs = 4;
  range.program.code = {{MapOp::sub, 0, 1}, {MapOp::div, 4, 2}, {MapOp::where, 4, 5, 3}};
  ValueId scale = b.add(map_op, {hi, lo, b.floats({255}, {}), b.floats({1}, {})}, range);
  ValueId zero = b.map(MapOp::round, {b.map(MapOp::div, {b.map(MapOp::neg, {lo}), scale})});
  zero = b.cast(b.map(MapOp::clip, {zero}, 0, 255), DType::u8);
  return {quantize(n, b, x, scale, zero, DType::u8), scale, zero};
}

ValueId integer_matmul(const OnnxNode& n, Builder& b, const Quantized& a, const Quantized& w, ValueId bias) {
  const ValueId sum = byte_matmul(b, a, w, bias, {});
  return sum != none ? sum : any_matmul(n, b, a, w, bias);
}

ValueId quantized_matmul(const OnnxNode& n, Builder& b, const Quantized& a, const Quantized& w, ValueId bias,
                         const Target& y) {
  if (const std::optional<End> end = constant_end(n, b, a.scale, w.scale, y))
    if (const ValueId v = byte_matmul(b, a, w, bias, *end); v != none) return v;
  const ValueId sum = any_matmul(n, b, a, w, bias);
  const int rank = b.rank(sum);
  const auto scale = [&](ValueId v, int64_t axis) { return b.cast(along(n, b, v, rank, axis), DType::f32); };
  return any_end(n, b, sum, scale(a.scale, -2), scale(w.scale, -1),
                 {scale(y.scale, -2), along(n, b, y.zero, rank, -2)});
}

ValueId integer_conv(const OnnxNode& n, Builder& b, const Quantized& x, const Quantized& w, ValueId bias) {
  const ValueId sum = byte_conv(n, b, x, w, bias, {});
  return sum != none ? sum : any_conv(n, b, x, w, bias);
}

ValueId quantized_conv(const OnnxNode& n, Builder& b, const Quantized& x, const Quantized& w, ValueId bias,
                       const Target& y) {
  if (const std::optional<End> end = constant_end(n, b, x.scale, w.scale, y))
    if (const ValueId v = byte_conv(n, b, x, w, bias, *end); v != none) return v;
  const ValueId sum = any_conv(n, b, x, w, bias);
  const auto channel = [&](ValueId v) { return along(n, b, v, b.rank(sum), 1); };
  return any_end(n, b, sum, channel(x.scale), channel(w.scale), {channel(y.scale), channel(y.zero)});
}

}  // namespace pando::onnx
