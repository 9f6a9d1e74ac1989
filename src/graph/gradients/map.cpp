// The derivative of every instruction of map programs.
#include <numbers>

#include "graph/backward.hpp"

namespace pando {
namespace {

using enum MapOp;

// One instruction: operands a, b, c, result y, gradient g of it; gives the operands' gradients.
struct Instruction {
  Backward& to;
  const MapInstr& in;
  ValueId a, b, c, y, g;
  ValueId result[3] = {none, none, none};

  bool derive() { return unary() || binary() || ternary(); }

 private:
  void gives(ValueId da, ValueId db = none, ValueId dc = none) { result[0] = da, result[1] = db, result[2] = dc; }
  // g * factor
  bool scaled(ValueId factor) { return gives(to.times(g, factor)), true; }
  bool divided(ValueId divisor) { return gives(to.over(g, divisor)), true; }
  ValueId complement(ValueId v) { return to.plus(to.minus(v), 1); }  // 1 - v
  ValueId compare(MapOp op, ValueId v, double x) { return to.map(op, {v, to.number(x)}); }
  ValueId either(ValueId condition, ValueId yes, ValueId no) { return to.map(MapOp::where, {condition, yes, no}); }
  ValueId both(ValueId p, ValueId q) { return to.map(logical_and, {p, q}); }
  bool kept(ValueId condition) { return gives(to.where(condition, g)), true; }

  bool unary() {
    const double p0 = in.p0, p1 = in.p1;
    switch (in.op) {
      case neg: return gives(to.minus(g)), true;
      case MapOp::abs: return scaled(to.map(sign, {a}));
      case sign:
      case MapOp::floor:
      case MapOp::ceil:
      case MapOp::round:
      case MapOp::trunc: return true;  // 0 wherever there is one
      case copy:
      case add_imm: return gives(g), true;
      case mul_imm:
      case affine: return gives(to.times(g, p0)), true;
      case relu: return kept(compare(greater, a, 0));
      case leaky_relu: return gives(either(compare(less, a, 0), to.times(g, p0), g)), true;
      case elu: return gives(either(compare(less, a, 0), to.times(g, to.plus(y, p0)), g)), true;
      case selu: {
        const ValueId below = to.times(g, to.plus(y, p0 * p1));
        return gives(either(compare(less, a, 0), below, to.times(g, p1))), true;
      }
      case celu: {
        const ValueId below = to.times(g, to.plus(to.times(y, 1 / p0), 1));
        return gives(either(compare(less, a, 0), below, g)), true;
      }
      case clip: return kept(both(compare(greater_equal, a, p0), compare(less_equal, a, p1)));
      case thresholded_relu: return kept(compare(greater, a, p0));
      case shrink: return kept(to.map(logical_or, {compare(less, a, -p1), compare(greater, a, p1)}));
      case hard_sigmoid: {
        const ValueId inside = both(compare(greater, y, 0), compare(less, y, 1));
        return gives(to.where(inside, to.times(g, p0))), true;
      }
      case hard_swish: {
        const ValueId curve = to.plus(to.times(a, 1.0 / 3), 0.5);
        const ValueId factor = either(compare(greater, a, 3), to.number(1), to.where(compare(greater, a, -3), curve));
        return scaled(factor);
      }
      default: return smooth();
    }
  }

  bool smooth() {
    constexpr double pi = std::numbers::pi;
    const auto m = [&](MapOp op, ValueId v) { return to.map(op, {v}); };
    switch (in.op) {
      case MapOp::sqrt: return divided(to.times(y, 2));
      case rsqrt: return scaled(to.times(to.times(y, to.square(y)), -0.5));
      case reciprocal: return scaled(to.minus(to.square(y)));
      case MapOp::exp: return scaled(y);
      case MapOp::log: return divided(a);
      case MapOp::erf: return scaled(to.times(m(MapOp::exp, to.minus(to.square(a))), 2 / std::sqrt(pi)));
      case MapOp::tanh:
      case tanh_exact: return scaled(complement(to.square(y)));
      case sigmoid: return scaled(to.times(y, complement(y)));
      case softplus: return scaled(m(sigmoid, a));
      case softsign: return divided(to.square(to.plus(m(MapOp::abs, a), 1)));
      case MapOp::sin: return scaled(m(MapOp::cos, a));
      case MapOp::cos: return scaled(to.minus(m(MapOp::sin, a)));
      case MapOp::tan: return scaled(to.plus(to.square(y), 1));
      case MapOp::asin: return divided(m(MapOp::sqrt, complement(to.square(a))));
      case MapOp::acos: return divided(to.minus(m(MapOp::sqrt, complement(to.square(a)))));
      case MapOp::atan: return divided(to.plus(to.square(a), 1));
      case MapOp::sinh: return scaled(m(MapOp::cosh, a));
      case MapOp::cosh: return scaled(m(MapOp::sinh, a));
      case MapOp::asinh: return divided(m(MapOp::sqrt, to.plus(to.square(a), 1)));
      case MapOp::acosh: return divided(m(MapOp::sqrt, to.plus(to.square(a), -1)));
      case MapOp::atanh: return divided(complement(to.square(a)));
      case gelu_erf: {
        const ValueId cdf = to.times(to.plus(m(MapOp::erf, to.times(a, std::numbers::sqrt2 / 2)), 1), 0.5);
        const ValueId density = to.times(m(MapOp::exp, to.times(to.square(a), -0.5)), 1 / std::sqrt(2 * pi));
        return scaled(to.plus(cdf, to.times(a, density)));
      }
      case gelu_tanh: {
        const double k = std::sqrt(2 / pi), cubic = 0.044715;
        const ValueId a2 = to.square(a);
        const ValueId t = m(MapOp::tanh, to.times(to.times(a, to.plus(to.times(a2, cubic), 1)), k));
        const ValueId slope = to.times(to.plus(to.times(a2, 3 * cubic), 1), k);
        const ValueId curve = to.times(to.times(a, complement(to.square(t))), slope);
        return scaled(to.times(to.plus(to.plus(t, 1), curve), 0.5));
      }
      case mish: {
        const ValueId t = m(MapOp::tanh, m(softplus, a));
        return scaled(to.plus(t, to.times(to.times(a, complement(to.square(t))), m(sigmoid, a))));
      }
      default: return false;
    }
  }

