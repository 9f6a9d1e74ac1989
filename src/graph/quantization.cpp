#include "graph/quantization.hpp"

#include <algorithm>
#include <cmath>

namespace pando {
namespace {

bool is_narrow(DType t) { return t == DType::u8 || t == DType::i8 || t == DType::u16 || t == DType::i16; }

MapInstr instr(MapOp op, int a, int b = 0, double p0 = 0, double p1 = 0) {
  return {op, static_cast<uint8_t>(a), static_cast<uint8_t>(b), 0, p0, p1};
}

}  // namespace

MapAttrs dequantize_program(std::optional<double> offset, std::optional<double> factor) {
  MapAttrs attrs;
  MapProgram& p = attrs.program;
  const int scale = 1, zero = factor ? 1 : 2;
  p.inputs = 1 + !factor + !offset;
  p.code.push_back(offset ? instr(MapOp::add_imm, 0, 0, *offset) : instr(MapOp::sub, 0, zero));
  p.code.push_back(factor ? instr(MapOp::mul_imm, p.inputs, 0, *factor) : instr(MapOp::mul, p.inputs, scale));
  return attrs;
}

MapAttrs quantize_program(DType type, double lo, double hi, std::optional<double> offset) {
  MapAttrs attrs;
  attrs.out = type;
  MapProgram& p = attrs.program;
  p.inputs = 2 + !offset;
  p.code = {instr(MapOp::div, 0, 1), instr(MapOp::round, p.inputs),
            offset ? instr(MapOp::add_imm, p.inputs + 1, 0, *offset) : instr(MapOp::add, p.inputs + 1, 2),
            instr(MapOp::clip, p.inputs + 2, 0, lo, hi)};
  return attrs;
}

std::optional<Dequantize> as_dequantize(const NodeView& node) {
  if (node.node.op != &map_op || !is_narrow(node.in(0).dtype) || node.out().dtype != DType::f32) return {};
  const auto& attrs = node.as<MapAttrs>();
  const std::vector<MapInstr>& code = attrs.program.code;
  if (code.size() != 2) return {};
  Dequantize d;
  d.x = node.node.inputs[0];
  std::optional<double> offset;
  if (code[0].op == MapOp::add_imm) offset = code[0].p0;
  if (code[1].op == MapOp::mul_imm) d.scale = code[1].p0;
  if (!(Attributes(attrs) == Attributes(dequantize_program(offset, d.scale)))) return {};
  int next = 1;
  if (!d.scale) d.scale_value = node.node.inputs[next++];
  if (offset) d.zero = -*offset + 0.0;
  else d.zero_value = node.node.inputs[next];
  return d;
}

TensorPtr without_zero(const TensorPtr& weights, std::span<const float> zero, size_t axis) {
  const bool is_signed = weights->dtype == DType::i8;
  if (!std::all_of(zero.begin(), zero.end(), [](float z) { return z >= -128 && z <= 255 && z == std::trunc(z); }))
    return nullptr;
  if (is_signed && std::all_of(zero.begin(), zero.end(), [](float z) { return z == 0; })) return weights;
  const Shape& shape = weights->shape;
  auto to = make_tensor(DType::i8, shape);
  const int64_t inner = element_count(std::span(shape).subspan(axis + 1)), channels = shape[axis];
  for (int64_t i = 0, n = element_count(shape); i < n; i++) {
    const auto z = static_cast<int>(zero[zero.size() == 1 ? 0 : static_cast<size_t>(i / inner % channels)]);
    const auto byte = static_cast<uint8_t>(weights->data[i]);
    const int value = (is_signed ? static_cast<int8_t>(byte) : byte) - z;
    if (value < -128 || value > 127) return nullptr;
    writable(*to)[i] = static_cast<std::byte>(value);
  }
  return to;
}

bool dequantizes_weights(const NodeView& node) {
  return node.inputs() > 0 && node.has(0) && node.in(0).constant && node.in_shape(0).size() >= 2 && as_dequantize(node);
}

std::optional<Quantize> as_quantize(const NodeView& node) {
  if (node.node.op != &map_op || node.inputs() < 2 || !is_narrow(node.out().dtype)) return {};
  const auto& attrs = node.as<MapAttrs>();
  const std::vector<MapInstr>& code = attrs.program.code;
  if (code.size() != 4 || code[3].op != MapOp::clip) return {};
  Quantize q;
  q.x = node.node.inputs[0];
  q.scale_value = node.node.inputs[1];
  q.lo = code[3].p0;
  q.hi = code[3].p1;
  if (code[2].op == MapOp::add_imm) q.zero = code[2].p0;
  if (!(Attributes(attrs) == Attributes(quantize_program(attrs.out, q.lo, q.hi, q.zero)))) return {};
  if (!q.zero) q.zero_value = node.node.inputs[2];
  else q.zero = *q.zero + 0.0;
  return q;
}

MapProgram requantize_program(const Requantize& r) {
  MapProgram p;
  p.inputs = r.scale ? 1 : 2;
  p.code.push_back(r.scale ? instr(MapOp::mul_imm, 0, 0, *r.scale) : instr(MapOp::mul, 0, 1));
  const auto then = [&](MapOp op, double p0 = 0, double p1 = 0) {
    p.code.push_back(instr(op, p.inputs + static_cast<int>(p.code.size()) - 1, 0, p0, p1));
  };
  if (r.activation.op != MapOp::copy) then(r.activation.op, r.activation.p0, r.activation.p1);
  then(MapOp::round);
  then(MapOp::add_imm, r.zero);
  then(MapOp::clip, r.lo, r.hi);
  return p;
}

std::optional<Requantize> as_requantize(const MapProgram& program) {
  const std::vector<MapInstr>& code = program.code;
  if (code.size() < 4 || code.size() > 5) return {};
  Requantize r;
  if (code[0].op == MapOp::mul_imm) r.scale = code[0].p0;
  if (code.size() == 5) r.activation = code[1];
  if (code.size() == 5 && r.activation.op != MapOp::relu && r.activation.op != MapOp::clip) return {};
  r.zero = code[code.size() - 2].p0;
  r.lo = code.back().p0;
  r.hi = code.back().p1;
  return Attributes(requantize_program(r)) == Attributes(program) ? std::optional(r) : std::nullopt;
}

namespace {

// The first of the two terms in program order is operand `first`; `turned`: the sum names the second one first.
MapProgram sum_program(const QuantizedSum& s, int first, bool turned) {
  MapProgram p;
  p.inputs = 3;
  const auto last = [&] { return p.inputs + static_cast<int>(p.code.size()) - 1; };
  int term[2];
  for (int i : {first, 1 - first}) {
    p.code.push_back(instr(MapOp::add_imm, i, 0, s.operand[i].offset));
    p.code.push_back(instr(MapOp::mul_imm, last(), 0, s.operand[i].scale));
    term[i == first ? 0 : 1] = last();
  }
  p.code.push_back(instr(MapOp::add, term[turned ? 1 : 0], term[turned ? 0 : 1]));
  const MapOp op = s.activation.op;
  if (op != MapOp::copy) p.code.push_back(instr(op, last(), 0, s.activation.p0, s.activation.p1));
  p.code.push_back(instr(MapOp::div, last(), 2));
  p.code.push_back(instr(MapOp::round, last()));
  p.code.push_back(instr(MapOp::add_imm, last(), 0, s.zero));
  p.code.push_back(instr(MapOp::clip, last(), 0, s.lo, s.hi));
  return p;
}

}  // namespace

std::optional<QuantizedSum> as_quantized_sum(const MapProgram& program) {
  const std::vector<MapInstr>& code = program.code;
  const size_t n = code.size();
  if (program.inputs != 3 || n < 9 || n > 10 || code[0].a > 1) return {};
  QuantizedSum s;
  const int first = code[0].a;
  s.operand[first] = {code[0].p0, code[1].p0};
  s.operand[1 - first] = {code[2].p0, code[3].p0};
  if (n == 10) s.activation = code[5];
  if (n == 10 && s.activation.op != MapOp::relu && s.activation.op != MapOp::clip) return {};
  s.zero = code[n - 2].p0, s.lo = code[n - 1].p0, s.hi = code[n - 1].p1;
  for (bool turned : {false, true})
    if (Attributes(MapAttrs{sum_program(s, first, turned), DType::u8}) == Attributes(MapAttrs{program, DType::u8}))
      return s;
  return {};
}

}  // namespace pando
