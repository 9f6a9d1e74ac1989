#include "graph/ops/common.hpp"

namespace pando {

Shape checked(Shape shape) {
  if (shape.size() > static_cast<size_t>(max_rank))
    fail(ErrorCode::not_supported, "a tensor of rank {} is not supported (at most {})", shape.size(), max_rank);
  int64_t count = 1;
  for (int64_t d : shape) {
    if (d < 0) fail(ErrorCode::invalid_model, "shape {} has a negative dimension", to_string(shape));
    // Bytes and offsets must fit as well: leave room for 16-byte elements. Zero extents do not excuse the others.
    if (__builtin_mul_overflow(count, std::max<int64_t>(d, 1), &count) || count > INT64_MAX / 16)
      fail(ErrorCode::invalid_model, "shape {} has too many elements", to_string(shape));
  }
  return shape;
}

Shape broadcast_shapes(std::span<const int64_t> a, std::span<const int64_t> b) {
  if (a.size() < b.size()) return broadcast_shapes(b, a);
  Shape out(a.begin(), a.end());
  size_t shift = a.size() - b.size();
  for (size_t i = 0; i < b.size(); i++) {
    int64_t& d = out[i + shift];
    if (d == 1) d = b[i];
    else if (b[i] != 1 && b[i] != d)
      fail(ErrorCode::invalid_model, "shapes {} and {} do not broadcast", to_string(a), to_string(b));
  }
  return checked(std::move(out));
}

void check_broadcasts_to(std::span<const int64_t> from, std::span<const int64_t> to, const char* what) {
  bool good = from.size() <= to.size();
  for (size_t i = 0; good && i < from.size(); i++) good = from[i] == 1 || from[i] == to[i + to.size() - from.size()];
  if (!good)
    fail(ErrorCode::invalid_model, "{} of shape {} does not broadcast to {}", what, to_string(from), to_string(to));
}

void check_inputs(const NodeView& node, int least, int most) {
  if (node.inputs() < least || node.inputs() > most) {
    if (least == most) fail(ErrorCode::invalid_model, "expected {} operands, got {}", least, node.inputs());
    fail(ErrorCode::invalid_model, "expected {} to {} operands, got {}", least, most, node.inputs());
  }
  for (int i = 0; i < least; i++)
    if (!node.has(i)) fail(ErrorCode::invalid_model, "operand {} is missing", i);
}

void check_rank(const NodeView& node, int input, int least, int most) {
  int rank = static_cast<int>(node.in_shape(input).size());
  if (rank >= least && rank <= most) return;
  std::string shape = to_string(node.in_shape(input));
  if (least == most) fail(ErrorCode::invalid_model, "operand {} has shape {}, expected rank {}", input, shape, least);
  fail(ErrorCode::invalid_model, "operand {} has shape {}, expected rank {} to {}", input, shape, least, most);
}

void check_same_dtype(const NodeView& node, int input) {
  if (node.has(input) && node.in(input).dtype != node.in(0).dtype)
    fail(ErrorCode::invalid_model, "operand {} is {}, expected {} as operand 0", input, name_of(node.in(input).dtype),
         name_of(node.in(0).dtype));
}

void check_shape(const NodeView& node, int input, std::span<const int64_t> expected) {
  const Shape& actual = node.in_shape(input);
  if (!std::equal(actual.begin(), actual.end(), expected.begin(), expected.end()))
    fail(ErrorCode::invalid_model, "operand {} has shape {}, expected {}", input, to_string(actual),
         to_string(expected));
}

void check_axis(int64_t axis, int64_t rank) {
  if (axis < 0 || axis >= rank) fail(ErrorCode::invalid_model, "axis {} is not in 0..{}", axis, rank - 1);
}

double box_count(const Box& box, int first, int last) {
  double n = 1;
  for (int i = first; i < last; i++) n *= static_cast<double>(box[i].size());
  return n;
}

Domain domain_of(std::span<const int64_t> shape) {
  static constexpr const char* names[max_rank] = {"d0", "d1", "d2", "d3", "d4", "d5", "d6", "d7"};
  Domain d;
  for (size_t i = 0; i < shape.size(); i++) d.add(names[i], shape[i], i == 0 ? Tag::sample : Tag::attribute);
  return d;
}

Extents broadcast_strides(const View& view, int rank) {
  Extents strides;
  strides.rank = static_cast<int8_t>(rank);
  int shift = rank - view.rank();
  for (int i = 0; i < view.rank(); i++) strides[i + shift] = view.shape[i] == 1 ? 0 : view.strides[i];
  return strides;
}

void copy_view(const View& from, const View& to) {
  Extents step = broadcast_strides(from, to.rank());
  int last = to.rank() - 1;
  int64_t n = last < 0 ? 1 : to.shape[last], size = static_cast<int64_t>(size_of(to.dtype));
  int64_t s = last < 0 ? 0 : step[last] * size, d = last < 0 ? 0 : to.strides[last] * size;
  for_each_row(to.shape, [&](const Extents& index) {
    const std::byte* source = from.data + offset(step, index) * size;
    std::byte* target = to.data + offset(to, index) * size;
    if (s == size && d == size) {
      std::memcpy(target, source, static_cast<size_t>(n * size));
      return;
    }
    for (int64_t i = 0; i < n; i++) std::memcpy(target + i * d, source + i * s, static_cast<size_t>(size));
  });
}

}  // namespace pando
