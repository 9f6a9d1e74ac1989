// Normalizations: as per-channel scale and shift where statistics are known, as reductions and maps otherwise.
#include <numeric>

#include "graph/ops/common.hpp"
#include "import/converters.hpp"

namespace pando::onnx {
namespace {

std::vector<int64_t> axes_from(int first, int rank) {
  std::vector<int64_t> axes(std::max(rank - first, 0));
  std::iota(axes.begin(), axes.end(), first);
  return axes;
}

// A vector of one element per channel, shaped so that it broadcasts to N C ... of `rank` dimensions.
ValueId per_channel(const OnnxNode& n, Builder& b, ValueId v, int rank, DType type) {
  if (b.rank(v) != 1) n.invalid("per-channel values of shape {}, expected a vector", to_string(b.shape(v)));
  Shape shape(std::max(rank - 1, 1), 1);
  shape[0] = b.count(v);
  return b.reshape(b.cast(v, type), std::move(shape));
}

// Deviations from the mean over `axes`, and 1 / sqrt(variance + epsilon).
struct Standard {
  ValueId centred, mean, variance;
  ValueId deviation;  // sqrt(variance + epsilon)
};
Standard standardize(Builder& b, ValueId x, const std::vector<int64_t>& axes, float epsilon) {
  Standard s;
  s.mean = b.reduce(ReduceKind::mean, x, axes);
  s.centred = b.map(MapOp::sub, {x, s.mean});
  s.variance = b.reduce(ReduceKind::mean, b.map(MapOp::mul, {s.centred, s.centred}), axes);
  s.deviation = b.map(MapOp::sqrt, {b.map(MapOp::add_imm, {s.variance}, epsilon)});
  return s;
}

// With known statistics both scale and shift are folded to constants here, and the optimizer folds those into the
// weights of the convolution before.
Values batch_norm(const OnnxNode& n, Builder& b) {
  ValueId x = n.in(0);
  int rank = b.rank(x);
  float epsilon = n.f("epsilon", 1e-5f);
  if (n.opset() < 9 && !n.flag("spatial", true)) n.unsupported("statistics per element (spatial = 0) are");
  ValueId mean = n.in(3), variance = n.in(4);
  Values outputs(1);
  if (n.opset() >= 14 && n.flag("training_mode", false)) {
    // The batch's own statistics; the running ones move towards them.
    std::vector<int64_t> axes = axes_from(1, rank);
    if (rank < 2) n.invalid("its input has {} dimensions", rank);
    axes[0] = 0;  // all but the channels
    Standard s = standardize(b, x, axes, epsilon);
    float momentum = n.f("momentum", 0.9f);
    Shape channels{b.shape(x)[1]};
    auto running = [&](ValueId old, ValueId now) {
      return b.map(MapOp::add, {b.map(MapOp::mul_imm, {old}, momentum), b.map(MapOp::mul_imm, {now}, 1 - momentum)});
    };
    ValueId batch_mean = b.reshape(s.mean, channels), batch_variance = b.reshape(s.variance, channels);
    outputs.push_back(running(mean, batch_mean));
    outputs.push_back(running(variance, batch_variance));
    mean = batch_mean;
    variance = batch_variance;
  }
  ValueId deviation = b.map(MapOp::sqrt, {b.map(MapOp::add_imm, {variance}, epsilon)});
  ValueId scale = b.map(MapOp::div, {b.cast(n.in(1), b.dtype(variance)), deviation});
  ValueId shift = b.map(MapOp::sub, {b.cast(n.in(2), b.dtype(variance)), b.map(MapOp::mul, {mean, scale})});
  outputs[0] = b.map(MapOp::add, {b.map(MapOp::mul, {x, per_channel(n, b, scale, rank, b.dtype(x))}),
                                  per_channel(n, b, shift, rank, b.dtype(x))});
  return outputs;
}

// Statistics per image and channel. Reductions and maps rather than `norm`, since the reduction is its own operator
// that other tiles can follow.
Values instance_norm(const OnnxNode& n, Builder& b) {
  ValueId x = n.in(0);
  int rank = b.rank(x);
  if (rank < 3) n.invalid("its input has {} dimensions, expected at least 3", rank);
  Standard s = standardize(b, x, axes_from(2, rank), n.f("epsilon", 1e-5f));
  ValueId scaled =
      b.map(MapOp::mul, {b.map(MapOp::div, {s.centred, s.deviation}), per_channel(n, b, n.in(1), rank, b.dtype(x))});
  return {b.map(MapOp::add, {scaled, per_channel(n, b, n.in(2), rank, b.dtype(x))})};
}

// Opset 18 has a scale per group, 21 one per channel.
Values group_norm(const OnnxNode& n, Builder& b) {
  ValueId x = n.in(0);
  const Shape shape = b.shape(x);
  int rank = b.rank(x);
  int64_t groups = n.i("num_groups", 0);
  if (rank < 2 || groups < 1 || shape[1] % groups) n.invalid("{} groups do not divide {}", groups, to_string(shape));
  ValueId grouped = b.reshape(x, {shape[0], groups, element_count(std::span(shape).subspan(1)) / groups});
  Standard s = standardize(b, grouped, {2}, n.f("epsilon", 1e-5f));
  ValueId y = b.map(MapOp::div, {s.centred, s.deviation});
  bool by_group = n.opset() < 21;
  if (!by_group) y = b.reshape(y, shape);
  int to_rank = by_group ? 3 : rank;
  y = b.map(MapOp::mul, {y, per_channel(n, b, n.in(1), to_rank, b.dtype(x))});
  y = b.map(MapOp::add, {y, per_channel(n, b, n.in(2), to_rank, b.dtype(x))});
  return {b.reshape(y, shape)};
}

// The scale or bias of `norm` has exactly the normalized dimensions; ONNX lets it broadcast to them.
ValueId norm_operand(const OnnxNode& n, Builder& b, int i, ValueId x, int axis) {
  if (!n.has(i)) return none;
  Shape shape(b.shape(x).begin() + axis, b.shape(x).end());
  if (broadcast_shapes(b.shape(n.in(i)), shape) != shape)
    n.invalid("input {} has shape {}, expected {}", i, to_string(b.shape(n.in(i))), to_string(shape));
  ValueId v = n.in(i);
  if (b.rank(v) > static_cast<int>(shape.size())) {
    Shape s = b.shape(v);
    s.erase(s.begin(), s.end() - static_cast<int64_t>(shape.size()));
    v = b.reshape(v, s);
  }
  return b.expand(b.cast(v, b.dtype(x)), shape);
}

// The statistics are outputs of their own in training graphs only: computed apart when somebody reads them.
Values layer_norm(const OnnxNode& n, Builder& b) {
  ValueId x = n.in(0);
  int axis = n.axis(n.i("axis", -1), b.rank(x));
  float epsilon = n.f("epsilon", 1e-5f);
  ValueId y = b.add(norm_op, {x, norm_operand(n, b, 1, x, axis), norm_operand(n, b, 2, x, axis)},
                    NormAttrs{axis, epsilon, false});
  if (!n.wants(1) && !n.wants(2)) return {y};
  Standard s = standardize(b, x, axes_from(axis, b.rank(x)), epsilon);
  return {y, s.mean, b.map(MapOp::reciprocal, {s.deviation})};
}

Values rms_norm(const OnnxNode& n, Builder& b) {
  ValueId x = n.in(0);
  int axis = n.axis(n.i("axis", -1), b.rank(x));
  return {b.add(norm_op, {x, norm_operand(n, b, 1, x, axis), none}, NormAttrs{axis, n.f("epsilon", 1e-5f), true})};
}

// The standard adds 1e-9 to the deviation, not to the variance.
Values mean_variance_norm(const OnnxNode& n, Builder& b) {
  ValueId x = n.in(0);
  std::vector<int64_t> axes = n.has_attr("axes") ? n.ints("axes") : std::vector<int64_t>{0, 2, 3};
  Standard s = standardize(b, x, n.axes(axes, b.rank(x)), 0);
  return {b.map(MapOp::div, {s.centred, b.map(MapOp::add_imm, {s.deviation}, 1e-9f)})};
}

Values lp_norm(const OnnxNode& n, Builder& b) {
  ValueId x = n.in(0);
  int axis = n.axis(n.i("axis", -1), b.rank(x));
  int64_t p = n.i("p", 2);
  if (p != 1 && p != 2) n.invalid("p is {}, expected 1 or 2", p);
  ValueId power = p == 1 ? b.map(MapOp::abs, {x}) : b.map(MapOp::mul, {x, x});
  ValueId sum = b.reduce(ReduceKind::sum, power, {axis});
  return {b.map(MapOp::div, {x, p == 1 ? sum : b.map(MapOp::sqrt, {sum})})};
}

Values lrn(const OnnxNode& n, Builder& b) {
  ValueId x = n.in(0);
  if (b.rank(x) < 2) n.invalid("its input has {} dimensions", b.rank(x));
  LrnAttrs a{n.i("size", 0), n.f("alpha", 1e-4f), n.f("beta", 0.75f), n.f("bias", 1)};
  if (a.size < 1 || a.size > INT32_MAX) n.invalid("size is {}", a.size);
  return {b.channels_first(b.add(lrn_op, {b.channels_last(x)}, a))};
}

// Before opset 13 everything from `axis` on is one row.
template <bool log>
Values softmax(const OnnxNode& n, Builder& b) {
  ValueId x = n.in(0);
  const Shape shape = b.shape(x);
  int rank = b.rank(x);
  bool old = n.opset() < 13;
  int axis = n.axis(n.i("axis", old ? 1 : -1), rank, old);
  if (!old || axis == rank - 1) return {b.add(softmax_op, {x}, SoftmaxAttrs{axis, log})};
  Shape rows{element_count(std::span(shape).first(axis)), element_count(std::span(shape).subspan(axis))};
  return {b.reshape(b.add(softmax_op, {b.reshape(x, rows)}, SoftmaxAttrs{1, log}), shape)};
}

constexpr Converter norm_list[] = {
    {"BatchNormalization", batch_norm},
    {"GroupNormalization", group_norm},
    {"InstanceNormalization", instance_norm},
    {"LRN", lrn},
    {"LayerNormalization", layer_norm},
    {"LogSoftmax", softmax<true>},
    {"LpNormalization", lp_norm},
    {"MeanVarianceNormalization", mean_variance_norm},
    {"RMSNormalization", rms_norm},
    {"Softmax", softmax<false>},
};

}  // namespace

std::span<const Converter> norm_converters() { return norm_list; }

}  // namespace pando::onnx
