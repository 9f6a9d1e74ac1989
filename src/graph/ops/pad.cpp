// pad: a border of a constant, the nearest element, the mirrored or the repeated operand; negative widths crop.
#include "graph/ops/movement.hpp"

namespace pando {
namespace {

std::vector<TypeShape> infer(const NodeView& node) {
  check_inputs(node, 1, 1);
  const auto& a = node.as<PadAttrs>();
  Shape out = node.in_shape(0);
  check_per_dimension(a.begin.size(), out.size(), "pads (begin)");
  check_per_dimension(a.end.size(), out.size(), "pads (end)");
  for (size_t i = 0; i < out.size(); i++) {
    int64_t extent = out[i];
    if (a.begin[i] < -extent || a.end[i] < -extent || __builtin_add_overflow(out[i], a.begin[i], &out[i]) ||
        __builtin_add_overflow(out[i], a.end[i], &out[i]) || out[i] < 0)
      fail(ErrorCode::invalid_model, "pads {} and {} do not fit dimension {} of extent {}", a.begin[i], a.end[i], i,
           extent);
    if (extent == 0 && out[i] > 0 && a.mode != PadMode::constant)
      fail(ErrorCode::invalid_model, "dimension {} has no elements to pad with", i);
  }
  return {{node.in(0).dtype, checked(out)}};
}

// The input index that fills index `i` (0 = the operand's first element) outside 0..extent-1.
int64_t source_index(PadMode mode, int64_t i, int64_t extent) {
  if (i >= 0 && i < extent) return i;
  if (mode == PadMode::edge) return std::clamp<int64_t>(i, 0, extent - 1);
  int64_t period = mode == PadMode::wrap ? extent : std::max<int64_t>(2 * (extent - 1), 1);
  i = (i % period + period) % period;
  return i < extent ? i : period - i;
}

// Rules are monotone, so a border's reads are covered by widening the window by the width of the border: at the first
// output index it must reach the source of the whole border, at the last one likewise.
AxisRule axis_rule(const PadAttrs& a, int i, int64_t extent) {
  int64_t begin = std::max<int64_t>(a.begin[i], 0), end = std::max<int64_t>(a.end[i], 0);
  int64_t lo = -a.begin[i], hi = -a.begin[i];
  if (a.mode == PadMode::edge) {
    lo -= end;
    hi += begin;
  } else if (a.mode == PadMode::reflect && begin < extent && end < extent) {
    lo -= 2 * end;
    hi += 2 * begin;
  } else if (a.mode != PadMode::constant && (begin > 0 || end > 0)) {
    return axis_fixed(0, extent);  // from the other end, or mirrored more than once
  }
  return axis_window(i, 1, lo, hi);
}

Access reads(const NodeView& node, int) {
  Access access = Access::by_axes();
  const Shape& in = node.in_shape(0);
  for (size_t i = 0; i < in.size(); i++) access.add(axis_rule(node.as<PadAttrs>(), static_cast<int>(i), in[i]));
  return access;
}

void evaluate(const Attributes& attrs, std::span<const View> in, std::span<const View> out) {
  const auto& a = attrs.as<PadAttrs>();
  const View &from = in[0], &to = out[0];
  size_t size = size_of(from.dtype);
  for_each_index(to.shape, [&](const Extents& index) {
    int64_t at = 0, into = offset(to, index);
    bool inside = true;
    for (int d = 0; d < to.rank(); d++) {
      int64_t i = index[d] - a.begin[d];
      inside = inside && i >= 0 && i < from.shape[d];
      if (!inside && a.mode == PadMode::constant) break;
      at += source_index(a.mode, i, from.shape[d]) * from.strides[d];
    }
    if (!inside && a.mode == PadMode::constant) store_as(to, into, a.value);
    else move_element(from, at, to, into, size);
  });
}

int identity(const NodeView& node) {
  const auto& a = node.as<PadAttrs>();
  const auto zero = [](int64_t i) { return i == 0; };
  return std::all_of(a.begin.begin(), a.begin.end(), zero) && std::all_of(a.end.begin(), a.end.end(), zero) ? 0 : -1;
}

bool picks(const NodeView& node) { return node.as<PadAttrs>().mode != PadMode::constant; }

}  // namespace

const OpDef pad_op{.name = "pad",
                   .attributes = attributes_of<PadAttrs>,
                   .infer = infer,
                   .domain = output_domain,
                   .reads = reads,
                   .writes = writes_box,
                   .operations = no_operations,
                   .evaluate = evaluate,
                   .order = Order::first,
                   .identity = identity,
                   .picks = picks,
                   .gradient = pad_gradient};

}  // namespace pando
