// Losses of classifiers: the (weighted) negative log-probability of the target class.
#include <numeric>

#include "import/converters.hpp"

namespace pando::onnx {
namespace {

// `log_probabilities` [N, C, ...], `target` [N, ...] of class indices; weights [C] or none.
ValueId negative_log_likelihood(const OnnxNode& n, Builder& b, ValueId log_probabilities, ValueId target,
                                ValueId weights) {
  const Shape shape = b.shape(log_probabilities);
  Shape target_shape = b.shape(target);
  Shape expected = shape;
  if (shape.size() >= 2) expected.erase(expected.begin() + 1);
  if (shape.size() < 2 || target_shape != expected)
    n.invalid("scores {} and labels {}", to_string(shape), to_string(target_shape));
  if (weights != none && b.shape(weights) != Shape{shape[1]})
    n.invalid("scores {} and weights {}", to_string(shape), to_string(b.shape(weights)));
  DType type = b.dtype(log_probabilities);
  Shape column = target_shape;
  column.insert(column.begin() + 1, 1);
  target = b.cast(target, DType::i64);
  ValueId ignored = none;  // where the label says that the element does not count
  if (n.has_attr("ignore_index")) {
    ignored = b.map(MapOp::equal, {target, b.ints({n.i("ignore_index", 0)}, {})});
    target = b.map(MapOp::where, {ignored, b.ints({0}, {}), target});
  }
  ValueId picked = b.add(gather_elements_op, {log_probabilities, b.reshape(target, column)}, GatherAttrs{1});
  ValueId loss = b.widen(b.map(MapOp::neg, {b.reshape(picked, target_shape)}));
  ValueId weight = none;
  if (weights != none) weight = b.widen(b.gather(weights, target, 0));
  if (ignored != none) {
    if (weight == none) weight = b.expand(b.scalar(b.dtype(loss), 1), target_shape);
    weight = b.map(MapOp::where, {ignored, b.scalar(b.dtype(loss), 0), weight});
  }
  if (weight != none) loss = b.map(MapOp::mul, {loss, weight});
  std::string_view reduction = n.s("reduction", "mean");
  if (reduction == "none") return b.cast(loss, type);
  if (reduction != "mean" && reduction != "sum") n.invalid("reduction '{}'", reduction);
  std::vector<int64_t> axes(target_shape.size());
  std::iota(axes.begin(), axes.end(), 0);
  if (reduction == "mean" && weight == none) return b.cast(b.reduce(ReduceKind::mean, loss, axes, false), type);
  ValueId sum = b.reduce(ReduceKind::sum, loss, axes, false);
  if (reduction == "sum") return b.cast(sum, type);
  return b.cast(b.map(MapOp::div, {sum, b.reduce(ReduceKind::sum, weight, axes, false)}), type);
}

Values nll_loss(const OnnxNode& n, Builder& b) {
  return {negative_log_likelihood(n, b, n.in(0), n.in(1), n.optional(2))};
}

// The log-probabilities are the optional second output.
Values softmax_cross_entropy(const OnnxNode& n, Builder& b) {
  if (b.rank(n.in(0)) < 2) n.invalid("scores {}", to_string(b.shape(n.in(0))));
  ValueId log_probabilities = b.add(softmax_op, {n.in(0)}, SoftmaxAttrs{1, true});
  return {negative_log_likelihood(n, b, log_probabilities, n.in(1), n.optional(2)), log_probabilities};
}

constexpr Converter loss_list[] = {
    {"NegativeLogLikelihoodLoss", nll_loss},
    {"SoftmaxCrossEntropyLoss", softmax_cross_entropy},
};

}  // namespace

std::span<const Converter> loss_converters() { return loss_list; }

}  // namespace pando::onnx
