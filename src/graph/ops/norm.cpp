// norm: layer normalization and its root-mean-square form over the last dimensions.
#include <cmath>

#include "graph/ops/common.hpp"

namespace pando {
namespace {

std::vector<TypeShape> infer(const NodeView& node) {
  const auto& attrs = node.as<NormAttrs>();
  check_inputs(node, 1, 3);
  const Shape& x = node.in_shape(0);
  check_axis(attrs.axis, static_cast<int64_t>(x.size()));
  if (!is_float(node.in(0).dtype))
    fail(ErrorCode::not_supported, "norm of {} is not supported", name_of(node.in(0).dtype));
  for (int i = 1; i < node.inputs(); i++) {
    if (!node.has(i)) continue;
    check_same_dtype(node, i);
    check_shape(node, i, std::span(x).subspan(static_cast<size_t>(attrs.axis)));
  }
  return {{node.in(0).dtype, x}};
}

Domain domain(const NodeView& node) {
  Domain d = domain_of(node.out_shape());
  for (int i = static_cast<int>(node.as<NormAttrs>().axis); i < d.rank; i++) d[i].tag = Tag::whole;
  return d;
}

Access reads(const NodeView& node, int input) { return broadcast_access(node.in_shape(input), node.out_shape()); }
Access writes(const NodeView& node, int) { return identity_access(static_cast<int>(node.out_shape().size())); }

// Sum; difference, square, sum; difference, product, scale, bias.
double operations(const NodeView&, const Box& box) { return 8 * static_cast<double>(box.count()); }

template <class T>
void evaluate_as(const NormAttrs& attrs, std::span<const View> inputs, const View& out) {
  const View& in = inputs[0];
  auto operand = [&](size_t i) { return i < inputs.size() && inputs[i].data ? &inputs[i] : nullptr; };
  const View *scale = operand(1), *bias = operand(2);
  Extents rows = in.shape, inner = in.shape;
  for (int i = 0; i < in.rank(); i++) (i < attrs.axis ? inner : rows)[i] = 1;
  double count = static_cast<double>(element_count(inner.span()));
  auto value = [](const View& v, int64_t at) { return static_cast<double>(widen(load<T>(v.data, at))); };
  Extents scale_strides = scale ? broadcast_strides(*scale, in.rank()) : Extents();
  Extents bias_strides = bias ? broadcast_strides(*bias, in.rank()) : Extents();
  for_each_index(rows, [&](const Extents& row) {
    int64_t from = offset(in, row), to = offset(out, row);
    double mean = 0;
    if (!attrs.rms) {
      ExactSum sum;
      for_each_index(inner, [&](const Extents& i) { sum.add(value(in, from + offset(in, i))); });
      mean = sum.value() / count;
    }
    ExactSum squares;
    for_each_index(inner, [&](const Extents& i) {
      double d = value(in, from + offset(in, i)) - mean;
      squares.add(d * d);
    });
    double factor = 1 / std::sqrt(squares.value() / count + static_cast<double>(attrs.epsilon));
    for_each_index(inner, [&](const Extents& i) {
      double y = (value(in, from + offset(in, i)) - mean) * factor;
      if (scale) y *= value(*scale, offset(scale_strides, i));
      if (bias) y += value(*bias, offset(bias_strides, i));
      store(out.data, to + offset(out, i), convert<T>(y));
    });
  });
}

void evaluate(const Attributes& any, std::span<const View> inputs, std::span<const View> outputs) {
  const auto& attrs = any.as<NormAttrs>();
  dispatch_float(inputs[0].dtype, [&](auto tag) { evaluate_as<decltype(tag)>(attrs, inputs, outputs[0]); });
}

// What is normalized together lies as scale and bias do.
bool keeps_rows(const NodeView& node, std::span<const int64_t> perm) {
  for (auto i = static_cast<size_t>(node.as<NormAttrs>().axis); i < perm.size(); i++)
    if (perm[i] != static_cast<int64_t>(i)) return false;
  return true;
}

}  // namespace

const OpDef norm_op = {.name = "norm",
                       .attributes = attributes_of<NormAttrs>,
                       .infer = infer,
                       .domain = domain,
                       .reads = reads,
                       .writes = writes,
                       .operations = operations,
                       .evaluate = evaluate,
                       .by_box = true,
                       .order = Order::first,
                       .may_reorder = keeps_rows,
                       .gradient = norm_gradient};

}  // namespace pando
