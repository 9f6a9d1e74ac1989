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
  const std::optional<Dequantize> d = dequantized(rw, node.inputs[x]);
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

class Program {
 public:
  explicit Program(Rewriter& rw) : rw_(rw) { program_.inputs = 1; }
  // The element times one number, or one per channel, which becomes operand 1.
  void scale(const std::vector<float>& by) {
    if (by.size() == 1) return add(MapOp::mul_imm, by[0]);
    program_.inputs++;
    auto t = make_tensor(DType::f32, {static_cast<int64_t>(by.size())});
    std::memcpy(writable(*t), by.data(), t->bytes());
    operands_.push_back(rw_.constant(std::move(t)));
    program_.code.push_back({MapOp::mul, 0, 1});
  }
  // Call it last: registers of instructions follow those of operands.
  void add(ValueId operand) {
    for (MapInstr& in : program_.code)
      if (in.a >= program_.inputs) in.a++;
    program_.inputs++;
    operands_.push_back(operand);
    program_.code.push_back({MapOp::add, last(), static_cast<uint8_t>(program_.inputs - 1)});
  }
  void add(MapOp op, double p0 = 0, double p1 = 0) { program_.code.push_back({op, last(), 0, 0, p0, p1}); }
  const MapProgram& program() const { return program_; }
  const std::vector<ValueId>& operands() const { return operands_; }

 private:
  uint8_t last() const {
    return static_cast<uint8_t>(program_.code.empty() ? 0
                                                      : program_.inputs + static_cast<int>(program_.code.size()) - 1);
  }
  Rewriter& rw_;
  MapProgram program_;
  std::vector<ValueId> operands_;
};

ValueId emit(Rewriter& rw, const Node& like, const Product& p, const Program& end, DType out) {
  Attributes attrs = like.attrs;
  Epilogue& epilogue = like.op->epilogue->of(attrs);
  epilogue = {end.program(), out};
  if (p.conv) attrs.as<ConvAttrs>().zero = p.zero;
  else attrs.as<MatMulAttrs>().zero = p.zero;
  std::vector<ValueId> inputs{p.x, rw.constant(p.weights.w), p.bias};
  inputs.resize(static_cast<size_t>(like.op->epilogue->first_operand), none);
  inputs.insert(inputs.end(), end.operands().begin(), end.operands().end());
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
  const MapInstr* activation = single_instr(before);
  MapInstr clip;
  if (activation) {
    if (activation->op != MapOp::relu && activation->op != MapOp::clip) return false;
    clip = *activation;
    const ValueId v = before->inputs[0];
    before = rw.producer(v);
    if (!before || !rw.single(v)) return false;
  }
  const Node matrix = *before;  // emitting may move it
  const std::optional<Product> p = product_of(rw, matrix);
  if (!p || p->real_bias != none) return false;
  std::vector<float> m = p->scale;
  for (float& x : m) x /= *scale;
  Program end(rw);
  end.scale(m);
  if (clip.op == MapOp::relu) end.add(MapOp::relu);
  if (clip.op == MapOp::clip)
    end.add(MapOp::clip, static_cast<float>(clip.p0) / *scale, static_cast<float>(clip.p1) / *scale);
  end.add(MapOp::round);
  end.add(MapOp::add_imm, *q->zero);
  end.add(MapOp::clip, q->lo, q->hi);
  rw.replace(node, emit(rw, matrix, *p, end, rw.dtype(node.outputs[0])));
  return true;
}

bool end_in_floats(Rewriter& rw, Node& node) {
  const std::optional<Product> p = product_of(rw, node);
  if (!p) return false;
  Program end(rw);
  end.scale(p->scale);
  if (p->real_bias != none) end.add(p->real_bias);
  rw.replace(node, emit(rw, node, *p, end, DType::f32));
  return true;
}

}  // namespace

Graph integer_products(Graph graph, CompileContext& context) {
  graph = rewrite_nodes(std::move(graph), context, end_in_bytes);
  return rewrite_nodes(std::move(graph), context, end_in_floats);
}

}  // namespace pando
