#include "optimize/simplify_maps.hpp"

#include <cmath>
#include <limits>

#include "optimize/rewriter.hpp"

namespace pando {
namespace {

constexpr float inf = std::numeric_limits<float>::infinity();

bool power_of_two(float c) {
  int exponent;
  return std::isnormal(c) && std::isnormal(1 / c) && std::abs(std::frexp(c, &exponent)) == 0.5f;
}

std::optional<MapAttrs> power(float exponent) {
  // Not 0.5: a square root differs at -0 and -infinity.
  if (exponent == -1) return map_of(MapOp::reciprocal);
  MapAttrs attrs;
  attrs.program = {{{MapOp::mul, 0, 0}}, 1};
  if (exponent == 3) attrs.program.code.push_back({MapOp::mul, 1, 0});
  if (exponent == 2 || exponent == 3) return attrs;
  return {};
}

// x op c for a scalar constant c.
std::optional<MapAttrs> right_constant(MapOp op, float c) {
  switch (op) {
    case MapOp::add: return map_of(MapOp::add_imm, c);
    case MapOp::sub: return map_of(MapOp::add_imm, -c);
    case MapOp::mul: return map_of(MapOp::mul_imm, c);
    case MapOp::div: return power_of_two(c) ? std::optional(map_of(MapOp::mul_imm, 1 / c)) : std::nullopt;
    case MapOp::pow: return power(c);
    case MapOp::min: return std::isnan(c) ? std::nullopt : std::optional(map_of(MapOp::clip, -inf, c));
    case MapOp::max: return std::isnan(c) ? std::nullopt : std::optional(map_of(MapOp::clip, c, inf));
    case MapOp::prelu: return map_of(MapOp::leaky_relu, c);
    default: return {};
  }
}

// c op x.
std::optional<MapAttrs> left_constant(MapOp op, float c) {
  switch (op) {
    case MapOp::add:
    case MapOp::mul: return right_constant(op, c);
    // Of two zeros the first operand wins, which is the constant here and never in a clip.
    case MapOp::min:
    case MapOp::max: return c == 0 ? std::nullopt : right_constant(op, c);
    case MapOp::sub: return map_of(MapOp::affine, -1, c);
    case MapOp::div: return c == 1 ? std::optional(map_of(MapOp::reciprocal)) : std::nullopt;
    default: return {};
  }
}

// A clip of a clip, of bounds that leave an interval, is one clip; so is a clip of relu.
std::optional<MapAttrs> join_clips(const MapInstr& first, const MapInstr& second) {
  double lo = first.op == MapOp::relu ? 0 : first.p0, hi = first.op == MapOp::relu ? inf : first.p1;
  bool clip = first.op == MapOp::clip || first.op == MapOp::relu;
  // Written so that a bound that is NaN joins nothing.
  if (!clip || second.op != MapOp::clip || !(lo <= hi && second.p0 <= hi && second.p1 >= lo)) return {};
  return map_of(MapOp::clip, std::max(lo, second.p0), std::min(hi, second.p1));
}

bool simplify_map(Rewriter& rw, Node& node) {
  const MapInstr* found = single_instr(&node);
  if (!found) return false;
  MapInstr in = *found;
  ValueId out = node.outputs[0], x = node.inputs[in.a];
  if (rw.dtype(out) != DType::f32 || rw.dtype(x) != DType::f32) return false;
  auto become = [&](ValueId operand, MapAttrs attrs) {
    const Node* before = rw.producer(operand);
    const MapInstr* first = single_instr(before);
    if (first && attrs.program.code.size() == 1 && rw.dtype(before->inputs[0]) == DType::f32)
      if (auto joined = join_clips(*first, attrs.program.code[0])) {
        operand = before->inputs[0];
        attrs = *joined;
      }
    rw.replace(node, rw.emit(map_op, node.name, {operand}, std::move(attrs)));
    return true;
  };
  auto whole = [&](ValueId v) { return rw.shape(v) == rw.shape(out); };
  if (in.op == MapOp::clip3) {
    auto lo = scalar_value(rw.g, node.inputs[in.b]), hi = scalar_value(rw.g, node.inputs[in.c]);
    return lo && hi && whole(x) && become(x, map_of(MapOp::clip, *lo, *hi));
  }
  if (in.op == MapOp::clip && single_instr(rw.producer(x))) return become(x, map_of(in.op, in.p0, in.p1));
  if (operand_count(in.op) != 2) return false;
  ValueId y = node.inputs[in.b];
  if (auto c = scalar_value(rw.g, y); c && whole(x))
    if (auto attrs = right_constant(in.op, *c)) return become(x, *attrs);
  if (auto c = scalar_value(rw.g, x); c && whole(y))
    if (auto attrs = left_constant(in.op, *c)) return become(y, *attrs);
  // A product of one value with itself: one operand.
  if (x == y && node.inputs.size() == 2) {
    MapAttrs attrs;
    attrs.program = {{{in.op, 0, 0}}, 1};
    return become(x, attrs);
  }
  return false;
}

}  // namespace

Graph simplify_maps(Graph graph, CompileContext& context) {
  return rewrite_nodes(std::move(graph), context, simplify_map);
}

}  // namespace pando
