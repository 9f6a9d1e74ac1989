#include "graph/backward.hpp"

#include <numeric>

#include "graph/ops/common.hpp"

namespace pando {

Backward::Backward(Graph& graph, const Node& node, std::vector<ValueId> output_gradients, std::vector<bool> wanted)
    : graph_(graph),
      node_(node),
      output_gradients_(std::move(output_gradients)),
      wanted_(std::move(wanted)),
      given_(node.inputs.size(), none),
      type_(DType::f32) {
  for (ValueId v : output_gradients_)
    if (v != none) type_ = graph.values[v].dtype;
}

void Backward::give(int input, ValueId gradient) {
  if (!wants(input) || gradient == none) return;
  gradient = cast(sum_to(gradient, shape(x(input))), graph_.values[x(input)].dtype);
  given_[input] = given_[input] == none ? gradient : plus(given_[input], gradient);
}

void Backward::none_because(const std::string& reason) const {
  fail(ErrorCode::not_supported, "node '{}' ({}) has no gradient: {}", display_name(graph_, node_), node_.op->name,
       reason);
}

ValueId Backward::add(const OpDef& op, std::vector<ValueId> inputs, Attributes attrs) {
  return graph_.add(op, "gradient of " + display_name(graph_, node_), std::move(inputs), std::move(attrs));
}

ValueId Backward::map(MapOp op, std::initializer_list<ValueId> operands, double p0, double p1) {
  MapAttrs attrs;
  attrs.program.inputs = static_cast<int>(operands.size());
  const int last = attrs.program.inputs - 1;
  attrs.program.code = {
      {op, 0, static_cast<uint8_t>(std::min(1, last)), static_cast<uint8_t>(std::min(2, last)), p0, p1}};
  attrs.out = info_of(op).gives_boolean ? DType::boolean : graph_.values[operands.begin()[last]].dtype;
  return add(map_op, operands, attrs);
}

ValueId Backward::where(ValueId condition, ValueId a) { return map(MapOp::where, {condition, a, number(0)}); }

ValueId Backward::cast(ValueId a, DType type) {
  if (graph_.values[a].dtype == type) return a;
  return add(map_op, {a}, MapAttrs{{{{MapOp::cast}}, 1}, type});
}

ValueId Backward::reduce(ReduceKind kind, ValueId a, std::vector<int64_t> axes) {
  return axes.empty() ? a : add(reduce_op, {a}, ReduceAttrs{kind, {std::move(axes)}});
}

ValueId Backward::sum_to(ValueId a, const Shape& to) {
  const Shape from = shape(a);
  if (from == to) return a;
  const size_t extra = from.size() - to.size();
  std::vector<int64_t> axes;
  for (size_t i = 0; i < from.size(); i++)
    if (i < extra || (to[i - extra] == 1 && from[i] != 1)) axes.push_back(static_cast<int64_t>(i));
  return reshape(reduce(ReduceKind::sum, a, axes), to);
}

ValueId Backward::expand(ValueId a, const Shape& to) {
  return shape(a) == to ? a : add(expand_op, {a}, ExpandAttrs{{to}});
}

ValueId Backward::reshape(ValueId a, Shape to) {
  return shape(a) == to ? a : add(reshape_op, {a}, ReshapeAttrs{std::move(to)});
}

ValueId Backward::transpose(ValueId a, std::vector<int64_t> perm) {
  return std::is_sorted(perm.begin(), perm.end()) ? a : add(transpose_op, {a}, TransposeAttrs{std::move(perm)});
}

ValueId Backward::matmul(ValueId a, ValueId b, bool trans_a, bool trans_b, double alpha) {
  MatMulAttrs attrs;
  attrs.trans_a = trans_a, attrs.trans_b = trans_b, attrs.alpha = static_cast<float>(alpha);
  return add(matmul_op, {a, b}, attrs);
}

ValueId Backward::along(ValueId a, int axis, ValueId m) {
  const int last = rank(a) - 1;
  std::vector<int64_t> perm(static_cast<size_t>(last) + 1);
  std::iota(perm.begin(), perm.end(), 0);
  std::swap(perm[axis], perm[last]);
  ValueId rows = transpose(a, perm);  // its own inverse
  Shape out = shape(rows);
  out.back() = shape(m)[1];
  const int64_t count = element_count(std::span(out).first(static_cast<size_t>(last)));
  rows = matmul(reshape(rows, {count, shape(m)[0]}), m);
  return transpose(reshape(rows, out), perm);
}

ValueId Backward::constant(const Shape& shape, std::span<const double> elements) {
  auto t = make_tensor(type_, shape);
  dispatch(type_, [&](auto tag) {
    for (size_t i = 0; i < elements.size(); i++)
      store(writable(*t), static_cast<int64_t>(i), convert<decltype(tag)>(elements[i]));
  });
  return graph_.add_constant("", t);
}

ValueId Backward::number(double x) { return constant({}, {&x, 1}); }
ValueId Backward::zeros(const Shape& shape) { return graph_.add_constant("", make_tensor(type_, shape)); }

}  // namespace pando
