// What the operators that move elements share: a domain made of output 0's dimensions, whose box is what is written.
#pragma once
#include "graph/ops/common.hpp"

namespace pando {

// Output 0's dimensions: the first is `sample`, the others `attribute`.
Domain output_domain(const NodeView& node);
// The same for a choice among the elements along `axis`, which is not cut; all of the operand's elements there are
// read.
Domain selection_domain(const NodeView& node, int64_t axis);
Access selection_reads(const NodeView& node, int64_t axis);
// For OpDef::writes: the box of the domain itself.
Access writes_box(const NodeView& node, int output);
// For OpDef::operations: bytes only.
double no_operations(const NodeView& node, const Box& box);
// For OpDef::picks.
inline bool always_picks(const NodeView&) { return true; }
// Throws unless operand `input` holds integers.
void check_indices(const NodeView& node, int input);
// Throws when per-dimension attributes do not fit the rank; `what` names them.
void check_per_dimension(size_t given, size_t rank, const char* what);

// Index as ONNX means it: negative counts from the end; out of range is clamped, so that hostile data stay in bounds.
inline int64_t resolve_index(int64_t index, int64_t extent) {
  if (index < 0) index += extent;
  return std::clamp<int64_t>(index, 0, extent - 1);
}

// Copies one element of `size` bytes; offsets count elements.
inline void move_element(const View& from, int64_t at, const View& to, int64_t into, size_t size) {
  std::memcpy(to.data + into * static_cast<int64_t>(size), from.data + at * static_cast<int64_t>(size), size);
}

// A view without dimensions first..last-1, at index 0 of them.
View drop_dims(const View& view, int first, int last);
// The same elements seen from `offset` elements on.
inline View shifted(View view, int64_t offset) {
  view.data += offset * static_cast<int64_t>(size_of(view.dtype));
  return view;
}

}  // namespace pando