  // Of equals each has half.
  ValueId of_extreme(ValueId mine, ValueId other) {
    const ValueId more = to.map(in.op == MapOp::max ? greater : less, {mine, other});
    const ValueId half = to.where(to.map(equal, {mine, other}), to.times(g, 0.5));
    return either(more, g, half);
  }

  bool binary() {
    switch (in.op) {
      case MapOp::add: return gives(g, g), true;
      case sub: return gives(g, to.minus(g)), true;
      case mul: return gives(to.times(g, b), to.times(g, a)), true;
      case MapOp::div: return gives(to.over(g, b), to.minus(to.over(to.times(g, y), b))), true;
      case MapOp::pow: {
        const ValueId da = to.times(to.times(g, b), to.map(MapOp::pow, {a, to.plus(b, -1)}));
        const ValueId db = to.times(to.times(g, y), to.map(MapOp::log, {a}));
        return gives(da, to.where(compare(greater, a, 0), db)), true;
      }
      case MapOp::min:
      case MapOp::max: return gives(of_extreme(a, b), of_extreme(b, a)), true;
      case mod: return gives(g, to.minus(to.times(g, to.map(MapOp::floor, {to.over(a, b)})))), true;
      case MapOp::fmod: return gives(g, to.minus(to.times(g, to.map(MapOp::trunc, {to.over(a, b)})))), true;
      case prelu: {
        const ValueId negative = compare(less, a, 0);
        return gives(either(negative, to.times(g, b), g), to.where(negative, to.times(g, a))), true;
      }
      default: return info_of(in.op).gives_boolean;
    }
  }

  bool ternary() {
    switch (in.op) {
      case MapOp::where: return gives(none, to.where(a, g), to.map(MapOp::where, {a, to.number(0), g})), true;
      case clip3: {  // the upper bound wins over the lower one
        const ValueId above = to.map(greater, {to.map(MapOp::max, {a, b}), c});
        const ValueId below = both(to.map(less, {a, b}), to.map(less_equal, {b, c}));
        const ValueId inside = both(to.map(greater_equal, {a, b}), to.map(less_equal, {a, c}));
        return gives(to.where(inside, g), to.where(below, g), to.where(above, g)), true;
      }
      case fma_mul_add: return gives(to.times(g, b), to.times(g, a), g), true;
      default: return false;
    }
  }
};

}  // namespace

// The instructions again, each as an operator, then backwards through them.
void map_gradient(Backward& to) {
  const MapProgram program = to.as<MapAttrs>().program;
  const DType type = to.view().graph.values[to.dy()].dtype;
  std::vector<ValueId> value;
  value.reserve(static_cast<size_t>(program.inputs) + program.code.size());
  for (int i = 0; i < program.inputs; i++) value.push_back(to.x(i));
  const auto dtype = [&](ValueId v) { return to.view().graph.values[v].dtype; };
  const bool one = program.code.size() == 1;
  // Programs of several instructions compute everything in float32.
  const auto operand = [&](const MapInstr& in, int i, uint8_t r) {
    if (one) return value[r];
    const bool truth = info_of(in.op).types == MapTypes::booleans || (in.op == MapOp::where && i == 0);
    return to.cast(value[r], truth ? DType::boolean : type);
  };
  std::vector<std::array<ValueId, 3>> operands;
  for (const MapInstr& in : program.code) {
    const ValueId a = operand(in, 0, in.a), b = operand(in, 1, in.b), c = operand(in, 2, in.c);
    operands.push_back({a, b, c});
    if (operands.size() == program.code.size()) {
      value.push_back(to.y());
    } else {
      const int count = operand_count(in.op);
      value.push_back(count == 1   ? to.map(in.op, {a}, in.p0, in.p1)
                      : count == 2 ? to.map(in.op, {a, b}, in.p0, in.p1)
                                   : to.map(in.op, {a, b, c}, in.p0, in.p1));
    }
  }
  std::vector<ValueId> gradient(value.size(), none);
  gradient.back() = to.dy();
  for (size_t i = program.code.size(); i-- > 0;) {
    const MapInstr& in = program.code[i];
    const ValueId g = gradient[static_cast<size_t>(program.inputs) + i];
    if (g == none) continue;
    if (in.op == MapOp::cast) {
      if (is_float(dtype(operands[i][0]))) {
        const uint8_t r = in.a;
        const ValueId part = to.cast(g, dtype(operands[i][0]));
        gradient[r] = gradient[r] == none ? part : to.plus(gradient[r], part);
      }
      continue;
    }
    Instruction at{
        to, in, operands[i][0], operands[i][1], operands[i][2], value[static_cast<size_t>(program.inputs) + i], g};
    if (!at.derive()) to.none_because(fmt::format("the derivative of {} is not known", name_of(in.op)));
    const uint8_t registers[] = {in.a, in.b, in.c};
    for (int k = 0; k < operand_count(in.op); k++) {
      ValueId& sum = gradient[registers[k]];
      if (at.result[k] != none && is_float(dtype(value[registers[k]])))
        sum = sum == none ? at.result[k] : to.plus(sum, at.result[k]);
    }
  }
  for (int i = 0; i < program.inputs; i++) to.give(i, gradient[i]);
}

}  // namespace pando
