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

// Deviations from the mean over `axes`, and sqrt(variance + epsilon). Of 16-bit floats in float32: their squares do not
// fit.
struct Standard {
  ValueId centred, mean, variance;
  ValueId deviation;
};
Standard standardize(Builder& b, ValueId x, const std::vector<int64_t>& axes, float epsilon) {
  Standard s;
  x = b.widen(x);
  s.mean = b.reduce(ReduceKind::mean, x, axes);
  s.centred = b.map(MapOp::sub, {x, s.mean});
  s.variance = b.reduce(ReduceKind::mean, b.map(MapOp::mul, {s.centred, s.centred}), axes);
  s.deviation = b.map(MapOp::sqrt, {b.map(MapOp::add_imm, {s.variance}, double{epsilon})});
  return s;
}

// The last steps of a normalization of N C ...: x * scale + shift per channel, in x's type, and the result as `type`.
ValueId scale_shift(const OnnxNode& n, Builder& b, ValueId x, ValueId scale, ValueId shift, DType type) {
  ValueId y = b.map(MapOp::mul, {x, per_channel(n, b, scale, b.rank(x), b.dtype(x))});
  return b.cast(b.map(MapOp::add, {y, per_channel(n, b, shift, b.rank(x), b.dtype(x))}), type);
}

// With known statistics both scale and shift are folded to constants here, and the optimizer folds those into the
// weights of the convolution before.
Values batch_norm(const OnnxNode& n, Builder& b) {
  ValueId x = b.widen(n.in(0));
  int rank = b.rank(x);
  float epsilon = n.f("epsilon", 1e-5f);
  if (n.opset() < 9 && !n.flag("spatial", true)) n.unsupported("statistics per element (spatial = 0) are");
  ValueId mean = b.widen(n.in(3)), variance = b.widen(n.in(4));
  Values outputs(1);
  if (n.opset() >= 14 && n.flag("training_mode", false)) {
    // The batch's own statistics; the running ones move towards them.
    std::vector<int64_t> axes = axes_from(1, rank);
    if (rank < 2) n.invalid("its input has {} dimensions", rank);
    axes[0] = 0;  // all but the channels
    Standard s = standardize(b, x, axes, epsilon);
    float momentum = n.f("momentum", 0.9f);
    Shape channels{b.shape(x)[1]};
    auto running = [&](int i, ValueId old, ValueId now) {
      ValueId kept = b.map(MapOp::mul_imm, {old}, double{momentum});
      ValueId moved = b.map(MapOp::mul_imm, {b.cast(now, b.dtype(old))}, double{1 - momentum});
      return b.cast(b.map(MapOp::add, {kept, moved}), b.dtype(n.in(i)));
    };
    ValueId batch_mean = b.reshape(s.mean, channels), batch_variance = b.reshape(s.variance, channels);
    outputs.push_back(running(3, mean, batch_mean));
    outputs.push_back(running(4, variance, batch_variance));
    mean = batch_mean;
    variance = batch_variance;
  }
  ValueId deviation = b.map(MapOp::sqrt, {b.map(MapOp::add_imm, {variance}, double{epsilon})});
  ValueId scale = b.map(MapOp::div, {b.cast(n.in(1), b.dtype(variance)), deviation});
  ValueId shift = b.map(
      MapOp::sub, {b.cast(n.in(2), b.dtype(variance)), b.map(MapOp::mul, {b.cast(mean, b.dtype(variance)), scale})});
  outputs[0] = scale_shift(n, b, x, scale, shift, b.dtype(n.in(0)));
  return outputs;
}

// Statistics per image and channel. Reductions and maps rather than `norm`, since the reduction is its own operator
// that other tiles can follow.
Values instance_norm(const OnnxNode& n, Builder& b) {
  ValueId x = n.in(0);
  int rank = b.rank(x);
  if (rank < 3) n.invalid("its input has {} dimensions, expected at least 3", rank);
  Standard s = standardize(b, x, axes_from(2, rank), n.f("epsilon", 1e-5f));
  return {scale_shift(n, b, b.map(MapOp::div, {s.centred, s.deviation}), n.in(1), n.in(2), b.dtype(x))};
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
  if (n.opset() >= 21) y = b.reshape(y, shape);
  return {b.reshape(scale_shift(n, b, y, n.in(1), n.in(2), b.dtype(x)), shape)};
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

// The statistics are outputs of their own in training graphs only: computed apart when somebody reads them. Their type
// is the attribute stash_type.
Values layer_norm(const OnnxNode& n, Builder& b) {
  ValueId x = n.in(0);
  int axis = n.axis(n.i("axis", -1), b.rank(x));
  float epsilon = n.f("epsilon", 1e-5f);
  ValueId y = b.add(norm_op, {x, norm_operand(n, b, 1, x, axis), norm_operand(n, b, 2, x, axis)},
                    NormAttrs{axis, epsilon, false});
  if (!n.wants(1) && !n.wants(2)) return {y};
  Standard s = standardize(b, x, axes_from(axis, b.rank(x)), epsilon);
  DType stash = to_dtype(static_cast<int32_t>(n.i("stash_type", 1)), b.node());
  return {y, b.cast(s.mean, stash), b.cast(b.map(MapOp::reciprocal, {s.deviation}), stash)};
}

// The result has the type of the scale; what is computed has the wider one.
Values rms_norm(const OnnxNode& n, Builder& b) {
  ValueId x = n.in(0);
  DType type = b.dtype(n.has(1) ? n.in(1) : x);
  if (type != b.dtype(x)) x = size_of(type) > size_of(b.dtype(x)) ? b.cast(x, type) : b.widen(x);
  int axis = n.axis(n.i("axis", -1), b.rank(x));
  NormAttrs attrs{axis, n.f("epsilon", 1e-5f), true};
  return {b.cast(b.add(norm_op, {x, norm_operand(n, b, 1, x, axis), none}, attrs), type)};
}

// The standard adds 1e-9 to the deviation, not to the variance.
Values mean_variance_norm(const OnnxNode& n, Builder& b) {
  ValueId x = n.in(0);
  std::vector<int64_t> axes = n.has_attr("axes") ? n.ints("axes") : std::vector<int64_t>{0, 2, 3};
  Standard s = standardize(b, x, n.axes(axes, b.rank(x)), 0);
  return {b.cast(b.map(MapOp::div, {s.centred, b.map(MapOp::add_imm, {s.deviation}, 1e-9)}), b.dtype(x))};
}

Values lp_norm(const OnnxNode& n, Builder& b) {
  ValueId x = b.widen(n.in(0));
  int axis = n.axis(n.i("axis", -1), b.rank(x));
  int64_t p = n.i("p", 2);
  if (p != 1 && p != 2) n.invalid("p is {}, expected 1 or 2", p);
  ValueId power = p == 1 ? b.map(MapOp::abs, {x}) : b.map(MapOp::mul, {x, x});
  ValueId sum = b.reduce(ReduceKind::sum, power, {axis});
  return {b.cast(b.map(MapOp::div, {x, p == 1 ? sum : b.map(MapOp::sqrt, {sum})}), b.dtype(n.in(0)))};
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
