// gather, gather_elements, gather_nd: elements chosen by indices that are data. Along the indexed dimensions every box
// may read anything; elsewhere boxes follow the output.
#include "graph/ops/movement.hpp"

namespace pando {
namespace {

int rank_of(const NodeView& node, int input) { return static_cast<int>(node.in_shape(input).size()); }

void check_not_empty(const NodeView& node, int dim, const Shape& out) {
  if (node.in_shape(0)[dim] == 0 && element_count(out) > 0)
    fail(ErrorCode::invalid_model, "nothing to gather: dimension {} of {} is empty", dim, to_string(node.in_shape(0)));
}

// ---- gather: output [data before axis, indices, data after axis] ----

std::vector<TypeShape> gather_infer(const NodeView& node) {
  check_inputs(node, 2, 2);
  check_indices(node, 1);
  const Shape &data = node.in_shape(0), &indices = node.in_shape(1);
  int64_t axis = node.as<GatherAttrs>().axis;
  check_axis(axis, static_cast<int64_t>(data.size()));
  Shape out(data.begin(), data.begin() + axis);
  out.insert(out.end(), indices.begin(), indices.end());
  out.insert(out.end(), data.begin() + axis + 1, data.end());
  out = checked(out);
  check_not_empty(node, static_cast<int>(axis), out);
  return {{node.in(0).dtype, out}};
}

Access gather_reads(const NodeView& node, int input) {
  int axis = static_cast<int>(node.as<GatherAttrs>().axis), indices = rank_of(node, 1);
  Access access = Access::by_axes();
  if (input == 1)
    for (int i = 0; i < indices; i++) access.add(axis_same(axis + i));
  else
    for (int i = 0; i < rank_of(node, 0); i++)
      access.add(i < axis ? axis_same(i) : i == axis ? axis_fixed(0, node.in_shape(0)[i]) : axis_same(i + indices - 1));
  return access;
}

void gather_evaluate(const Attributes& attrs, std::span<const View> in, std::span<const View> out) {
  int axis = static_cast<int>(attrs.as<GatherAttrs>().axis);
  const View &data = in[0], &indices = in[1];
  if (out[0].count() == 0) return;  // the indexed dimension may be empty then
  View from = drop_dims(data, axis, axis + 1), to = drop_dims(out[0], axis, axis + indices.rank());
  Extents step;  // of the output along the dimensions of the indices
  step.rank = indices.shape.rank;
  for (int i = 0; i < step.rank; i++) step[i] = out[0].strides[axis + i];
  for_each_index(indices.shape, [&](const Extents& index) {
    int64_t i = resolve_index(load_as<int64_t>(indices, offset(indices, index)), data.shape[axis]);
    copy_view(shifted(from, i * data.strides[axis]), shifted(to, offset(step, index)));
  });
}

// ---- gather_elements: output [i, j, k] = data [i, indices [i, j, k], k] for axis 1 ----

std::vector<TypeShape> elements_infer(const NodeView& node) {
  check_inputs(node, 2, 2);
  check_indices(node, 1);
  const Shape &data = node.in_shape(0), &indices = node.in_shape(1);
  int64_t axis = node.as<GatherAttrs>().axis;
  check_axis(axis, static_cast<int64_t>(data.size()));
  check_rank(node, 1, rank_of(node, 0), rank_of(node, 0));
  for (size_t i = 0; i < data.size(); i++)
    if (static_cast<int64_t>(i) != axis && indices[i] > data[i])
      fail(ErrorCode::invalid_model, "indices of shape {} leave dimension {} of data {}", to_string(indices), i,
           to_string(data));
  check_not_empty(node, static_cast<int>(axis), indices);
  return {{node.in(0).dtype, indices}};
}

Access elements_reads(const NodeView& node, int input) {
  int axis = static_cast<int>(node.as<GatherAttrs>().axis);
  Access access = identity_access(rank_of(node, 0));
  if (input == 0) access.axis[axis] = axis_fixed(0, node.in_shape(0)[axis]);
  return access;
}

void elements_evaluate(const Attributes& attrs, std::span<const View> in, std::span<const View> out) {
  int axis = static_cast<int>(attrs.as<GatherAttrs>().axis);
  const View &data = in[0], &indices = in[1];
  size_t size = size_of(data.dtype);
  for_each_index(out[0].shape, [&](const Extents& index) {
    int64_t i = resolve_index(load_as<int64_t>(indices, offset(indices, index)), data.shape[axis]);
    move_element(data, offset(data, index) + (i - index[axis]) * data.strides[axis], out[0], offset(out[0], index),
                 size);
  });
}

// ---- gather_nd: the last dimension of the indices holds k coordinates, of the dimensions that follow the batch ----

struct NdShape {
  int batch, coordinates, outer;  // outer: output dimensions that come from the indices
};
NdShape nd_shape(const NodeView& node) {
  return {static_cast<int>(node.as<GatherNdAttrs>().batch_dims), static_cast<int>(node.in_shape(1).back()),
          rank_of(node, 1) - 1};
}

std::vector<TypeShape> nd_infer(const NodeView& node) {
  check_inputs(node, 2, 2);
  check_indices(node, 1);
  check_rank(node, 0, 1);
  check_rank(node, 1, 1);
  const Shape &data = node.in_shape(0), &indices = node.in_shape(1);
  int64_t batch = node.as<GatherNdAttrs>().batch_dims, rank = static_cast<int64_t>(data.size());
  if (batch < 0 || batch >= std::min<int64_t>(rank, static_cast<int64_t>(indices.size())))
    fail(ErrorCode::invalid_model, "batch_dims {} does not fit data {} and indices {}", batch, to_string(data),
         to_string(indices));
  if (indices.back() < 1 || indices.back() > rank - batch)
    fail(ErrorCode::invalid_model, "indices {} hold {} coordinates for data {} with {} batch dimensions",
         to_string(indices), indices.back(), to_string(data), batch);
  if (!std::equal(data.begin(), data.begin() + batch, indices.begin()))
    fail(ErrorCode::invalid_model, "data {} and indices {} differ in the first {} dimensions", to_string(data),
         to_string(indices), batch);
  Shape out(indices.begin(), indices.end() - 1);
  out.insert(out.end(), data.begin() + batch + indices.back(), data.end());
  out = checked(out);
  for (int64_t i = batch; i < batch + indices.back(); i++) check_not_empty(node, static_cast<int>(i), out);
  return {{node.in(0).dtype, out}};
}

Access nd_reads(const NodeView& node, int input) {
  NdShape s = nd_shape(node);
  Access access = Access::by_axes();
  if (input == 1) {
    for (int i = 0; i < s.outer; i++) access.add(axis_same(i));
    access.add(axis_fixed(0, s.coordinates));
    return access;
  }
  for (int i = 0; i < rank_of(node, 0); i++) {
    int inner = i - s.batch - s.coordinates;
    access.add(i < s.batch ? axis_same(i)
               : inner < 0 ? axis_fixed(0, node.in_shape(0)[i])
                           : axis_same(s.outer + inner));
  }
  return access;
}

void nd_evaluate(const Attributes& attrs, std::span<const View> in, std::span<const View> out) {
  int batch = static_cast<int>(attrs.as<GatherNdAttrs>().batch_dims);
  const View &data = in[0], &indices = in[1];
  if (out[0].count() == 0) return;
  int outer = indices.rank() - 1, coordinates = static_cast<int>(indices.shape[outer]);
  View from = drop_dims(data, 0, batch + coordinates), to = drop_dims(out[0], 0, outer);
  Extents lead = indices.shape;
  lead.rank = static_cast<int8_t>(outer);
  for_each_index(lead, [&](const Extents& index) {
    int64_t at = 0, into = 0, list = 0;
    for (int i = 0; i < outer; i++) {
      into += index[i] * out[0].strides[i];
      list += index[i] * indices.strides[i];
      if (i < batch) at += index[i] * data.strides[i];
    }
    for (int i = 0; i < coordinates; i++) {
      int64_t c = load_as<int64_t>(indices, list + i * indices.strides[outer]);
      at += resolve_index(c, data.shape[batch + i]) * data.strides[batch + i];
    }
    copy_view(shifted(from, at), shifted(to, into));
  });
}

// One list of indices takes the place of the axis.
bool keeps_rank(const NodeView& node, std::span<const int64_t>) { return node.in_shape(1).size() == 1; }

}  // namespace

const OpDef gather_op{.name = "gather",
                      .attributes = attributes_of<GatherAttrs>,
                      .infer = gather_infer,
                      .domain = output_domain,
                      .reads = gather_reads,
                      .writes = writes_box,
                      .operations = no_operations,
                      .evaluate = gather_evaluate,
                      .by_box = true,
                      .order = Order::first,
                      .may_reorder = keeps_rank,
                      .picks = always_picks,
                      .gradient = gather_gradient};

const OpDef gather_elements_op{.name = "gather_elements",
                               .attributes = attributes_of<GatherAttrs>,
                               .infer = elements_infer,
                               .domain = output_domain,
                               .reads = elements_reads,
                               .writes = writes_box,
                               .operations = no_operations,
                               .evaluate = elements_evaluate,
                               .by_box = true,
                               .picks = always_picks,
                               .gradient = gather_elements_gradient};

const OpDef gather_nd_op{.name = "gather_nd",
                         .attributes = attributes_of<GatherNdAttrs>,
                         .infer = nd_infer,
                         .domain = output_domain,
                         .reads = nd_reads,
                         .writes = writes_box,
                         .operations = no_operations,
                         .evaluate = nd_evaluate,
                         .by_box = true,
                         .picks = always_picks,
                         .gradient = gather_nd_gradient};

}  // namespace pando
