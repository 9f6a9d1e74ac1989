// concat: operands one after the other along an axis.
#include "graph/ops/movement.hpp"

namespace pando {
namespace {

std::vector<TypeShape> infer(const NodeView& node) {
  if (node.inputs() == 0) fail(ErrorCode::invalid_model, "expected at least one operand");
  check_inputs(node, node.inputs(), node.inputs());
  Shape out = node.in_shape(0);
  int64_t axis = node.as<ConcatAttrs>().axis;
  check_axis(axis, static_cast<int64_t>(out.size()));
  for (int i = 1; i < node.inputs(); i++) {
    check_same_dtype(node, i);
    Shape expected = node.in_shape(i);
    if (static_cast<size_t>(axis) < expected.size()) expected[axis] = node.in_shape(0)[axis];
    if (expected != node.in_shape(0))
      fail(ErrorCode::invalid_model, "operand {} has shape {}, which does not fit {} along axis {}", i,
           to_string(node.in_shape(i)), to_string(node.in_shape(0)), axis);
    if (__builtin_add_overflow(out[axis], node.in_shape(i)[axis], &out[axis]))
      fail(ErrorCode::invalid_model, "the concatenation is too large along axis {}", axis);
  }
  return {{node.in(0).dtype, checked(out)}};
}

Access reads(const NodeView& node, int input) {
  int64_t axis = node.as<ConcatAttrs>().axis, begin = 0;
  for (int i = 0; i < input; i++) begin += node.in_shape(i)[axis];
  return concat_reads(node, begin);
}

void evaluate(const Attributes& attrs, std::span<const View> in, std::span<const View> out) {
  int axis = static_cast<int>(attrs.as<ConcatAttrs>().axis);
  int64_t begin = 0;
  for (const View& from : in) {
    View to = shifted(out[0], begin * out[0].strides[axis]);
    to.shape[axis] = from.shape[axis];
    copy_view(from, to);
    begin += from.shape[axis];
  }
}

Addressing view(const NodeView& node) {
  return {Addressing::joined, {}, {}, static_cast<int>(node.as<ConcatAttrs>().axis)};
}

int identity(const NodeView& node) { return node.inputs() == 1 ? 0 : -1; }

}  // namespace

Access concat_reads(const NodeView& node, int64_t begin) {
  int64_t axis = node.as<ConcatAttrs>().axis;
  Access access = identity_access(static_cast<int>(node.out_shape().size()));
  access.axis[axis] = axis_window(static_cast<int>(axis), 1, -begin, -begin);
  return access;
}

std::vector<int64_t> concat_begins(const NodeView& node) {
  std::vector<int64_t> begins(static_cast<size_t>(node.inputs()), 0);
  for (int i = 1; i < node.inputs(); i++) begins[i] = begins[i - 1] + node.in_shape(i - 1)[node.as<ConcatAttrs>().axis];
  return begins;
}

const OpDef concat_op{.name = "concat",
                      .attributes = attributes_of<ConcatAttrs>,
                      .infer = infer,
                      .domain = output_domain,
                      .reads = reads,
                      .writes = writes_box,
                      .operations = no_operations,
                      .evaluate = evaluate,
                      .view = view,
                      .order = Order::all,
                      .identity = identity,
                      .picks = always_picks,
                      .gradient = concat_gradient};

}  // namespace pando
