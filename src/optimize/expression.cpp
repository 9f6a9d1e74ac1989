#include "optimize/expression.hpp"

#include <cmath>

namespace pando {
namespace {

std::optional<Polynomial> times(const Polynomial& a, const Polynomial& b) {
  Polynomial r{};
  for (int i = 0; i < 4; i++)
    for (int j = 0; j < 4; j++)
      if (double c = a[i] * b[j]; c != 0) {
        if (i + j > 3) return {};
        r[i + j] += c;
      }
  return r;
}

Polynomial affine(Polynomial a, double factor, double addend) {
  for (double& c : a) c *= factor;
  a[0] += addend;
  return a;
}

std::optional<Polynomial> apply(const MapInstr& in, const std::optional<Polynomial>& a,
                                const std::optional<Polynomial>& b) {
  if (!a || (operand_count(in.op) > 1 && !b)) return {};
  switch (in.op) {
    case MapOp::copy: return a;
    case MapOp::neg: return affine(*a, -1, 0);
    case MapOp::add_imm: return affine(*a, 1, in.p0);
    case MapOp::mul_imm: return affine(*a, in.p0, 0);
    case MapOp::affine: return affine(*a, in.p0, in.p1);
    case MapOp::mul: return times(*a, *b);
    case MapOp::add:
    case MapOp::sub: {
      Polynomial r = *a;
      for (int i = 0; i < 4; i++) r[i] += in.op == MapOp::add ? (*b)[i] : -(*b)[i];
      return r;
    }
    case MapOp::div:
      if ((*b)[1] != 0 || (*b)[2] != 0 || (*b)[3] != 0 || (*b)[0] == 0) return {};
      return affine(*a, 1 / (*b)[0], 0);
    default: return {};
  }
}

void open(const Rewriter& rw, const Node& node, int depth, Product& result);

void open(const Rewriter& rw, ValueId v, int depth, Product& result) {
  if (auto c = scalar_value(rw.g, v)) {
    result.factor *= *c;
    return;
  }
  const Node* node = rw.producer(v, map_op);
  if (node && depth > 0 && rw.dtype(v) == DType::f32) open(rw, *node, depth, result);
  else result.factors.push_back(v);
}

void open(const Rewriter& rw, const Node& node, int depth, Product& result) {
  const MapInstr* in = single_instr(&node);
  ValueId a = in ? node.inputs[in->a] : none;
  if (in && in->op == MapOp::mul_imm) {
    result.factor *= in->p0;
    open(rw, a, depth - 1, result);
  } else if (in && in->op == MapOp::mul) {
    open(rw, a, depth - 1, result);
    open(rw, node.inputs[in->b], depth - 1, result);
  } else if (auto c = in && in->op == MapOp::div ? scalar_value(rw.g, node.inputs[in->b]) : std::nullopt;
             c && *c != 0) {
    result.factor /= *c;
    open(rw, a, depth - 1, result);
  } else {
    result.factors.push_back(node.outputs[0]);
  }
}

}  // namespace

std::optional<Polynomial> polynomial(const Rewriter& rw, ValueId v, ValueId x, int depth) {
  if (v == x) return Polynomial{0, 1, 0, 0};
  if (auto c = scalar_value(rw.g, v)) return Polynomial{*c, 0, 0, 0};
  const Node* node = rw.producer(v, map_op);
  if (!node || depth == 0 || rw.dtype(v) != DType::f32) return {};
  for (ValueId operand : node->inputs)
    if (rw.dtype(operand) != DType::f32) return {};
  std::vector<std::optional<Polynomial>> registers;
  for (ValueId operand : node->inputs) registers.push_back(polynomial(rw, operand, x, depth - 1));
  for (const MapInstr& in : node->as<MapAttrs>().program.code) {
    auto value = apply(in, registers[in.a], registers[in.b]);
    if (!value) return {};
    registers.push_back(value);
  }
  return registers.back();
}

bool close(const Polynomial& a, const Polynomial& b, double relative) {
  for (int i = 0; i < 4; i++)
    if (std::abs(a[i] - b[i]) > relative * std::abs(b[i])) return false;
  return true;
}

Product product(const Rewriter& rw, const Node& node) {
  Product result;
  open(rw, node, 6, result);
  return result;
}

Product product(const Rewriter& rw, ValueId v) {
  Product result;
  open(rw, v, 6, result);
  return result;
}

}  // namespace pando
