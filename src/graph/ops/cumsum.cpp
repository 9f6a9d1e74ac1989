// cumsum: running sums along an axis.
#include "graph/ops/movement.hpp"

namespace pando {
namespace {

std::vector<TypeShape> infer(const NodeView& node) {
  check_inputs(node, 1, 1);
  check_axis(node.as<CumSumAttrs>().axis, static_cast<int64_t>(node.in_shape(0).size()));
  if (node.in(0).dtype == DType::boolean) fail(ErrorCode::not_supported, "sums of booleans are not supported");
  return {{node.in(0).dtype, node.in_shape(0)}};
}

Domain domain(const NodeView& node) {
  const auto& a = node.as<CumSumAttrs>();
  Domain d = output_domain(node);
  d[static_cast<int>(a.axis)].tag = a.reverse ? Tag::whole : Tag::sequential;
  return d;
}

// A box reads all that comes before it, so that it needs no state; what comes after cannot be told by a rule.
Access reads(const NodeView& node, int) {
  const auto& a = node.as<CumSumAttrs>();
  int axis = static_cast<int>(a.axis);
  Access access = identity_access(static_cast<int>(node.out_shape().size()));
  if (a.reverse) access.axis[axis] = axis_fixed(0, node.in_shape(0)[axis]);
  else access.axis[axis].from_zero = true;
  return access;
}

double operations(const NodeView& node, const Box& box) { return apply(reads(node, 0), box, node.in_shape(0)).count(); }

void evaluate(const Attributes& attrs, std::span<const View> in, std::span<const View> out) {
  const auto& a = attrs.as<CumSumAttrs>();
  int axis = static_cast<int>(a.axis);
  const View &from = in[0], &to = out[0];
  int64_t n = from.shape[axis], step = from.strides[axis], skip = n - to.shape[axis];  // skip: what precedes a box
  Extents rows = to.shape;
  rows[axis] = std::min<int64_t>(rows[axis], 1);
  dispatch(from.dtype, [&](auto tag) {
    using T = decltype(tag);
    using Sum = std::conditional_t<std::is_integral_v<T>, uint64_t, double>;  // integers wrap
    for_each_index(rows, [&](const Extents& index) {
      int64_t at = offset(from, index), into = offset(to, index);
      Sum sum{};
      for (int64_t k = 0; k < n; k++) {
        int64_t i = a.reverse ? n - 1 - k : k;
        Sum before = sum;
        sum += static_cast<Sum>(widen(load<T>(from.data, at + i * step)));
        if (i >= skip) store(to.data, into + (i - skip) * to.strides[axis], convert<T>(a.exclusive ? before : sum));
      }
    });
  });
}

}  // namespace

const OpDef cumsum_op{.name = "cumsum",
                      .attributes = attributes_of<CumSumAttrs>,
                      .infer = infer,
                      .domain = domain,
                      .reads = reads,
                      .writes = writes_box,
                      .operations = operations,
                      .evaluate = evaluate,
                      .by_box = true,
                      .order = Order::first,
                      .gradient = cumsum_gradient};

}  // namespace pando
