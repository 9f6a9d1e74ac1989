#include "graph/ops/movement.hpp"

namespace pando {

Domain output_domain(const NodeView& node) { return domain_of(node.out_shape()); }

Domain selection_domain(const NodeView& node, int64_t axis) {
  Domain domain = output_domain(node);
  domain[static_cast<int>(axis)].tag = Tag::whole;
  return domain;
}

Access selection_reads(const NodeView& node, int64_t axis) {
  Access access = identity_access(static_cast<int>(node.out_shape().size()));
  access.axis[axis] = axis_fixed(0, node.in_shape(0)[axis]);
  return access;
}

Access writes_box(const NodeView& node, int) { return identity_access(static_cast<int>(node.out_shape().size())); }

double no_operations(const NodeView&, const Box&) { return 0; }

void check_indices(const NodeView& node, int input) {
  DType t = node.in(input).dtype;
  if (is_float(t) || t == DType::boolean)
    fail(ErrorCode::invalid_model, "operand {} (indices) is {}, expected an integer type", input, name_of(t));
}

void check_per_dimension(size_t given, size_t rank, const char* what) {
  if (given != rank)
    fail(ErrorCode::invalid_model, "{} has {} values, expected one per dimension ({})", what, given, rank);
}

View drop_dims(const View& view, int first, int last) {
  View out{view.data, view.dtype, {}, {}};
  for (int i = 0; i < view.rank(); i++) {
    if (i >= first && i < last) continue;
    out.shape[out.shape.rank++] = view.shape[i];
    out.strides[out.strides.rank++] = view.strides[i];
  }
  return out;
}

}  // namespace pando
