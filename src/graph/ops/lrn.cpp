// lrn: local response normalization over neighbouring channels, the last dimension.
#include <cmath>

#include "graph/ops/common.hpp"

namespace pando {
namespace {

std::vector<TypeShape> infer(const NodeView& node) {
  check_inputs(node, 1, 1);
  check_rank(node, 0, 1);
  if (!is_float(node.in(0).dtype))
    fail(ErrorCode::not_supported, "lrn of {} is not supported", name_of(node.in(0).dtype));
  int64_t size = node.as<LrnAttrs>().size;
  if (size < 1 || size > INT32_MAX) fail(ErrorCode::invalid_model, "size is {}, expected at least 1", size);
  return {{node.in(0).dtype, node.in_shape(0)}};
}

Domain domain(const NodeView& node) {
  Domain d = domain_of(node.out_shape());
  d[d.rank - 1].tag = Tag::whole;
  return d;
}

Access reads(const NodeView& node, int) { return identity_access(static_cast<int>(node.in_shape(0).size())); }
Access writes(const NodeView& node, int) { return identity_access(static_cast<int>(node.in_shape(0).size())); }

// Square, sum (sliding), scale, bias, power, quotient.
double operations(const NodeView&, const Box& box) { return 6 * static_cast<double>(box.count()); }

template <class T>
void evaluate_as(const LrnAttrs& attrs, const View& in, const View& out) {
  int last = in.rank() - 1;
  int64_t n = in.shape[last], step = in.strides[last], before = (attrs.size - 1) / 2, after = attrs.size / 2;
  double alpha = static_cast<double>(attrs.alpha) / static_cast<double>(attrs.size);
  for_each_row(in.shape, [&](const Extents& index) {
    int64_t from = offset(in, index), to = offset(out, index);
    auto x = [&](int64_t c) { return static_cast<double>(widen(load<T>(in.data, from + c * step))); };
    for (int64_t c = 0; c < n; c++) {
      double sum = 0;
      for (int64_t k = std::max<int64_t>(c - before, 0); k <= std::min(c + after, n - 1); k++) sum += x(k) * x(k);
      double y = x(c) / std::pow(static_cast<double>(attrs.bias) + alpha * sum, static_cast<double>(attrs.beta));
      store(out.data, to + c * out.strides[last], convert<T>(y));
    }
  });
}

void evaluate(const Attributes& any, std::span<const View> inputs, std::span<const View> outputs) {
  const auto& attrs = any.as<LrnAttrs>();
  dispatch_float(inputs[0].dtype, [&](auto tag) { evaluate_as<decltype(tag)>(attrs, inputs[0], outputs[0]); });
}

}  // namespace

const OpDef lrn_op = {.name = "lrn",
                      .attributes = attributes_of<LrnAttrs>,
                      .infer = infer,
                      .domain = domain,
                      .reads = reads,
                      .writes = writes,
                      .operations = operations,
                      .evaluate = evaluate,
                      .by_box = true,
                      .gradient = lrn_gradient};

}  // namespace pando
