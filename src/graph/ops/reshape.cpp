// reshape: the same elements in row-major order under another shape.
#include <cstring>

#include "graph/ops/movement.hpp"

namespace pando {
namespace {

std::vector<TypeShape> infer(const NodeView& node) {
  check_inputs(node, 1, 1);
  Shape out = checked(node.as<ReshapeAttrs>().shape);
  if (element_count(out) != element_count(node.in_shape(0)))
    fail(ErrorCode::invalid_model, "cannot reshape {} to {}: {} elements against {}", to_string(node.in_shape(0)),
         to_string(out), element_count(node.in_shape(0)), element_count(out));
  return {{node.in(0).dtype, out}};
}

Access reads(const NodeView& node, int) { return Access::regrouped(node.out_shape()); }

bool is_dense(const View& view) {
  int64_t stride = 1;
  for (int i = view.rank() - 1; i >= 0; stride *= view.shape[i--])
    if (view.shape[i] != 1 && view.strides[i] != stride) return false;
  return true;
}

// Steps a row-major index on and keeps its offset; wraps at the end.
void advance(const View& view, Extents& index, int64_t& at) {
  for (int i = view.rank() - 1; i >= 0; i--) {
    at += view.strides[i];
    if (++index[i] < view.shape[i]) return;
    at -= view.shape[i] * view.strides[i];
    index[i] = 0;
  }
}

void evaluate(const Attributes&, std::span<const View> in, std::span<const View> out) {
  size_t size = size_of(in[0].dtype);
  Extents from, to;
  int64_t at = 0, into = 0, count = out[0].count();
  if (is_dense(in[0]) && is_dense(out[0])) {
    if (count > 0) std::memcpy(out[0].data, in[0].data, static_cast<size_t>(count) * size);
    return;
  }
  for (int64_t n = 0; n < count; n++) {
    move_element(in[0], at, out[0], into, size);
    advance(in[0], from, at);
    advance(out[0], to, into);
  }
}

Addressing view(const NodeView&) { return {Addressing::regroup}; }

int first(const NodeView&) { return 0; }

Attributes compose(const Attributes&, const Attributes& second) { return second; }

}  // namespace

const OpDef reshape_op{.name = "reshape",
                       .attributes = attributes_of<ReshapeAttrs>,
                       .infer = infer,
                       .domain = output_domain,
                       .reads = reads,
                       .writes = writes_box,
                       .operations = no_operations,
                       .evaluate = evaluate,
                       .view = view,
                       .identity = first,
                       .picks = always_picks,
                       .compose = compose,
                       .gradient = reshape_gradient};

}  // namespace pando
