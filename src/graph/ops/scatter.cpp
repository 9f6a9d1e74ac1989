// scatter_elements, scatter_nd: a copy of the data in which chosen elements are replaced by, or combined with, updates.
// Updates are applied in row-major order. The indexed dimensions are never cut, so a box sees all updates that can
// reach it and indices count from the operand's begin.
#include "graph/ops/movement.hpp"

namespace pando {
namespace {

template <class T>
T combine(ScatterKind kind, T old, T update) {
  if (kind == ScatterKind::none) return update;
  auto a = widen(old), b = widen(update);
  bool smaller = b < a;
  if (kind == ScatterKind::max || kind == ScatterKind::min) return smaller == (kind == ScatterKind::min) ? update : old;
  bool add = kind == ScatterKind::add;
  if constexpr (std::is_same_v<T, bool>) {
    return add ? a || b : a && b;
  } else if constexpr (std::is_integral_v<T>) {  // wraps
    return static_cast<T>(add ? uint64_t(a) + uint64_t(b) : uint64_t(a) * uint64_t(b));
  } else {
    return convert<T>(add ? a + b : a * b);
  }
}

void apply_update(ScatterKind kind, const View& to, int64_t into, const View& updates, int64_t at) {
  dispatch(to.dtype, [&](auto tag) {
    using T = decltype(tag);
    store(to.data, into, combine(kind, load<T>(to.data, into), load<T>(updates.data, at)));
  });
}

void check_operands(const NodeView& node) {
  check_inputs(node, 3, 3);
  check_indices(node, 1);
  check_same_dtype(node, 2);
  check_rank(node, 0, 1);
}

double operations(const NodeView& node, const Box& box) {
  return node.as<ScatterAttrs>().kind == ScatterKind::none ? 0 : static_cast<double>(box.count());
}

// ---- scatter_elements: output [i, indices [i, j, k], k] = updates [i, j, k] for axis 1 ----

std::vector<TypeShape> elements_infer(const NodeView& node) {
  check_operands(node);
  const Shape &data = node.in_shape(0), &indices = node.in_shape(1);
  int64_t axis = node.as<ScatterAttrs>().axis;
  check_axis(axis, static_cast<int64_t>(data.size()));
  check_rank(node, 1, static_cast<int>(data.size()), static_cast<int>(data.size()));
  check_shape(node, 2, indices);
  for (size_t i = 0; i < data.size(); i++)
    if (static_cast<int64_t>(i) == axis ? data[i] == 0 && element_count(indices) > 0 : indices[i] > data[i])
      fail(ErrorCode::invalid_model, "indices of shape {} leave dimension {} of data {}", to_string(indices), i,
           to_string(data));
  return {{node.in(0).dtype, data}};
}

Domain elements_domain(const NodeView& node) {
  Domain domain = output_domain(node);
  domain[static_cast<int>(node.as<ScatterAttrs>().axis)].tag = Tag::whole;
  return domain;
}

Access elements_reads(const NodeView& node, int input) {
  int axis = static_cast<int>(node.as<ScatterAttrs>().axis);
  Access access = identity_access(static_cast<int>(node.out_shape().size()));
  access.axis[axis] = axis_fixed(0, node.in_shape(input)[axis]);
  return access;
}

void elements_evaluate(const Attributes& attrs, std::span<const View> in, std::span<const View> out) {
  const auto& a = attrs.as<ScatterAttrs>();
  int axis = static_cast<int>(a.axis);
  const View &indices = in[1], &updates = in[2], &to = out[0];
  copy_view(in[0], to);
  if (to.count() == 0) return;
  for_each_index(indices.shape, [&](const Extents& index) {
    int64_t i = resolve_index(load_as<int64_t>(indices, offset(indices, index)), to.shape[axis]);
    int64_t into = offset(to, index) + (i - index[axis]) * to.strides[axis];
    apply_update(a.kind, to, into, updates, offset(updates, index));
  });
}

// ---- scatter_nd: the last dimension of the indices holds k coordinates of the first k dimensions ----

int coordinates_of(const NodeView& node) { return static_cast<int>(node.in_shape(1).back()); }

std::vector<TypeShape> nd_infer(const NodeView& node) {
  check_operands(node);
  check_rank(node, 1, 1);
  const Shape &data = node.in_shape(0), &indices = node.in_shape(1);
  int64_t k = indices.back();
  if (k < 1 || k > static_cast<int64_t>(data.size()))
    fail(ErrorCode::invalid_model, "indices {} hold {} coordinates for data {}", to_string(indices), k,
         to_string(data));
  Shape updates(indices.begin(), indices.end() - 1);
  updates.insert(updates.end(), data.begin() + k, data.end());
  check_shape(node, 2, checked(updates));
  if (element_count(data) == 0 && element_count(updates) > 0)
    fail(ErrorCode::invalid_model, "nothing to scatter to: data has shape {}", to_string(data));
  return {{node.in(0).dtype, data}};
}

Domain nd_domain(const NodeView& node) {
  Domain domain = output_domain(node);
  for (int i = 0; i < coordinates_of(node); i++) domain[i].tag = Tag::whole;
  return domain;
}

Access nd_reads(const NodeView& node, int input) {
  int k = coordinates_of(node), outer = static_cast<int>(node.in_shape(1).size()) - 1;
  const Shape& shape = node.in_shape(input);
  if (input == 1) return Access::everything();
  Access access = Access::by_axes();
  int leading = input == 0 ? k : outer;
  for (int i = 0; i < static_cast<int>(shape.size()); i++)
    access.add(i < leading ? axis_fixed(0, shape[i]) : axis_same(i - leading + k));
  return access;
}

void nd_evaluate(const Attributes& attrs, std::span<const View> in, std::span<const View> out) {
  const auto& a = attrs.as<ScatterAttrs>();
  const View &indices = in[1], &updates = in[2], &to = out[0];
  copy_view(in[0], to);
  if (to.count() == 0) return;
  int outer = indices.rank() - 1, k = static_cast<int>(indices.shape[outer]);
  for_each_index(updates.shape, [&](const Extents& index) {
    int64_t into = 0, list = 0;
    for (int i = 0; i < outer; i++) list += index[i] * indices.strides[i];
    for (int i = 0; i < k; i++) {
      int64_t c = load_as<int64_t>(indices, list + i * indices.strides[outer]);
      into += resolve_index(c, to.shape[i]) * to.strides[i];
    }
    for (int i = k; i < to.rank(); i++) into += index[outer + i - k] * to.strides[i];
    apply_update(a.kind, to, into, updates, offset(updates, index));
  });
}

}  // namespace

const OpDef scatter_elements_op{.name = "scatter_elements",
                                .attributes = attributes_of<ScatterAttrs>,
                                .infer = elements_infer,
                                .domain = elements_domain,
                                .reads = elements_reads,
                                .writes = writes_box,
                                .operations = operations,
                                .evaluate = elements_evaluate,
                                .by_box = true,
                                .gradient = scatter_elements_gradient};

const OpDef scatter_nd_op{.name = "scatter_nd",
                          .attributes = attributes_of<ScatterAttrs>,
                          .infer = nd_infer,
                          .domain = nd_domain,
                          .reads = nd_reads,
                          .writes = writes_box,
                          .operations = operations,
                          .evaluate = nd_evaluate,
                          .by_box = true,
                          .gradient = scatter_nd_gradient};

}  // namespace pando
