#include "optimize/integer_products.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "graph/ops/common.hpp"
#include "graph/quantization.hpp"
#include "optimize/rewriter.hpp"

namespace pando {
namespace {

bool is_byte(DType t) { return t == DType::u8 || t == DType::i8; }

std::optional<Dequantize> dequantized(const Rewriter& rw, ValueId v) {
  const Node* node = rw.producer(v);
  return node ? as_dequantize({rw.g, *node}) : std::nullopt;
}

// The same of a value that was moved, or pooled, after it had been dequantized, all of it alike: its bytes are instead.
std::optional<Dequantize> dequantized_under(Rewriter& rw, ValueId v) {
  const Node* move = rw.producer(v);
  if (!move || move->inputs.size() != 1 || !rw.single(v)) return dequantized(rw, v);
  if (!move->op->picks || !move->op->picks({rw.g, *move})) return dequantized(rw, v);
  std::optional<Dequantize> d = dequantized(rw, move->inputs[0]);
  if (!d || !d->scale || !d->zero || rw.shape(d->x) != rw.shape(move->inputs[0])) return {};
  const Node copy = *move;  // emitting may move it
  d->x = rw.emit(*copy.op, copy.name, {d->x}, copy.attrs);
  return d;
}

std::vector<float> numbers(const Tensor& t) {
  std::vector<float> list(static_cast<size_t>(element_count(t.shape)));
  const View view = t.view();
  for (size_t i = 0; i < list.size(); i++) list[i] = load_as<float>(view, static_cast<int64_t>(i));
  return list;
}

// A matrix operator's weights as integers of 8 bits without a zero point, and their scale, once or per output channel.
struct Weights {
  TensorPtr w;
  std::vector<float> scale;
};

// One number, or one per index of dimension `axis` of the weights; empty: neither.
std::vector<float> per_channel(const Rewriter& rw, ValueId v, const Shape& w, size_t axis) {
  if (!rw.is_constant(v)) return {};
  const Tensor& t = *rw.g.values[v].constant;
  const int64_t n = element_count(t.shape);
  if (n == 1) return numbers(t);
  // Its dimensions count from the weights' last one.
  const size_t missing = w.size() - std::min(w.size(), t.shape.size());
  if (t.shape.size() > w.size() || axis < missing || n != w[axis] || t.shape[axis - missing] != n) return {};
  return numbers(t);
}

std::optional<Weights> weights_of(Rewriter& rw, ValueId v, size_t axis) {
  const std::optional<Dequantize> d = dequantized(rw, v);
  if (!d || !rw.is_constant(d->x) || !is_byte(rw.dtype(d->x)) || rw.shape(d->x) != rw.shape(v)) return {};
  const TensorPtr from = rw.g.values[d->x].constant;
  const Shape& shape = from->shape;
  if (axis >= shape.size()) return {};
  Weights r;
  r.scale = d->scale ? std::vector<float>{static_cast<float>(*d->scale)} : per_channel(rw, d->scale_value, shape, axis);
  const std::vector<float> zero =
      d->zero ? std::vector<float>{static_cast<float>(*d->zero)} : per_channel(rw, d->zero_value, shape, axis);
  const auto plain = [](float x) { return std::isfinite(x) && x > 0; };
  if (r.scale.empty() || zero.empty() || !std::all_of(r.scale.begin(), r.scale.end(), plain)) return {};
  r.w = without_zero(from, zero, axis);
  if (!r.w) return {};
  return r;
}

// A matrix operator on dequantized operands.
struct Product {
  bool conv = false;
  ValueId x = none;
  float x_scale = 1;
  int64_t zero = 0;
  Weights weights;
  std::vector<float> scale;  // of the sums: x's times the weights', once or per channel
  ValueId bias = none;       // i32
  ValueId real_bias = none;  // instead, where it is no multiple of the scale: float32
};

// As integers in units of the scale; null where it is none.
TensorPtr whole_bias(const std::vector<float>& bias, const std::vector<float>& scale) {
  auto t = make_tensor(DType::i32, {static_cast<int64_t>(bias.size())});
  for (size_t i = 0; i < bias.size(); i++) {
    const double unit = scale[scale.size() == 1 ? 0 : i], units = std::nearbyint(static_cast<double>(bias[i]) / unit);
    if (!(std::abs(units) < 0x1p31) || std::abs(units * unit - bias[i]) > 1e-6 * std::abs(bias[i])) return nullptr;
    store(writable(*t), static_cast<int64_t>(i), static_cast<int32_t>(units));
  }
  return t;
}

std::optional<Product> product_of(Rewriter& rw, const Node& node) {
  enum { x, w, bias, scale };
  if (!node.op->epilogue || !node.op->epilogue->in(node.attrs).empty()) return {};
  if (node.inputs.size() > scale && node.inputs[scale] != none) return {};
  const std::optional<Dequantize> d = dequantized_under(rw, node.inputs[x]);
  if (!d || !is_byte(rw.dtype(d->x)) || !d->scale || !d->zero || rw.shape(d->x) != rw.shape(node.inputs[x])) return {};
  const double lowest = rw.dtype(d->x) == DType::i8 ? -128 : 0;
  if (!(*d->zero >= lowest && *d->zero <= lowest + 255 && *d->zero == std::trunc(*d->zero))) return {};
  const bool conv = node.op == &conv_op;
  size_t axis = 0;
  if (!conv) {
    const auto& attrs = node.as<MatMulAttrs>();
    if (attrs.alpha != 1 || rw.shape(node.inputs[w]).size() != 2 || rw.shape(node.outputs[0]).size() > 4) return {};
    axis = attrs.trans_b ? 0 : 1;
  }
  std::optional<Weights> weights = weights_of(rw, node.inputs[w], axis);
  Product p{conv, d->x, static_cast<float>(*d->scale), static_cast<int64_t>(*d->zero), {}, {}, none, none};
  if (!weights || !(std::isfinite(p.x_scale) && p.x_scale > 0)) return {};
  p.weights = std::move(*weights);
  for (float s : p.weights.scale) p.scale.push_back(p.x_scale * s);
  if (node.inputs.size() <= bias || node.inputs[bias] == none) return p;
  if (!rw.is_constant(node.inputs[bias])) return {};
  if (TensorPtr t = whole_bias(numbers(*rw.g.values[node.inputs[bias]].constant), p.scale))
    p.bias = rw.constant(std::move(t));
  else p.real_bias = node.inputs[bias];
  return p;
}

// What multiplies the sums: one number, an immediate of the epilogue's program, or a number per channel, an operand.
struct Scale {
  std::optional<double> one;
  std::vector<ValueId> operands;
};
Scale scale_of(Rewriter& rw, const std::vector<float>& list) {
  if (list.size() == 1) return {list[0], {}};
  auto t = make_tensor(DType::f32, {static_cast<int64_t>(list.size())});
  std::memcpy(writable(*t), list.data(), t->bytes());
  return {std::nullopt, {rw.constant(std::move(t))}};
}

ValueId emit(Rewriter& rw, const Node& like, const Product& p, const Epilogue& end,
             const std::vector<ValueId>& operands) {
  Attributes attrs = like.attrs;
  like.op->epilogue->of(attrs) = end;
  if (p.conv) attrs.as<ConvAttrs>().zero = p.zero;
  else attrs.as<MatMulAttrs>().zero = p.zero;
  std::vector<ValueId> inputs{p.x, rw.constant(p.weights.w), p.bias};
  inputs.resize(static_cast<size_t>(like.op->epilogue->first_operand), none);
  inputs.insert(inputs.end(), operands.begin(), operands.end());
  return rw.emit(*like.op, like.name, std::move(inputs), std::move(attrs));
}

// QuantizeLinear at the end.
bool end_in_bytes(Rewriter& rw, Node& node) {
  const std::optional<Quantize> q = as_quantize({rw.g, node});
  if (!q || !is_byte(rw.dtype(node.outputs[0])) || !q->zero) return false;
  const std::optional<float> scale = scalar_value(rw.g, q->scale_value);
  if (!scale || !(std::isfinite(*scale) && *scale > 0) || rw.shape(q->x) != rw.shape(node.outputs[0])) return false;
  const Node* before = rw.producer(q->x);
  if (!before || !rw.single(q->x)) return false;
  Requantize end;
  if (const MapInstr* activation = single_instr(before)) {
    if (activation->op != MapOp::relu && activation->op != MapOp::clip) return false;
    end.activation = *activation;
    const ValueId v = before->inputs[0];
    before = rw.producer(v);
    if (!before || !rw.single(v)) return false;
  }
  const Node matrix = *before;  // emitting may move it
  const std::optional<Product> p = product_of(rw, matrix);
  if (!p || p->real_bias != none) return false;
  std::vector<float> m = p->scale;
  for (float& x : m) x /= *scale;
  const Scale factor = scale_of(rw, m);
  end.scale = factor.one;
  if (end.activation.op == MapOp::clip) {
    end.activation.p0 = static_cast<float>(end.activation.p0) / *scale;
    end.activation.p1 = static_cast<float>(end.activation.p1) / *scale;
  }
  end.zero = *q->zero;
  end.lo = q->lo;
  end.hi = q->hi;
  const DType out = rw.dtype(node.outputs[0]);
  rw.replace(node, emit(rw, matrix, *p, {requantize_program(end), out}, factor.operands));
  return true;
}

bool end_in_floats(Rewriter& rw, Node& node) {
  const std::optional<Product> p = product_of(rw, node);
  if (!p) return false;
  Scale factor = scale_of(rw, p->scale);
  const bool add = p->real_bias != none;
  if (add) factor.operands.push_back(p->real_bias);
  MapProgram end;
  end.inputs = 1 + static_cast<int>(factor.operands.size());
  end.code.push_back(factor.one ? MapInstr{MapOp::mul_imm, 0, 0, 0, *factor.one} : MapInstr{MapOp::mul, 0, 1});
  const auto product = static_cast<uint8_t>(end.inputs);
  if (add) end.code.push_back({MapOp::add, product, static_cast<uint8_t>(product - 1)});
  rw.replace(node, emit(rw, node, *p, {std::move(end), DType::f32}, factor.operands));
  return true;
}

}  // namespace

Graph integer_products(Graph graph, CompileContext& context) {
  graph = rewrite_nodes(std::move(graph), context, end_in_bytes);
  return rewrite_nodes(std::move(graph), context, end_in_floats);
}

}  // namespace pando
