// arg_reduce: the position of the largest or smallest element along an axis, which stays with extent 1. NaN comes
// before any number, as in the maximum and minimum themselves.
#include <utility>

#include "graph/ops/movement.hpp"

namespace pando {
namespace {

std::vector<TypeShape> infer(const NodeView& node) {
  check_inputs(node, 1, 1);
  int64_t axis = node.as<ArgReduceAttrs>().axis;
  Shape out = node.in_shape(0);
  check_axis(axis, static_cast<int64_t>(out.size()));
  int64_t extent = std::exchange(out[axis], 1);
  if (extent == 0 && element_count(out) > 0)
    fail(ErrorCode::invalid_model, "dimension {} of {} is empty", axis, to_string(node.in_shape(0)));
  return {{DType::i64, out}};
}

Domain domain(const NodeView& node) { return selection_domain(node, node.as<ArgReduceAttrs>().axis); }

Access reads(const NodeView& node, int) { return selection_reads(node, node.as<ArgReduceAttrs>().axis); }

double operations(const NodeView& node, const Box& box) {
  return static_cast<double>(box.count()) * static_cast<double>(node.in_shape(0)[node.as<ArgReduceAttrs>().axis]);
}

void evaluate(const Attributes& attrs, std::span<const View> in, std::span<const View> out) {
  const auto& a = attrs.as<ArgReduceAttrs>();
  int axis = static_cast<int>(a.axis);
  const View& from = in[0];
  dispatch(from.dtype, [&](auto tag) {
    using T = decltype(tag);
    for_each_index(out[0].shape, [&](const Extents& index) {
      int64_t at = offset(from, index), best = 0;
      auto value = widen(load<T>(from.data, at));
      for (int64_t i = 1; i < from.shape[axis]; i++) {
        auto v = widen(load<T>(from.data, at + i * from.strides[axis]));
        const bool better = value == value && (v != v || (a.max ? v > value : v < value));
        const bool equal = v == value || (v != v && value != value);
        if (!better && !(a.select_last && equal)) continue;
        value = v;
        best = i;
      }
      store(out[0].data, offset(out[0], index), best);
    });
  });
}

}  // namespace

const OpDef arg_reduce_op{.name = "arg_reduce",
                          .attributes = attributes_of<ArgReduceAttrs>,
                          .infer = infer,
                          .domain = domain,
                          .reads = reads,
                          .writes = writes_box,
                          .operations = operations,
                          .evaluate = evaluate,
                          .by_box = true,
                          .order = Order::first};

}  // namespace pando
