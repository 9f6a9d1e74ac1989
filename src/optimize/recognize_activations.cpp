#include "optimize/recognize_activations.hpp"

#include <cmath>
#include <numbers>

#include "optimize/expression.hpp"

namespace pando {
namespace {

struct Unary {
  ValueId x = none;
  MapInstr instr;
};

// The operand of a one-instruction map `op` that makes v.
ValueId operand_of(const Rewriter& rw, ValueId v, MapOp op) {
  const Node* node = rw.producer(v);
  const MapInstr* in = single_instr(node);
  return in && in->op == op ? node->inputs[in->a] : none;
}

// v = f(u) + 1, written as add_imm.
ValueId one_plus(const Rewriter& rw, ValueId v, MapOp f) {
  const Node* node = rw.producer(v);
  const MapInstr* in = single_instr(node);
  if (!in || in->op != MapOp::add_imm || in->p0 != 1) return none;
  return operand_of(rw, node->inputs[in->a], f);
}

// Exporters write constants with six digits and more.
constexpr double tolerance = 1e-5;
bool near(double a, double b) { return std::abs(a - b) <= tolerance * std::abs(b); }

// clip(u, lo, hi) of a line in x. It may be written with relu: min(relu(u), hi).
struct Ramp {
  ValueId u = none;
  float lo = 0, hi = 0;
};
Ramp ramp(const Rewriter& rw, ValueId v) {
  const Node* node = rw.producer(v);
  const MapInstr* in = single_instr(node);
  if (!in || in->op != MapOp::clip) return {};
  return {node->inputs[in->a], static_cast<float>(in->p0), static_cast<float>(in->p1)};
}

// factor * x * g: what follows from the other factor g.
std::optional<MapInstr> gated(const Rewriter& rw, ValueId x, ValueId g, double factor) {
  using std::numbers::sqrt2;
  if (near(factor, 0.5)) {
    ValueId u = one_plus(rw, g, MapOp::erf);
    if (auto p = u != none ? polynomial(rw, u, x) : std::nullopt; p && close(*p, {0, 1 / sqrt2, 0, 0}, tolerance))
      return MapInstr{MapOp::gelu_erf};
    double c = std::sqrt(2 * std::numbers::inv_pi);
    u = one_plus(rw, g, MapOp::tanh);
    if (auto p = u != none ? polynomial(rw, u, x) : std::nullopt; p && close(*p, {0, c, 0, 0.044715 * c}, tolerance))
      return MapInstr{MapOp::gelu_tanh};
  }
  if (Ramp r = ramp(rw, g); r.u != none && near(factor, 1.0 / 6) && r.lo == 0 && r.hi == 6)
    if (auto p = polynomial(rw, r.u, x); p && close(*p, {3, 1, 0, 0}, 1e-6)) return MapInstr{MapOp::hard_swish};
  const Node* node = rw.producer(g);
  const MapInstr* in = single_instr(node);
  if (in && factor == 1 && node->inputs[0] == x && in->op == MapOp::hard_sigmoid && near(in->p0, 1.0 / 6) &&
      in->p1 == 0.5f)
    return MapInstr{MapOp::hard_swish};
  if (ValueId u = operand_of(rw, g, MapOp::tanh); u != none && factor == 1)
    if (operand_of(rw, u, MapOp::softplus) == x) return MapInstr{MapOp::mish};
  return {};
}

std::optional<Unary> match_unary(const Rewriter& rw, const Node& node) {
  const MapInstr* in = single_instr(&node);
  if (!in || rw.dtype(node.outputs[0]) != DType::f32) return {};
  if (in->op == MapOp::clip && in->p0 == 0 && in->p1 == 1) {
    // clip(a x + b, 0, 1), with a and b as parameters of the maps before it
    ValueId u = node.inputs[in->a];
    const Node* add = rw.producer(u);
    const MapInstr* line = single_instr(add);
    if (!line) return {};
    ValueId x = add->inputs[line->a];
    if (ValueId y = operand_of(rw, x, MapOp::mul_imm); y != none && line->op == MapOp::add_imm) x = y;
    if (line->op != MapOp::add_imm && line->op != MapOp::affine) return {};
    if (auto p = polynomial(rw, u, x); p && (*p)[1] != 0 && rw.shape(x) == rw.shape(u))
      return Unary{x, {MapOp::hard_sigmoid, 0, 0, 0, static_cast<float>((*p)[1]), static_cast<float>((*p)[0])}};
  }
  if (in->op != MapOp::mul && in->op != MapOp::mul_imm && in->op != MapOp::div) return {};
  Product p = product(rw, node);
  if (p.factors.size() == 1 && near(p.factor, 1.0 / 6))
    if (Ramp r = ramp(rw, p.factors[0]); r.u != none && r.lo == 0 && r.hi == 6)
      if (ValueId x = operand_of(rw, r.u, MapOp::add_imm); x != none)
        if (auto q = polynomial(rw, r.u, x); q && close(*q, {3, 1, 0, 0}, 1e-6))
          return Unary{x, {MapOp::hard_sigmoid, 0, 0, 0, 1.0f / 6, 0.5f}};
  if (p.factors.size() != 2) return {};
  for (int i = 0; i < 2; i++) {
    ValueId x = p.factors[i];
    if (rw.shape(x) != rw.shape(node.outputs[0])) continue;
    if (auto instr = gated(rw, x, p.factors[1 - i], p.factor)) return Unary{x, *instr};
  }
  return {};
}

}  // namespace

Graph recognize_activations(Graph graph, CompileContext& context) {
  return rewrite_nodes(std::move(graph), context, [](Rewriter& rw, Node& node) {
    auto found = match_unary(rw, node);
    if (!found) return false;
    MapAttrs attrs;
    attrs.program = {{found->instr}, 1};
    rw.replace(node, rw.emit(map_op, node.name, {found->x}, std::move(attrs)));
    return true;
  });
}

}  // namespace pando
