// softmax and log-softmax over one dimension.
#include <cmath>
#include <limits>

#include "graph/ops/common.hpp"

namespace pando {
namespace {

std::vector<TypeShape> infer(const NodeView& node) {
  check_inputs(node, 1, 1);
  check_axis(node.as<SoftmaxAttrs>().axis, static_cast<int64_t>(node.in_shape(0).size()));
  if (!is_float(node.in(0).dtype))
    fail(ErrorCode::not_supported, "softmax of {} is not supported", name_of(node.in(0).dtype));
  return {{node.in(0).dtype, node.in_shape(0)}};
}

Domain domain(const NodeView& node) {
  Domain d = domain_of(node.out_shape());
  d[static_cast<int>(node.as<SoftmaxAttrs>().axis)].tag = Tag::whole;
  return d;
}

Access reads(const NodeView& node, int) { return identity_access(static_cast<int>(node.in_shape(0).size())); }
Access writes(const NodeView& node, int) { return identity_access(static_cast<int>(node.in_shape(0).size())); }

// Maximum, difference, exponential, sum, quotient.
double operations(const NodeView&, const Box& box) { return 5 * static_cast<double>(box.count()); }

template <class T>
void evaluate_as(const SoftmaxAttrs& attrs, const View& in, const View& out) {
  int axis = static_cast<int>(attrs.axis);
  int64_t n = in.shape[axis], step = in.strides[axis], out_step = out.strides[axis];
  if (n == 0) return;
  Extents rows = in.shape;
  rows[axis] = 1;
  for_each_index(rows, [&](const Extents& index) {
    int64_t from = offset(in, index), to = offset(out, index);
    auto x = [&](int64_t i) { return static_cast<double>(widen(load<T>(in.data, from + i * step))); };
    double top = -std::numeric_limits<double>::infinity();
    ExactSum exponentials;
    for (int64_t i = 0; i < n; i++) top = std::max(top, x(i));
    for (int64_t i = 0; i < n; i++) exponentials.add(std::exp(x(i) - top));
    double sum = exponentials.value(), log_sum = std::log(sum);
    for (int64_t i = 0; i < n; i++) {
      double y = attrs.log ? x(i) - top - log_sum : std::exp(x(i) - top) / sum;
      store(out.data, to + i * out_step, convert<T>(y));
    }
  });
}

void evaluate(const Attributes& any, std::span<const View> inputs, std::span<const View> outputs) {
  const auto& attrs = any.as<SoftmaxAttrs>();
  dispatch_float(inputs[0].dtype, [&](auto tag) { evaluate_as<decltype(tag)>(attrs, inputs[0], outputs[0]); });
}

}  // namespace

const OpDef softmax_op = {.name = "softmax",
                          .attributes = attributes_of<SoftmaxAttrs>,
                          .infer = infer,
                          .domain = domain,
                          .reads = reads,
                          .writes = writes,
                          .operations = operations,
                          .evaluate = evaluate,
                          .by_box = true,
                          .order = Order::first,
                          .gradient = softmax_gradient,
                          .probabilities = true};

}  // namespace pando
