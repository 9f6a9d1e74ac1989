// resize: sampling on another grid, as ONNX's Resize defines it. Each output element is a weighted sum over a box of
// input elements ("taps"), the product of one-dimensional filters.
#include <cmath>

#include "graph/ops/movement.hpp"

namespace pando {
namespace {

constexpr int64_t max_extent = int64_t{1} << 36;  // places are computed with 24 fractional bits

std::vector<TypeShape> infer(const NodeView& node) {
  check_inputs(node, 1, 1);
  const Shape& in = node.in_shape(0);
  const auto& a = node.as<ResizeAttrs>();
  check_per_dimension(a.out.size(), in.size(), "the output shape");
  check_per_dimension(a.scales.size(), in.size(), "scales");
  for (const auto& roi : {a.roi_begin, a.roi_end}) {
    if (!roi.empty() || !a.roi_begin.empty() || a.coord == ResizeCoord::tf_crop_and_resize)
      check_per_dimension(roi.size(), in.size(), "roi");
    for (float r : roi)
      if (!std::isfinite(r)) fail(ErrorCode::invalid_model, "roi holds {}", r);
  }
  Shape out = checked(a.out);
  for (size_t i = 0; i < in.size(); i++) {
    if (out[i] == 0) continue;
    if (std::max(in[i], out[i]) > max_extent)
      fail(ErrorCode::not_supported, "resizing {} to {} elements of a dimension is not supported", in[i], out[i]);
    if (!(a.scales[i] > 0) || !(a.scales[i] <= 1e6f) || !(a.scales[i] >= 1e-6f))
      fail(ErrorCode::invalid_model, "the scale of dimension {} is {}, expected 1e-6 to 1e6", i, a.scales[i]);
    if (a.coord != ResizeCoord::tf_crop_and_resize &&
        std::abs(static_cast<double>(a.scales[i]) * static_cast<double>(in[i]) - static_cast<double>(out[i])) >
            1 + 1e-6 * static_cast<double>(out[i]))
      fail(ErrorCode::invalid_model, "dimension {} of extent {} scaled by {} does not give {}", i, in[i], a.scales[i],
           out[i]);
    if (in[i] == 0 && element_count(out) > 0)
      fail(ErrorCode::invalid_model, "cannot resize {} to {}: nothing to sample", to_string(in), to_string(out));
  }
  if (a.mode != ResizeMode::nearest && node.in(0).dtype == DType::boolean)
    fail(ErrorCode::invalid_model, "booleans cannot be interpolated");
  return {{node.in(0).dtype, out}};
}

// One dimension: x -> slope * x + offset is the place in the input that output index x samples.
struct Sampling {
  int64_t in, out;
  bool identity;
  double slope, offset;
  double stretch;        // of the filter: < 1 widens it against aliasing
  int64_t first, count;  // taps relative to floor(place)
};

// The output length that the scale implies. Exact when the scale came from lengths, despite its rounding.
double scaled_length(double scale, int64_t in, int64_t out) {
  double length = scale * static_cast<double>(in), given = static_cast<double>(out);
  return std::abs(length - given) <= 1e-6 * given ? given : length;
}

Sampling make_axis(const ResizeAttrs& a, int d, int64_t in, int64_t out) {
  Sampling axis{in, out, false, 1, 0, 1, 0, 1};
  double scale = a.scales[d], last = static_cast<double>(in - 1);
  bool crop = a.coord == ResizeCoord::tf_crop_and_resize;
  double length = crop ? static_cast<double>(out) : scaled_length(scale, in, out);
  double begin = crop ? a.roi_begin[d] : 0, end = crop ? a.roi_end[d] : 1;
  axis.identity = out == 0 || (in == out && scale == 1 && begin == 0 && end == 1);
  if (axis.identity) return axis;
  double ratio = length == static_cast<double>(out) ? static_cast<double>(in) / length : 1 / scale;
  switch (a.coord) {
    case ResizeCoord::asymmetric: axis.slope = ratio; break;
    case ResizeCoord::align_corners: axis.slope = length > 1 ? last / (length - 1) : 0; break;
    case ResizeCoord::tf_crop_and_resize:
      axis.slope = length > 1 ? (end - begin) * last / (length - 1) : 0;
      axis.offset = (length > 1 ? begin : (begin + end) / 2) * last;
      break;
    case ResizeCoord::half_pixel_symmetric:  // centres what the rounding of the output length cut off
      axis.offset = static_cast<double>(in) / 2 * (1 - static_cast<double>(out) / length);
      [[fallthrough]];
    default:
      axis.slope = ratio;
      axis.offset += ratio / 2 - 0.5;
      if (a.coord == ResizeCoord::pytorch_half_pixel && out <= 1) axis.slope = axis.offset = 0;
  }
  if (a.mode == ResizeMode::nearest) return axis;
  double radius = a.mode == ResizeMode::linear ? 1 : 2;
  if (a.antialias) axis.stretch = std::min(scale, 1.0);
  axis.first = static_cast<int64_t>(std::floor(-radius / axis.stretch)) + 1;
  axis.count = 2 - 2 * axis.first;
  return axis;
}

// The filters: a tent, and Keys' cubic convolution kernel (IEEE Trans. ASSP 29, 1981) with parameter a.
double filter(const ResizeAttrs& attrs, double t) {
  t = std::abs(t);
  if (attrs.mode == ResizeMode::linear) return std::max(0.0, 1 - t);
  double a = attrs.cubic_a;
  if (t <= 1) return ((a + 2) * t - (a + 3)) * t * t + 1;
  return t < 2 ? ((a * t - 5 * a) * t + 8 * a) * t - 4 * a : 0;
}

// What one output index samples along one dimension.
struct Taps {
  int64_t first = 0, count = 1;
  double place = 0, sum = 1;
  bool outside = false;
};

double raw_weight(const ResizeAttrs& a, const Sampling& axis, const Taps& taps, int64_t i) {
  int64_t index = taps.first + i;
  if (a.exclude_outside && (index < 0 || index >= axis.in)) return 0;
  return filter(a, (static_cast<double>(index) - taps.place) * axis.stretch);
}

int64_t nearest(ResizeRound round, double place) {
  switch (round) {
    case ResizeRound::prefer_floor: return static_cast<int64_t>(std::ceil(place - 0.5));
    case ResizeRound::prefer_ceil: return static_cast<int64_t>(std::floor(place + 0.5));
    case ResizeRound::floor: return static_cast<int64_t>(std::floor(place));
    default: return static_cast<int64_t>(std::ceil(place));
  }
}

// A place this near to a whole or half number is taken for it: scales are rounded to float.
double snapped(double place) {
  double near = std::round(place * 2) / 2;
  return std::abs(place - near) <= 2e-7 * (1 + std::abs(place)) ? near : place;
}

Taps make_taps(const ResizeAttrs& a, const Sampling& axis, int64_t x) {
  Taps taps;
  if (axis.identity) return taps.first = x, taps;
  taps.place = snapped(axis.slope * static_cast<double>(x) + axis.offset);
  taps.outside =
      a.coord == ResizeCoord::tf_crop_and_resize && (taps.place < 0 || taps.place > static_cast<double>(axis.in - 1));
  if (a.mode == ResizeMode::nearest) return taps.first = nearest(a.round, taps.place), taps;
  taps.first = static_cast<int64_t>(std::floor(taps.place)) + axis.first;
  taps.count = axis.count;
  taps.sum = 0;
  for (int64_t i = 0; i < taps.count; i++) taps.sum += raw_weight(a, axis, taps, i);
  if (taps.sum == 0) taps.sum = 1;  // all excluded
  return taps;
}

// Covers the taps of a range of output indices: fixed point with 24 fractional bits, widened by the errors of rounding
// and snapping, and so far that a box whose places are all clamped still holds the border element that it reads.
AxisRule axis_rule(const ResizeAttrs& a, const Sampling& axis, int d) {
  if (axis.identity) return axis_same(d);
  if (axis.slope < 0 || a.coord == ResizeCoord::tf_crop_and_resize) return axis_fixed(0, axis.in);
  constexpr int64_t one = int64_t{1} << 24;
  AxisRule rule = axis_same(d);
  rule.den = one;
  rule.num = std::llround(axis.slope * one);
  double rounding = 0;  // added to the place before it is floored
  if (a.mode == ResizeMode::nearest)
    rounding = a.round == ResizeRound::floor ? 0 : a.round == ResizeRound::ceil ? 1 : 0.5;
  double margin = static_cast<double>(axis.in + axis.out + 2) * 0x1p-21, place = axis.offset + rounding;
  rule.lo = static_cast<int64_t>(std::floor((place - 2 * margin) * one)) + axis.first * one;
  rule.hi = static_cast<int64_t>(std::ceil((place + margin) * one)) + (axis.first + axis.count - 1) * one;
  rule.lo = std::min(rule.lo, (axis.in - 1) * one - (axis.out - 1) * rule.num);
  rule.hi = std::max<int64_t>(rule.hi, 0);
  return rule;
}

Sampling axis_of(const NodeView& node, int d) {
  const Shape& in = node.in_shape(0);
  return make_axis(node.as<ResizeAttrs>(), d, in[d], node.out_shape()[d]);
}

Access reads(const NodeView& node, int) {
  Access access = Access::by_axes();
  for (int d = 0; d < static_cast<int>(node.in_shape(0).size()); d++)
    access.add(axis_rule(node.as<ResizeAttrs>(), axis_of(node, d), d));
  return access;
}

double operations(const NodeView& node, const Box& box) {
  if (node.as<ResizeAttrs>().mode == ResizeMode::nearest) return 0;
  double taps = 1;
  for (int d = 0; d < box.rank; d++) taps *= static_cast<double>(axis_of(node, d).count);
  return 2 * taps * static_cast<double>(box.count());
}

using SamplingList = std::array<Sampling, max_rank>;
using TapsList = std::array<Taps, max_rank>;

double interpolate(const ResizeAttrs& a, const View& from, const SamplingList& axes, const TapsList& taps) {
  Extents counts = from.shape;
  for (int d = 0; d < counts.rank; d++) counts[d] = taps[d].count;
  double sum = 0;
  for_each_index(counts, [&](const Extents& index) {
    double weight = 1;
    int64_t at = 0;
    for (int d = 0; d < counts.rank; d++) {
      if (!axes[d].identity) weight *= raw_weight(a, axes[d], taps[d], index[d]) / taps[d].sum;
      at += std::clamp<int64_t>(taps[d].first + index[d], 0, axes[d].in - 1) * from.strides[d];
    }
    if (weight != 0) sum += weight * load_as<double>(from, at);
  });
  return sum;
}

void evaluate(const Attributes& attrs, std::span<const View> in, std::span<const View> out) {
  const auto& a = attrs.as<ResizeAttrs>();
  const View &from = in[0], &to = out[0];
  SamplingList axes;
  for (int d = 0; d < to.rank(); d++) axes[d] = make_axis(a, d, from.shape[d], to.shape[d]);
  for_each_index(to.shape, [&](const Extents& index) {
    TapsList taps;
    int64_t at = 0, into = offset(to, index);
    bool outside = false;
    for (int d = 0; d < to.rank(); d++) {
      taps[d] = make_taps(a, axes[d], index[d]);
      outside = outside || taps[d].outside;
      at += std::clamp<int64_t>(taps[d].first, 0, axes[d].in - 1) * from.strides[d];
    }
    if (outside) store_as(to, into, a.extrapolation);
    else if (a.mode == ResizeMode::nearest) move_element(from, at, to, into, size_of(from.dtype));
    else store_as(to, into, interpolate(a, from, axes, taps));
  });
}

int identity(const NodeView& node) {
  const auto& a = node.as<ResizeAttrs>();
  return a.roi_begin.empty() && std::all_of(a.scales.begin(), a.scales.end(), [](float s) { return s == 1; }) ? 0 : -1;
}

}  // namespace

ResizeTaps resize_taps(const ResizeAttrs& attrs, int d, int64_t in, int64_t out, int64_t x) {
  const Sampling axis = make_axis(attrs, d, in, out);
  const Taps taps = make_taps(attrs, axis, x);
  const auto clamped = [&](int64_t i) { return std::clamp<int64_t>(taps.first + i, 0, in - 1); };
  const bool single = axis.identity || attrs.mode == ResizeMode::nearest;
  ResizeTaps r{clamped(0), {}, taps.outside};
  r.weight.assign(static_cast<size_t>(clamped(taps.count - 1) - r.first + 1), 0.0);
  // Taps beyond the border add to its weight, in order.
  for (int64_t i = 0; i < taps.count; i++)
    r.weight[static_cast<size_t>(clamped(i) - r.first)] += single ? 1 : raw_weight(attrs, axis, taps, i) / taps.sum;
  return r;
}

const OpDef resize_op{.name = "resize",
                      .attributes = attributes_of<ResizeAttrs>,
                      .infer = infer,
                      .domain = output_domain,
                      .reads = reads,
                      .writes = writes_box,
                      .operations = operations,
                      .evaluate = evaluate,
                      .order = Order::first,
                      .identity = identity,
                      .gradient = resize_gradient};

}  // namespace pando
