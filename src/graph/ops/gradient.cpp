// gradient: derivatives of any operator with respect to one operand. Its rules are the operator's rules turned around:
// the interval of the domain that touches an interval of the operand is affine in its corners too.
#include "graph/ops/common.hpp"

namespace pando {
namespace {

// The differentiated operator, rebuilt from the gradient's operands.
struct Forward {
  Node node;
  NodeView view;
  explicit Forward(const NodeView& g) : view{g.graph, node} {
    const auto& a = g.as<GradientAttrs>();
    node.op = a.op;
    node.attrs = a.attrs;
    node.inputs.assign(g.node.inputs.begin(), g.node.inputs.begin() + a.inputs);
    node.outputs.assign(g.node.inputs.begin() + a.inputs, g.node.inputs.begin() + a.inputs + a.outputs);
  }
  Forward(const Forward&) = delete;
};

// The gradient's domain and, per dimension of the operator's domain, its interval as a rule on the gradient's domain.
struct Turned {
  Domain domain;
  std::array<int8_t, max_rank> forward{};
  std::array<AxisRule, max_rank> pull{};
};

// The o whose interval [floor((o*num+lo)/den), floor((o*num+hi)/den)] meets an interval of dimension `dim`.
AxisRule inverse(const AxisRule& r, int dim, int64_t extent) {
  if (r.num <= 0) return axis_fixed(0, extent);
  AxisRule out = axis_same(dim);
  out.num = r.den;
  out.den = r.num;
  out.lo = r.num - 1 - r.hi;
  out.hi = r.from_zero ? extent * r.num : r.den - 1 - r.lo;
  return out;
}

// `outer` after `inner`: a cover, exact where one of them has no division.
AxisRule compose(const AxisRule& outer, const AxisRule& inner, int64_t extent) {
  if (outer.dim < 0) return outer;
  if (outer.num < 0 || inner.dim < 0) return axis_fixed(0, extent);
  AxisRule r = inner;
  r.from_zero = outer.from_zero || inner.from_zero;
  r.num = inner.num * outer.num;
  r.den = inner.den * outer.den;
  r.lo = (inner.lo - (inner.den - 1)) * outer.num + outer.lo * inner.den;
  r.hi = inner.hi * outer.num + outer.hi * inner.den;
  return r;
}

Turned turn(const NodeView& g, const Forward& f) {
  Turned t;
  t.forward.fill(-1);
  int wrt = g.as<GradientAttrs>().wrt;
  const Shape& shape = g.in_shape(wrt);
  Domain d = f.node.op->domain(f.view);
  Access rule = f.node.op->reads(f.view, wrt);
  for (int i = 0; i < d.rank; i++) t.pull[i] = axis_fixed(0, d[i].extent);
  std::array<bool, max_rank> used{};
  for (int j = 0; j < static_cast<int>(shape.size()); j++) {
    int i = rule.kind == Access::Kind::axes ? rule.axis[j].dim : -1;
    if (i < 0 || used[i]) {
      t.domain.add("tap", shape[j], Tag::whole);
      continue;
    }
    used[i] = true;
    Tag tag = d[i].tag == Tag::reduction ? Tag::parameter : d[i].tag;
    t.domain.add(d[i].name, shape[j], tag);
    t.forward[j] = static_cast<int8_t>(i);
    t.pull[i] = inverse(rule.axis[j], j, d[i].extent);
  }
  // What does not address the operand is summed over (what the operator itself sums is not in the output's gradient).
  // Dimensions beyond the largest rank stay whole.
  for (int i = 0; i < d.rank && t.domain.rank < max_rank; i++) {
    if (used[i] || d[i].tag == Tag::whole || d[i].tag == Tag::reduction || rule.kind != Access::Kind::axes) continue;
    t.forward[t.domain.rank] = static_cast<int8_t>(i);
    t.pull[i] = axis_same(t.domain.rank);
    t.domain.add(d[i].name, d[i].extent, Tag::reduction);
  }
  return t;
}

Access pulled(const Access& rule, const Turned& t, std::span<const int64_t> shape) {
  if (rule.kind != Access::Kind::axes) return rule.kind == Access::Kind::none ? rule : Access::everything();
  Access out = Access::by_axes();
  for (int j = 0; j < rule.rank; j++) {
    int i = rule.axis[j].dim;
    out.add(i < 0 ? rule.axis[j] : compose(rule.axis[j], t.pull[i], shape[j]));
  }
  return out;
}

const Epilogue* epilogue_of(const GradientAttrs& a) { return a.op->epilogue ? &a.op->epilogue->in(a.attrs) : nullptr; }

bool linear(const MapProgram& program) {
  return std::all_of(program.code.begin(), program.code.end(), [](const MapInstr& in) {
    return in.op == MapOp::copy || in.op == MapOp::add || in.op == MapOp::sub || in.op == MapOp::neg ||
           in.op == MapOp::add_imm || in.op == MapOp::mul_imm;
  });
}

bool moves_only(const GradientAttrs& a) {
  const OpDef* op = a.op;
  if (op == &map_op) return linear(a.attrs.as<MapAttrs>().program);
  if (op == &pool_op) return a.attrs.as<PoolAttrs>().kind == PoolKind::average;
  if (op == &reduce_op) {
    ReduceKind k = a.attrs.as<ReduceAttrs>().kind;
    return k == ReduceKind::sum || k == ReduceKind::mean;
  }
  return op == &transpose_op || op == &reshape_op || op == &slice_op || op == &concat_op || op == &expand_op ||
         op == &pad_op || op == &gather_op;
}

// What the derivative needs besides the outputs' gradients: a product needs its other factor, a curve its argument and
// value; what only moves or adds needs nothing but indices.
bool needs_input(const NodeView& g, int input) {
  const auto& a = g.as<GradientAttrs>();
  if (!is_float(g.in(input).dtype)) return true;
  if (moves_only(a)) return false;
  if (a.op == &recurrent_op && a.wrt > 0) return a.wrt == 1 && input == 0;  // states' gradients come with the input's
  if (epilogue_of(a)) {
    const int fixed = a.op->epilogue->first_operand;
    if (a.wrt < 2) return input < 2 ? input != a.wrt : input == 3 && a.op == &conv_op;
    return input >= fixed && !linear(epilogue_of(a)->program);
  }
  return true;
}

bool needs_output(const GradientAttrs& a) {
  if (const Epilogue* e = epilogue_of(a)) return !e->empty() && !linear(e->program);
  if (a.op == &recurrent_op) return a.wrt == 0 || a.wrt == 2;
  return !moves_only(a);
}

std::vector<TypeShape> infer(const NodeView& g) {
  const auto& a = g.as<GradientAttrs>();
  check_inputs(g, 0, a.inputs + 2 * a.outputs);
  if (!a.op || a.wrt < 0 || a.wrt >= a.inputs || g.inputs() != a.inputs + 2 * a.outputs || !g.has(a.wrt))
    fail(ErrorCode::invalid_model, "a gradient's operands do not fit its operator");
  return {{g.in(a.wrt).dtype, g.in_shape(a.wrt)}};
}

Domain domain(const NodeView& g) { return turn(g, Forward(g)).domain; }

Access reads(const NodeView& g, int input) {
  const auto& a = g.as<GradientAttrs>();
  Forward f(g);
  Turned t = turn(g, f);
  int output = (input - a.inputs) % std::max(a.outputs, 1);
  if (input < a.inputs)
    return needs_input(g, input) ? pulled(a.op->reads(f.view, input), t, g.in_shape(input)) : Access::nothing();
  if (input < a.inputs + a.outputs && !needs_output(a)) return Access::nothing();
  return pulled(a.op->writes(f.view, output), t, g.in_shape(input));
}

Access writes(const NodeView& g, int) { return identity_access(static_cast<int>(g.out_shape().size())); }

// Of a recurrent operator's products: weights take their own share; the input's gradient also goes back through time.
double share(const NodeView& g, const Forward& f) {
  const auto& a = g.as<GradientAttrs>();
  if (a.op != &recurrent_op || a.wrt == 0) return 1;
  return static_cast<double>(g.in_shape(a.wrt).back()) / static_cast<double>(a.op->domain(f.view)[3].extent);
}

// As much as the operator itself, in proportion; biases and the like only add.
double operations(const NodeView& g, const Box& box) {
  const auto& a = g.as<GradientAttrs>();
  Forward f(g);
  double part = static_cast<double>(box.count());
  if (a.op->matrix && !is_product(a)) return part;
  double all = static_cast<double>(whole(turn(g, f).domain).count());
  return all > 0 ? share(g, f) * a.op->operations(f.view, whole(a.op->domain(f.view))) * part / all : 0;
}

[[noreturn]] void no_kernel(const Attributes&, std::span<const View>, std::span<const View>) {
  fail(ErrorCode::not_supported, "running training operators is not supported yet");
}

void evaluate(const Attributes& any, std::span<const View> inputs, std::span<const View> outputs) {
  const auto& a = any.as<GradientAttrs>();
  if (!a.op->evaluate_gradient) no_kernel(any, inputs, outputs);
  a.op->evaluate_gradient(a.attrs, a.wrt, inputs, outputs[0]);
}

std::vector<TypeShape> same_as_first(const NodeView& g) {
  check_inputs(g, 1, INT32_MAX);
  for (int i = 1; i < g.inputs(); i++) {
    check_same_dtype(g, i);
    check_shape(g, i, g.in_shape(0));
  }
  return {{g.in(0).dtype, g.in_shape(0)}};
}

Domain shape_domain(const NodeView& g) { return domain_of(g.out_shape()); }
Domain parameter_domain(const NodeView& g) {
  Domain d = domain_of(g.out_shape());
  for (int i = 0; i < d.rank; i++) d[i].tag = Tag::parameter;
  return d;
}
Access same(const NodeView& g, int) { return identity_access(static_cast<int>(g.out_shape().size())); }

Addressing sum_view(const NodeView&) { return {Addressing::sum}; }
double sum_operations(const NodeView& g, const Box& box) {
  return static_cast<double>(box.count()) * static_cast<double>(g.inputs() - 1);
}
double exchange_operations(const NodeView&, const Box& box) { return static_cast<double>(box.count()); }

// Operands: the parameter, its gradient, states. Outputs: the parameter, states.
std::vector<TypeShape> update_infer(const NodeView& g) {
  TypeShape one = same_as_first(g)[0];
  check_inputs(g, 2, 8);
  return std::vector<TypeShape>(static_cast<size_t>(g.inputs()) - 1, one);
}
double update_operations(const NodeView& g, const Box& box) {
  return static_cast<double>(box.count()) * g.as<UpdateAttrs>().operations_per_element;
}

}  // namespace

std::array<int8_t, max_rank> forward_dims(const NodeView& gradient) {
  return turn(gradient, Forward(gradient)).forward;
}

bool is_product(const GradientAttrs& g) {
  return g.op->matrix && g.wrt < (g.op == &attention_op || g.op == &recurrent_op ? 3 : 2);
}

const OpDef gradient_op = {.name = "gradient",
                           .attributes = attributes_of<GradientAttrs>,
                           .infer = infer,
                           .domain = domain,
                           .reads = reads,
                           .writes = writes,
                           .operations = operations,
                           .evaluate = evaluate,
                           .training = Training::gradient};
const OpDef sum_op = {.name = "sum",
                      .infer = same_as_first,
                      .domain = shape_domain,
                      .reads = same,
                      .writes = same,
                      .operations = sum_operations,
                      .evaluate = no_kernel,
                      .view = sum_view};
const OpDef exchange_op = {.name = "exchange",
                           .infer = same_as_first,
                           .domain = parameter_domain,
                           .reads = same,
                           .writes = same,
                           .operations = exchange_operations,
                           .evaluate = no_kernel,
                           .training = Training::exchange};
const OpDef update_op = {.name = "update",
                         .attributes = attributes_of<UpdateAttrs>,
                         .infer = update_infer,
                         .domain = parameter_domain,
                         .reads = same,
                         .writes = same,
                         .operations = update_operations,
                         .evaluate = no_kernel,
                         .training = Training::update};

}  // namespace pando
