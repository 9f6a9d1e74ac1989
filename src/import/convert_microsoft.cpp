// Operators of the domain com.microsoft that quantized models are made of, as ONNX Runtime's CPU kernels compute them.
#include <numeric>

#include "graph/ops/common.hpp"
#include "import/converters.hpp"
#include "import/quantized.hpp"
#include "import/windows.hpp"

namespace pando::onnx {
namespace {

// Operands i, i + 1 and, perhaps absent, i + 2: a value of one scale and zero point.
Quantized quantized(const OnnxNode& n, Builder& b, int i) {
  return {n.in(i), one_number(n, b, n.in(i + 1)), one_number(n, b, n.optional(i + 2))};
}
Target target(const OnnxNode& n, Builder& b, int i) {
  return {one_number(n, b, n.in(i)), one_number(n, b, n.optional(i + 1))};
}

// The result, of the type of the operands.
Values back(const OnnxNode& n, Builder& b, ValueId y, const Quantized& like, const Target& to) {
  return {quantize(n, b, y, to.scale, to.zero, b.dtype(like.q))};
}

// q - zero as float32.
ValueId centred(Builder& b, const Quantized& x) { return dequantize(b, {x.q, b.floats({1}, {}), x.zero}); }

// round(y + zero), saturated: ties go to even results, where `quantize` takes even differences from the zero point.
Values round_with_zero(const OnnxNode& n, Builder& b, ValueId y, ValueId zero, DType type) {
  if (zero != none) y = b.map(MapOp::add, {y, b.cast(zero, DType::f32)});
  return {quantize(n, b, y, none, type)};
}

// ---- products ----

// float(sum) * (a.scale * w.scale) + bias
Values real_matmul(const OnnxNode& n, Builder& b, const Quantized& a, const Quantized& w, ValueId bias) {
  const ValueId sum = b.cast(integer_matmul(n, b, a, w), DType::f32);
  ValueId y = b.map(MapOp::mul, {sum, b.map(MapOp::mul, {a.scale, w.scale})});
  if (bias != none) y = b.map(MapOp::add, {y, bias});
  return {y};
}

// Operands: a, b, b_scale, b_zero, bias
Values dynamic_quantize_matmul(const OnnxNode& n, Builder& b) {
  const Quantized w{n.in(1), n.in(2), n.optional(3)};
  return real_matmul(n, b, quantize_dynamically(n, b, n.in(0)), w, n.optional(4));
}

// Operands: a, b, a_scale, b_scale, a_zero, b_zero, bias
Values matmul_integer_to_float(const OnnxNode& n, Builder& b) {
  const Quantized a{n.in(0), one_number(n, b, n.in(2)), one_number(n, b, n.optional(4))};
  return real_matmul(n, b, a, {n.in(1), n.in(3), n.optional(5)}, n.optional(6));
}

// Operands: a, a_scale, a_zero, b, b_scale, b_zero, c, y_scale, y_zero. c is added to the sums. Without y_zero the
// result is float32.
Values qgemm(const OnnxNode& n, Builder& b) {
  Quantized a = quantized(n, b, 0), w{n.in(3), n.in(4), n.optional(5)};
  if (b.rank(a.q) != 2 || b.rank(w.q) != 2)
    n.invalid("operands {} and {}: expected matrices", to_string(b.shape(a.q)), to_string(b.shape(w.q)));
  if (n.flag("transA", false)) a.q = b.transpose(a.q, {1, 0});
  if (n.flag("transB", false)) w.q = b.transpose(w.q, {1, 0});
  if (const float alpha = n.f("alpha", 1); alpha != 1) a.scale = b.map(MapOp::mul_imm, {a.scale}, alpha);
  if (n.has(7) != n.has(8)) n.unsupported("a scale of the result without its zero point, or the other way round, is");
  const ValueId c = n.optional(6);
  const Shape shape{b.shape(a.q)[0], b.shape(w.q)[1]};
  if (c != none && broadcast_shapes(b.shape(c), shape) != shape)
    n.invalid("C of shape {} for {}", to_string(b.shape(c)), to_string(shape));
  const bool row = c != none && b.count(c) == shape[1] && (b.rank(c) == 0 || b.shape(c).back() == shape[1]);
  const ValueId bias = row ? b.reshape(c, {shape[1]}) : none;
  if (n.has(8) && (row || c == none)) return {quantized_matmul(n, b, a, w, bias, target(n, b, 7))};
  ValueId sum = integer_matmul(n, b, a, w, bias);
  if (c != none && !row) sum = b.map(MapOp::add, {sum, c});
  ValueId scale = b.map(MapOp::mul, {a.scale, w.scale});
  if (n.has(8)) scale = b.map(MapOp::div, {scale, one_number(n, b, n.in(7))});
  const ValueId y = b.map(MapOp::mul, {b.cast(sum, DType::f32), scale});
  return {n.has(8) ? quantize(n, b, y, one_number(n, b, n.in(8)), b.dtype(n.in(8))) : y};
}

// ---- element by element ----

// Operands: a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero
Values qlinear_add(const OnnxNode& n, Builder& b) {
  const Quantized x = quantized(n, b, 0), y = quantized(n, b, 3);
  return back(n, b, b.map(MapOp::add, {dequantize(b, x), dequantize(b, y)}), x, target(n, b, 6));
}

// The exact product of integers times (a_scale * b_scale) / y_scale.
Values qlinear_mul(const OnnxNode& n, Builder& b) {
  const Quantized x = quantized(n, b, 0), y = quantized(n, b, 3);
  const Target to = target(n, b, 6);
  const ValueId factor = b.map(MapOp::div, {b.map(MapOp::mul, {x.scale, y.scale}), to.scale});
  const ValueId product = b.map(MapOp::mul, {centred(b, x), centred(b, y)});
  return round_with_zero(n, b, b.map(MapOp::mul, {product, factor}), to.zero, b.dtype(x.q));
}

// Operands: x, x_scale, x_zero, y_scale, y_zero
Values qlinear_sigmoid(const OnnxNode& n, Builder& b) {
  const Quantized x = quantized(n, b, 0);
  return back(n, b, b.map(MapOp::sigmoid, {dequantize(b, x)}), x, target(n, b, 3));
}
Values qlinear_leaky_relu(const OnnxNode& n, Builder& b) {
  const Quantized x = quantized(n, b, 0);
  return back(n, b, b.map(MapOp::leaky_relu, {dequantize(b, x)}, n.f("alpha", 0.01f)), x, target(n, b, 3));
}

bool same_number(const Builder& b, ValueId u, ValueId v) {
  if (u == none || v == none || u == v) return u == v;
  return b.is_constant(u) && b.is_constant(v) && b.dtype(u) == b.dtype(v) &&
         elements<double>(*b.constant_of(u)) == elements<double>(*b.constant_of(v));
}

// x in units of the result: the same bytes where these are its own.
ValueId in_units_of(const OnnxNode& n, Builder& b, const Quantized& x, const Target& to) {
  if (same_number(b, x.scale, to.scale) && same_number(b, x.zero, to.zero)) return x.q;
  return back(n, b, dequantize(b, x), x, to)[0];
}

// Operands: y_scale, y_zero, then scale and zero point behind each operand
Values qlinear_concat(const OnnxNode& n, Builder& b) {
  if (n.inputs() < 5 || n.inputs() % 3 != 2) n.invalid("{} operands", n.inputs());
  const Target to = target(n, b, 0);
  Values parts;
  for (int i = 2; i < n.inputs(); i += 3) parts.push_back(in_units_of(n, b, quantized(n, b, i), to));
  return {b.concat(parts, n.axis(n.i("axis", 0), b.rank(parts[0])))};
}

// Operands: condition, x, x_scale, x_zero, y, y_scale, y_zero, z_scale, z_zero
Values qlinear_where(const OnnxNode& n, Builder& b) {
  const Target to = target(n, b, 7);
  const ValueId x = in_units_of(n, b, quantized(n, b, 1), to), y = in_units_of(n, b, quantized(n, b, 4), to);
  return {b.map(MapOp::where, {n.in(0), x, y})};
}

// ---- pools. Operands: x, x_scale, x_zero, y_scale, y_zero ----

std::vector<int64_t> spatial_axes(const OnnxNode& n, const Shape& shape, bool channels_last) {
  if (shape.size() < 3) n.invalid("its input {} has fewer than 3 dimensions", to_string(shape));
  std::vector<int64_t> axes(shape.size() - 2);
  std::iota(axes.begin(), axes.end(), channels_last ? 1 : 2);
  return axes;
}
std::vector<int64_t> extents(const Shape& shape, const std::vector<int64_t>& axes) {
  return {shape.begin() + axes.front(), shape.begin() + axes.back() + 1};
}

// The exact sum of integers times x_scale / (y_scale * count).
Values mean(const OnnxNode& n, Builder& b, const std::vector<int64_t>& axes) {
  const Quantized x = quantized(n, b, 0);
  const Target to = target(n, b, 3);
  const auto count = static_cast<float>(element_count(extents(b.shape(x.q), axes)));
  const ValueId sum = b.reduce(ReduceKind::sum, centred(b, x), axes);
  const ValueId factor = b.map(MapOp::div, {x.scale, b.map(MapOp::mul, {to.scale, b.floats({count}, {})})});
  return {quantize(n, b, b.map(MapOp::mul, {sum, factor}), to.zero, b.dtype(x.q))};
}

Values qlinear_global_average_pool(const OnnxNode& n, Builder& b) {
  return mean(n, b, spatial_axes(n, b.shape(n.in(0)), n.flag("channels_last", false)));
}

// The mean of float32, but of a whole image.
Values qlinear_average_pool(const OnnxNode& n, Builder& b) {
  const bool last = n.flag("channels_last", false);
  const std::vector<int64_t> axes = spatial_axes(n, b.shape(n.in(0)), last);
  const PoolAttrs a = pool_attributes(n, extents(b.shape(n.in(0)), axes), PoolKind::average);
  const auto none_of = [](const std::vector<int64_t>& pads) {
    return std::all_of(pads.begin(), pads.end(), [](int64_t p) { return p == 0; });
  };
  if (a.kernel == extents(b.shape(n.in(0)), axes) && none_of(a.pads_begin) && none_of(a.pads_end))
    return mean(n, b, axes);
  const Quantized x = quantized(n, b, 0);
  const Target to = target(n, b, 3);
  ValueId y = dequantize(b, x);
  y = b.add(pool_op, {last ? y : b.channels_last(y)}, a);
  y = round_with_zero(n, b, b.map(MapOp::div, {y, to.scale}), to.zero, b.dtype(x.q))[0];
  return {last ? y : b.channels_first(y)};
}

Values nhwc_max_pool(const OnnxNode& n, Builder& b) {
  const Shape& shape = b.shape(n.in(0));
  return {b.add(pool_op, {n.in(0)}, pool_attributes(n, extents(shape, spatial_axes(n, shape, true)), PoolKind::max))};
}

// ---- transformers ----

// Operands: x, x_scale, x_zero, y_scale, y_zero. A probability counts in whole parts of 1: floor(1 / y_scale) of them.
// Attribute opset: of the Softmax that it stands for, where before 13 all from `axis` on is one row.
Values qlinear_softmax(const OnnxNode& n, Builder& b) {
  const Quantized x = quantized(n, b, 0);
  const Target to = target(n, b, 3);
  const Shape shape = b.shape(x.q);
  const int rank = b.rank(x.q);
  const bool old = n.i("opset", 13) < 13;
  const int axis = n.axis(n.i("axis", old ? 1 : -1), rank, old);
  const Shape rows{element_count(std::span(shape).first(axis)), element_count(std::span(shape).subspan(axis))};
  const bool flat = old && axis != rank - 1;
  ValueId y = dequantize(b, x);
  y = b.add(softmax_op, {flat ? b.reshape(y, rows) : y}, SoftmaxAttrs{flat ? 1 : axis});
  const ValueId parts = b.map(MapOp::floor, {b.map(MapOp::div, {b.floats({1}, {}), to.scale})});
  y = b.map(MapOp::mul, {flat ? b.reshape(y, shape) : y, parts});
  return {quantize(n, b, y, to.zero, b.dtype(x.q))};
}

// What is added to the scores [B, H, S, T], or none: `filter` for keys that the mask leaves out. The mask is 0 or 1 per
// key [B, T] or per query and key [B, S, T], or the ends of the keys [B], perhaps followed by their begins [2 B].
ValueId added_mask(const OnnxNode& n, Builder& b, ValueId mask, int64_t batch, int64_t keys, float filter) {
  if (mask == none) return none;
  const Shape shape = b.shape(mask);
  ValueId sees = none;
  if (shape.size() == 1 && (shape[0] == batch || shape[0] == 2 * batch)) {
    const ValueId key = b.cast(b.iota(keys, 4, 3), b.dtype(mask));
    const auto part = [&](int64_t i) { return b.reshape(b.slice_axis(mask, 0, i * batch, batch), {batch, 1, 1, 1}); };
    sees = b.map(MapOp::less, {key, part(0)});
    if (shape[0] == 2 * batch) sees = b.map(MapOp::logical_and, {sees, b.map(MapOp::greater_equal, {key, part(1)})});
  } else if (shape.size() == 2 && shape[1] == 1 && keys != 1) {
    return none;  // a stand-in
  } else if (shape == Shape{batch, keys} || (shape.size() == 3 && shape[0] == batch && shape[2] == keys)) {
    const ValueId m = b.reshape(mask, {batch, 1, shape.size() == 3 ? shape[1] : 1, keys});
    sees = b.map(MapOp::greater, {m, b.scalar(b.dtype(mask), 0)});
  } else {
    n.unsupported("a mask of shape {} for {} sequences of {} keys is", to_string(shape), batch, keys);
  }
  return b.map(MapOp::where, {sees, b.floats({0}, {}), b.floats({filter}, {})});
}

// Operands: x [B, S, I], weights [I, 3 H D] of queries, keys and values, bias [3 H D], x_scale, w_scale, mask, x_zero,
// w_zero, past [2, B, H, P, D]. Results: [B, S, H D], and past with the new keys and values behind it.
Values qattention(const OnnxNode& n, Builder& b) {
  const ValueId x = n.in(0);
  const int64_t heads = n.i("num_heads", 0);
  if (b.rank(x) != 3 || b.rank(n.in(1)) != 2 || heads < 1 || b.shape(n.in(1))[1] % (3 * heads) != 0)
    n.invalid("input {}, weights {}, {} heads", to_string(b.shape(x)), to_string(b.shape(n.in(1))), heads);
  if (n.flag("do_rotary", false) || n.flag("past_present_share_buffer", false))
    n.unsupported("do_rotary or past_present_share_buffer is");
  const int64_t batch = b.shape(x)[0], queries = b.shape(x)[1], width = b.shape(n.in(1))[1] / 3 / heads;
  const Quantized in{x, one_number(n, b, n.in(3)), one_number(n, b, n.optional(6))};
  const ValueId qkv = real_matmul(n, b, in, {n.in(1), n.in(4), n.optional(7)}, n.in(2))[0];
  const auto part = [&](int64_t i) {
    return b.reshape(b.slice_axis(qkv, 2, i * heads * width, heads * width), {batch, queries, heads, width});
  };
  ValueId k = part(1), v = part(2), present = none;
  if (n.has(8)) {
    const Shape& past = b.shape(n.in(8));
    if (past.size() != 5 || past != Shape{2, batch, heads, past[3], width}) n.invalid("past {}", to_string(past));
    const auto with_past = [&](int64_t i, ValueId fresh) {
      const ValueId old = b.reshape(b.slice_axis(n.in(8), 0, i, 1), {batch, heads, past[3], width});
      return b.concat({b.transpose(old, {0, 2, 1, 3}), fresh}, 1);
    };
    k = with_past(0, k);
    v = with_past(1, v);
  }
  const int64_t keys = b.shape(k)[1];
  if (n.wants(1)) {
    const auto state = [&](ValueId u) {
      return b.reshape(b.transpose(u, {0, 2, 1, 3}), {1, batch, heads, keys, width});
    };
    present = b.concat({state(k), state(v)}, 0);
  }
  AttentionAttrs a;
  a.scale = n.f("scale", 0);
  if (a.scale == 0) a.scale = 1 / std::sqrt(static_cast<float>(width));
  a.causal = n.flag("unidirectional", false);
  const ValueId mask = added_mask(n, b, n.optional(5), batch, keys, n.f("mask_filter_value", -10000));
  const ValueId y = b.add(attention_op, {part(0), k, v, mask}, a);
  return {b.reshape(y, {batch, queries, heads * width}), present};
}

constexpr Converter microsoft_list[] = {
    {"com.microsoft.DynamicQuantizeMatMul", dynamic_quantize_matmul},
    {"com.microsoft.MatMulIntegerToFloat", matmul_integer_to_float},
    {"com.microsoft.NhwcMaxPool", nhwc_max_pool},
    {"com.microsoft.QAttention", qattention},
    {"com.microsoft.QGemm", qgemm},
    {"com.microsoft.QLinearAdd", qlinear_add},
    {"com.microsoft.QLinearAveragePool", qlinear_average_pool},
    {"com.microsoft.QLinearConcat", qlinear_concat},
    {"com.microsoft.QLinearGlobalAveragePool", qlinear_global_average_pool},
    {"com.microsoft.QLinearLeakyRelu", qlinear_leaky_relu},
    {"com.microsoft.QLinearMul", qlinear_mul},
    {"com.microsoft.QLinearSigmoid", qlinear_sigmoid},
    {"com.microsoft.QLinearSoftmax", qlinear_softmax},
    {"com.microsoft.QLinearWhere", qlinear_where},
};

}  // namespace

std::span<const Converter> microsoft_converters() { return microsoft_list; }

}  // namespace pando::onnx
