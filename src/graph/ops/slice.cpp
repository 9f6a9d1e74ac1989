// slice: index i of a dimension is input index start + i * step.
#include "graph/ops/movement.hpp"

namespace pando {
namespace {

std::vector<TypeShape> infer(const NodeView& node) {
  check_inputs(node, 1, 1);
  const Shape& in = node.in_shape(0);
  const auto& a = node.as<SliceAttrs>();
  check_per_dimension(a.starts.size(), in.size(), "starts");
  check_per_dimension(a.steps.size(), in.size(), "steps");
  check_per_dimension(a.sizes.size(), in.size(), "sizes");
  for (size_t i = 0; i < in.size(); i++) {
    if (a.steps[i] == 0) fail(ErrorCode::invalid_model, "the step of dimension {} is 0", i);
    if (a.sizes[i] == 0) continue;
    int64_t last = 0;
    bool good = a.sizes[i] > 0 && a.starts[i] >= 0 && a.starts[i] < in[i] &&
                !__builtin_mul_overflow(a.sizes[i] - 1, a.steps[i], &last) &&
                !__builtin_add_overflow(last, a.starts[i], &last) && last >= 0 && last < in[i];
    if (!good)
      fail(ErrorCode::invalid_model, "{} elements from {} by step {} leave dimension {} of extent {}", a.sizes[i],
           a.starts[i], a.steps[i], i, in[i]);
  }
  return {{node.in(0).dtype, checked(a.sizes)}};
}

Access reads(const NodeView& node, int) {
  const auto& a = node.as<SliceAttrs>();
  Access access = Access::by_axes();
  for (size_t i = 0; i < a.starts.size(); i++)
    access.add(axis_window(static_cast<int>(i), a.steps[i], a.starts[i], a.starts[i]));
  return access;
}

void evaluate(const Attributes& attrs, std::span<const View> in, std::span<const View> out) {
  const auto& a = attrs.as<SliceAttrs>();
  if (out[0].count() == 0) return;  // starts may lie outside then
  View from = in[0];
  int64_t start = 0;
  for (int i = 0; i < from.rank(); i++) {
    start += a.starts[i] * from.strides[i];
    from.strides[i] = a.sizes[i] > 1 ? from.strides[i] * a.steps[i] : 0;  // the step of one element may be anything
    from.shape[i] = a.sizes[i];
  }
  copy_view(shifted(from, start), out[0]);
}

Addressing view(const NodeView& node) {
  const auto& a = node.as<SliceAttrs>();
  return {Addressing::part, a.starts, a.steps};
}

int identity(const NodeView& node) {
  const auto& a = node.as<SliceAttrs>();
  for (size_t i = 0; i < a.sizes.size(); i++)
    if (a.sizes[i] > 1 && a.steps[i] != 1) return -1;
  return 0;
}

Attributes compose(const Attributes& first, const Attributes& second) {
  const auto& inner = first.as<SliceAttrs>();
  SliceAttrs a = second.as<SliceAttrs>();
  for (size_t i = 0; i < a.starts.size(); i++) {
    // The step of one element, and the start of none, may be anything: even a product that overflows.
    a.starts[i] = a.sizes[i] > 0 ? inner.starts[i] + a.starts[i] * inner.steps[i] : 0;
    a.steps[i] = a.sizes[i] > 1 ? a.steps[i] * inner.steps[i] : 1;
  }
  return a;
}

}  // namespace

const OpDef slice_op{.name = "slice",
                     .attributes = attributes_of<SliceAttrs>,
                     .infer = infer,
                     .domain = output_domain,
                     .reads = reads,
                     .writes = writes_box,
                     .operations = no_operations,
                     .evaluate = evaluate,
                     .view = view,
                     .order = Order::first,
                     .identity = identity,
                     .picks = always_picks,
                     .compose = compose,
                     .gradient = slice_gradient};

}  // namespace pando
