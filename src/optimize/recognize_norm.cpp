#include "optimize/recognize_norm.hpp"

#include "optimize/rewriter.hpp"

namespace pando {
namespace {

const MapInstr* instr(const Rewriter& rw, ValueId v, const Node*& node) {
  node = rw.producer(v);
  return single_instr(node);
}

// v = mean(x) over trailing dimensions: x and the first of them.
struct Mean {
  ValueId x = none;
  int64_t axis = 0;
};
Mean trailing_mean(const Rewriter& rw, ValueId v) {
  const Node* node = rw.producer(v, reduce_op);
  if (!node || node->as<ReduceAttrs>().kind != ReduceKind::mean) return {};
  const auto& axes = node->as<ReduceAttrs>().axes;
  int64_t rank = static_cast<int64_t>(rw.shape(v).size());
  for (size_t i = 0; i < axes.size(); i++)
    if (axes[i] != rank - static_cast<int64_t>(axes.size() - i)) return {};
  return axes.empty() ? Mean{} : Mean{node->inputs[0], axes[0]};
}

// v = d * d: the product of a value with itself, or its square through pow.
ValueId squared(const Rewriter& rw, ValueId v) {
  const Node* node;
  const MapInstr* in = instr(rw, v, node);
  if (!in || in->op != MapOp::mul || node->inputs[in->a] != node->inputs[in->b]) return none;
  return node->inputs[in->a];
}

// v = x - mean(x)
Mean centred(const Rewriter& rw, ValueId v) {
  const Node* node;
  const MapInstr* in = instr(rw, v, node);
  if (!in || in->op != MapOp::sub) return {};
  Mean m = trailing_mean(rw, node->inputs[in->b]);
  return m.x == node->inputs[in->a] ? m : Mean{};
}

// r = sqrt(mean(d^2) + epsilon) when `inverse` is false; else its reciprocal.
struct Deviation {
  ValueId d = none;
  int64_t axis = 0;
  float epsilon = 0;
};
Deviation deviation(const Rewriter& rw, ValueId v, bool inverse) {
  const Node* node;
  const MapInstr* in = instr(rw, v, node);
  if (!in) return {};
  if (inverse && in->op == MapOp::reciprocal) return deviation(rw, node->inputs[0], false);
  // Of what is never negative, power 0.5 is the root.
  auto exponent = !inverse && in->op == MapOp::pow ? scalar_value(rw.g, node->inputs[in->b]) : std::nullopt;
  if (in->op != (inverse ? MapOp::rsqrt : MapOp::sqrt) && exponent != 0.5f) return {};
  ValueId variance = node->inputs[in->a];
  float epsilon = 0;
  if (in = instr(rw, variance, node); in && in->op == MapOp::add_imm) {
    epsilon = static_cast<float>(in->p0);
    variance = node->inputs[0];
  }
  Mean m = trailing_mean(rw, variance);
  ValueId d = m.x == none ? none : squared(rw, m.x);
  return d == none ? Deviation{} : Deviation{d, m.axis, epsilon};
}

bool match_core(Rewriter& rw, Node& node) {
  const MapInstr* in = single_instr(&node);
  if (!in || (in->op != MapOp::div && in->op != MapOp::mul)) return false;
  ValueId a = node.inputs[in->a], b = node.inputs[in->b];
  Deviation dev = deviation(rw, b, in->op == MapOp::mul);
  if (dev.d == none && in->op == MapOp::mul) std::swap(a, b), dev = deviation(rw, b, true);
  if (dev.d == none || dev.d != a || rw.dtype(a) != DType::f32) return false;
  Mean centre = centred(rw, a);
  bool rms = centre.x == none || centre.axis != dev.axis;
  ValueId x = rms ? a : centre.x;
  rw.replace(node, rw.emit(norm_op, node.name, {x}, NormAttrs{dev.axis, dev.epsilon, rms}));
  return true;
}

// The constant as a tensor over the normalized dimensions, when it has just their shape.
TensorPtr over_normalized(const Rewriter& rw, ValueId v, const Shape& shape, int64_t axis) {
  if (!rw.is_constant(v) || rw.dtype(v) != DType::f32) return nullptr;
  Shape want(shape.begin() + axis, shape.end()), have = rw.shape(v);
  while (have.size() > want.size() && have.front() == 1) have.erase(have.begin());
  return have == want ? reshaped(rw.g.values[v].constant, want) : nullptr;
}

// norm * scale, norm + bias with constants: the operator's own operands.
bool match_scale_bias(Rewriter& rw, Node& node) {
  const MapInstr* in = single_instr(&node);
  if (!in || (in->op != MapOp::mul && in->op != MapOp::add)) return false;
  for (int side = 0; side < 2; side++) {
    ValueId n = node.inputs[side ? in->b : in->a], c = node.inputs[side ? in->a : in->b];
    const Node* norm = rw.producer(n, norm_op);
    if (!norm || !rw.single(n) || rw.shape(n) != rw.shape(node.outputs[0])) continue;
    std::vector<ValueId> inputs = norm->inputs;
    inputs.resize(3, none);
    bool scale = in->op == MapOp::mul;
    if (inputs[2] != none || (scale && inputs[1] != none)) continue;
    TensorPtr t = over_normalized(rw, c, rw.shape(n), norm->as<NormAttrs>().axis);
    if (!t) continue;
    inputs[scale ? 1 : 2] = rw.constant(t);
    rw.replace(node, rw.emit(norm_op, norm->name, inputs, norm->attrs));
    return true;
  }
  return false;
}

}  // namespace

Graph recognize_norm(Graph graph, CompileContext& context) {
  return rewrite_nodes(std::move(graph), context, [](Rewriter& rw, Node& node) {
    if (node.op != &map_op || rw.dtype(node.outputs[0]) != DType::f32) return false;
    return match_core(rw, node) || match_scale_bias(rw, node);
  });
}

}  // namespace pando
