// Pooling and resampling.
#include <cmath>
#include <limits>
#include <numeric>

#include "import/converters.hpp"
#include "import/windows.hpp"

namespace pando::onnx {
namespace {

std::span<const int64_t> spatial_of(const OnnxNode& n, const Shape& shape) {
  if (shape.size() < 3) n.invalid("its input {} has fewer than 3 dimensions", to_string(shape));
  return std::span(shape).subspan(2);
}

template <PoolKind kind>
Values pool(const OnnxNode& n, Builder& b) {
  PoolAttrs a = pool_attributes(n, spatial_of(n, b.shape(n.in(0))), kind);
  return {b.channels_first(b.add(pool_op, {b.channels_last(n.in(0))}, a))};
}

// The windows of `x` (N C spatial..) side by side: [N, C, out_spatial.., taps]. Only for the positions of maxima.
ValueId gather_windows(Builder& b, ValueId x, const PoolAttrs& a) {
  int spatial = static_cast<int>(a.kernel.size()), rank = spatial + 2;
  std::vector<int64_t> taps = a.kernel;
  Values slices;
  Shape stacked = b.shape(x);
  std::copy(a.out_spatial.begin(), a.out_spatial.end(), stacked.begin() + 2);
  stacked.push_back(1);
  int64_t count = element_count(taps);
  for (int64_t t = 0; t < count; t++) {
    std::vector<int64_t> starts(rank, 0), steps(rank, 1), sizes(stacked.begin(), stacked.end() - 1);
    for (int64_t i = spatial - 1, rest = t; i >= 0; rest /= taps[i], i--) {
      starts[i + 2] = rest % taps[i] * a.dilations[i];
      steps[i + 2] = a.strides[i];
    }
    slices.push_back(b.reshape(b.slice(x, starts, steps, sizes), stacked));
  }
  return b.concat(slices, rank);
}

// Where each maximum stands in x as one flat index. The positions are pooled like the values: a tap is picked by
// arg_reduce, and picks its position from a constant of the windows' positions.
ValueId max_positions(const OnnxNode& n, Builder& b, const PoolAttrs& a) {
  ValueId x = n.in(0);
  int rank = b.rank(x), spatial = rank - 2;
  if (rank + 1 > max_rank || element_count(a.kernel) > 256) n.unsupported("positions for such a window are");
  if (!is_float(b.dtype(x))) n.unsupported("positions of maxima of {} are", name_of(b.dtype(x)));
  PadAttrs pads{{0, 0}, {0, 0}, PadMode::constant, -std::numeric_limits<double>::infinity()};
  for (int i = 0; i < spatial; i++) {
    int64_t reach = (a.out_spatial[i] - 1) * a.strides[i] + (a.kernel[i] - 1) * a.dilations[i] + 1;
    pads.begin.push_back(a.pads_begin[i]);
    pads.end.push_back(std::max<int64_t>(reach - a.pads_begin[i] - b.shape(x)[i + 2], 0));
  }
  ValueId windows = gather_windows(b, b.add(pad_op, {x}, pads), a);
  ValueId best = b.add(arg_reduce_op, {windows}, ArgReduceAttrs{rank, true, false});
  // Flat positions, built dimension by dimension; storage_order 1 counts the spatial dimensions column by column.
  bool column_major = n.flag("storage_order", false);
  ValueId position = none;
  int64_t step = 1;
  std::vector<int> order{0, 1};
  for (int i = 0; i < spatial; i++) order.push_back(column_major ? rank - 1 - i : i + 2);
  for (int k = rank - 1; k >= 0; k--) {
    int d = order[k];
    ValueId term = b.map(MapOp::mul, {b.iota(b.shape(x)[d], rank, d), b.ints({step}, {})});
    position = position == none ? term : b.map(MapOp::add, {position, term});
    step *= b.shape(x)[d];
  }
  pads.value = int64_t{0};
  ValueId all = gather_windows(b, b.add(pad_op, {position}, pads), a);
  ValueId picked = b.add(gather_elements_op, {all, best}, GatherAttrs{rank});
  Shape out = b.shape(picked);
  out.pop_back();
  return b.reshape(picked, out);
}

Values max_pool(const OnnxNode& n, Builder& b) {
  PoolAttrs a = pool_attributes(n, spatial_of(n, b.shape(n.in(0))), PoolKind::max);
  ValueId y = b.channels_first(b.add(pool_op, {b.channels_last(n.in(0))}, a));
  return {y, n.wants(1) ? max_positions(n, b, a) : none};
}

std::vector<int64_t> spatial_axes(const OnnxNode& n, Builder& b) {
  std::vector<int64_t> axes(spatial_of(n, b.shape(n.in(0))).size());
  std::iota(axes.begin(), axes.end(), 2);
  return axes;
}

// Over all spatial dimensions, which stay with extent 1.
template <ReduceKind kind>
Values global_pool(const OnnxNode& n, Builder& b) {
  return {b.reduce(kind, n.in(0), spatial_axes(n, b))};
}

Values global_lp_pool(const OnnxNode& n, Builder& b) {
  auto p = static_cast<double>(n.i("p", 2));
  if (p < 1) n.invalid("p is {}", p);
  ValueId x = b.widen(n.in(0)), power = b.scalar(b.dtype(x), p), root = b.scalar(b.dtype(x), 1 / p);
  ValueId sum = b.reduce(ReduceKind::sum, b.map(MapOp::pow, {b.map(MapOp::abs, {x}), power}), spatial_axes(n, b));
  return {b.cast(b.map(MapOp::pow, {sum, root}), b.dtype(n.in(0)))};
}

// ---- resize ----

ResizeMode resize_mode(const OnnxNode& n) {
  std::string_view mode = n.s("mode", "nearest");
  if (mode == "nearest") return ResizeMode::nearest;
  if (mode == "linear" || mode == "bilinear") return ResizeMode::linear;
  if (mode == "cubic") return ResizeMode::cubic;
  n.invalid("mode '{}'", mode);
}

ResizeCoord resize_coordinates(const OnnxNode& n) {
  std::string_view s = n.s("coordinate_transformation_mode", "half_pixel");
  if (s == "half_pixel") return ResizeCoord::half_pixel;
  if (s == "asymmetric") return ResizeCoord::asymmetric;
  if (s == "align_corners") return ResizeCoord::align_corners;
  if (s == "pytorch_half_pixel") return ResizeCoord::pytorch_half_pixel;
  if (s == "tf_crop_and_resize") return ResizeCoord::tf_crop_and_resize;
  if (s == "half_pixel_symmetric") return ResizeCoord::half_pixel_symmetric;
  if (s == "tf_half_pixel_for_nn") return ResizeCoord::half_pixel;  // see resize_rounding
  n.invalid("coordinate_transformation_mode '{}'", s);
}

ResizeRound resize_rounding(const OnnxNode& n) {
  std::string_view s = n.s("nearest_mode", "round_prefer_floor");
  if (n.s("coordinate_transformation_mode", "") == "tf_half_pixel_for_nn") {
    // (x + 0.5) / scale, half a pixel more than half_pixel: another rounding makes up for it.
    if (s == "round_prefer_floor" && resize_mode(n) == ResizeMode::nearest) return ResizeRound::ceil;
    if (s == "floor" && resize_mode(n) == ResizeMode::nearest) return ResizeRound::prefer_ceil;
    n.unsupported("tf_half_pixel_for_nn with this rounding is");
  }
  if (s == "round_prefer_floor") return ResizeRound::prefer_floor;
  if (s == "round_prefer_ceil") return ResizeRound::prefer_ceil;
  if (s == "floor") return ResizeRound::floor;
  if (s == "ceil") return ResizeRound::ceil;
  n.invalid("nearest_mode '{}'", s);
}

// Extents from scales: floor(in * scale), in exact steps of float as the exporters compute it.
void apply_scales(const OnnxNode& n, const Shape& in, ResizeAttrs& a) {
  if (a.scales.size() != in.size()) n.invalid("{} scales for {} dimensions", a.scales.size(), in.size());
  for (size_t i = 0; i < in.size(); i++) {
    double extent = std::floor(static_cast<double>(in[i]) * static_cast<double>(a.scales[i]));
    // A region of interest changes how much of the input the output covers.
    if (a.coord == ResizeCoord::tf_crop_and_resize && a.roi_begin.size() == in.size())
      extent = std::floor(static_cast<double>(in[i]) * static_cast<double>(a.roi_end[i] - a.roi_begin[i]) *
                          static_cast<double>(a.scales[i]));
    if (!(a.scales[i] > 0) || !(extent >= 0 && extent < 1e12)) n.invalid("scale {}", a.scales[i]);
    a.out.push_back(static_cast<int64_t>(extent));
  }
}

// One value per listed axis becomes one per dimension.
template <class T>
std::vector<T> spread(const OnnxNode& n, const std::vector<T>& given, const std::vector<int64_t>& axes,
                      std::vector<T> all) {
  if (given.size() != axes.size()) n.invalid("{} values for {} axes", given.size(), axes.size());
  for (size_t k = 0; k < axes.size(); k++) all[axes[k]] = given[k];
  return all;
}

// Sizes are exact; scales follow from them. A policy that keeps the aspect ratio takes one scale for all listed axes.
void apply_sizes(const OnnxNode& n, const Shape& in, std::vector<int64_t> sizes, const std::vector<int64_t>& axes,
                 ResizeAttrs& a) {
  std::string_view policy = n.s("keep_aspect_ratio_policy", "stretch");
  if (policy == "not_larger" || policy == "not_smaller") {
    bool larger = policy == "not_smaller";
    double scale = larger ? 0 : std::numeric_limits<double>::infinity();
    for (int64_t d : axes) {
      double s = static_cast<double>(sizes[d]) / static_cast<double>(in[d]);
      scale = larger ? std::max(scale, s) : std::min(scale, s);
    }
    for (int64_t d : axes) sizes[d] = static_cast<int64_t>(std::lround(scale * static_cast<double>(in[d])));
  } else if (policy != "stretch") {
    n.invalid("keep_aspect_ratio_policy '{}'", policy);
  }
  a.scales.resize(in.size(), 1);
  for (size_t i = 0; i < in.size(); i++)
    if (in[i] > 0) a.scales[i] = static_cast<float>(static_cast<double>(sizes[i]) / static_cast<double>(in[i]));
  a.out = std::move(sizes);
}

// Operands are x, roi, scales, sizes; exactly one of the last two says how large the output is. Before opset 11 there
// were only scales, sampled as Upsample does.
Values resize(const OnnxNode& n, Builder& b) {
  const Shape in = b.shape(n.in(0));
  ResizeAttrs a;
  a.mode = resize_mode(n);
  if (n.opset() < 11) {
    a.coord = ResizeCoord::asymmetric;
    a.round = ResizeRound::floor;
    a.scales = n.constant_floats(1, "the list of scales");
    apply_scales(n, in, a);
    return {b.add(resize_op, {n.in(0)}, a)};
  }
  a.coord = resize_coordinates(n);
  a.round = resize_rounding(n);
  a.cubic_a = n.f("cubic_coeff_a", -0.75f);
  a.extrapolation = n.f("extrapolation_value", 0);
  a.exclude_outside = n.flag("exclude_outside", false);
  a.antialias = n.flag("antialias", false);
  std::vector<int64_t> axes = n.ints("axes");
  if (!n.has_attr("axes")) {
    axes.resize(in.size());
    std::iota(axes.begin(), axes.end(), 0);
  }
  for (int64_t& axis : axes) axis = n.axis(axis, static_cast<int>(in.size()));
  if (a.coord == ResizeCoord::tf_crop_and_resize) {
    std::vector<float> roi = n.constant_floats(1, "the region");
    size_t k = axes.size();
    if (roi.size() != 2 * k) n.invalid("roi has {} elements, expected {}", roi.size(), 2 * k);
    std::vector<float> ends(roi.begin() + static_cast<int64_t>(k), roi.end());
    roi.resize(k);
    a.roi_begin = spread(n, roi, axes, std::vector<float>(in.size(), 0));
    a.roi_end = spread(n, ends, axes, std::vector<float>(in.size(), 1));
  }
  bool by_scales = n.has(2) && b.count(n.in(2)) > 0;
  if (by_scales) {
    a.scales = spread(n, n.constant_floats(2, "the list of scales"), axes, std::vector<float>(in.size(), 1));
    apply_scales(n, in, a);
  } else {
    std::vector<int64_t> sizes = spread(n, n.constant_ints(3, "the list of sizes"), axes, in);
    for (int64_t s : sizes)
      if (s < 0) n.invalid("size {}", s);
    apply_sizes(n, in, std::move(sizes), axes, a);
  }
  return {b.add(resize_op, {n.in(0)}, a)};
}

Values upsample(const OnnxNode& n, Builder& b) {
  ResizeAttrs a;
  a.mode = resize_mode(n);
  a.coord = ResizeCoord::asymmetric;
  a.round = ResizeRound::floor;
  a.scales = n.opset() < 9 ? n.floats("scales") : n.constant_floats(1, "the list of scales");
  apply_scales(n, b.shape(n.in(0)), a);
  return {b.add(resize_op, {n.in(0)}, a)};
}

constexpr Converter pool_list[] = {
    {"AveragePool", pool<PoolKind::average>},
    {"GlobalAveragePool", global_pool<ReduceKind::mean>},
    {"GlobalLpPool", global_lp_pool},
    {"GlobalMaxPool", global_pool<ReduceKind::max>},
    {"LpPool", pool<PoolKind::lp>},
    {"MaxPool", max_pool},
    {"Resize", resize},
    {"Upsample", upsample},
};

}  // namespace

std::span<const Converter> pool_converters() { return pool_list; }

}  // namespace pando::onnx
