// Operators that only move elements, by rules that are known at import.
#include <algorithm>
#include <limits>
#include <numeric>

#include "graph/ops/common.hpp"
#include "import/converters.hpp"

namespace pando::onnx {
namespace {

Values transpose(const OnnxNode& n, Builder& b) {
  int rank = b.rank(n.in(0));
  std::vector<int64_t> perm = n.ints("perm");
  if (!n.has_attr("perm")) {
    perm.resize(rank);
    std::iota(perm.rbegin(), perm.rend(), 0);
  }
  std::vector<int64_t> sorted = n.axes(perm, rank);
  if (sorted.size() != static_cast<size_t>(rank)) n.invalid("perm {} for {} dimensions", to_string(perm), rank);
  for (int64_t& axis : perm) axis = n.axis(axis, rank);
  return {b.transpose(n.in(0), perm)};
}

Values concat(const OnnxNode& n, Builder& b) {
  if (!n.has_attr("axis")) n.invalid("attribute 'axis' is missing");
  const Values& inputs = n.all_inputs();
  return {b.concat(inputs, n.axis(n.i("axis", 0), b.rank(inputs[0])))};
}

// The sizes of the parts: given, or equal with a smaller last one.
std::vector<int64_t> split_sizes(const OnnxNode& n, int64_t extent) {
  bool by_input = n.opset() >= 13 && n.has(1);
  if (by_input) return n.constant_ints(1, "the sizes");
  if (n.opset() < 13 && n.has_attr("split")) return n.ints("split");
  int64_t parts = n.opset() >= 18 ? n.i("num_outputs", n.outputs()) : n.outputs();
  if (parts < 1 || parts > n.outputs()) n.invalid("{} parts for {} outputs", parts, n.outputs());
  int64_t size = (extent + parts - 1) / parts;
  std::vector<int64_t> sizes(parts, size);
  sizes.back() = extent - size * (parts - 1);
  return sizes;
}

// Slices of one value: addresses, where storage allows, not copies.
Values split(const OnnxNode& n, Builder& b) {
  ValueId x = n.in(0);
  int axis = n.axis(n.i("axis", 0), b.rank(x));
  int64_t extent = b.shape(x)[axis], start = 0;
  Values parts;
  for (int64_t size : split_sizes(n, extent)) {
    if (size < 0 || size > extent - start) n.invalid("its parts do not fit {} elements", extent);
    parts.push_back(b.slice_axis(x, axis, start, size));
    start += size;
  }
  if (start != extent) n.invalid("its parts hold {} of {} elements", start, extent);
  return parts;
}

// start, end and step of one axis, clamped as NumPy does.
void slice_axis(const OnnxNode& n, int64_t extent, int64_t start, int64_t end, int64_t step, int axis, SliceAttrs& a) {
  if (step == 0) n.invalid("the step of axis {} is 0", axis);
  // Negative positions count from the end, but the most negative ones must not overflow.
  auto from_end = [&](int64_t i) { return i < 0 ? std::max<int64_t>(i, -extent - 1) + extent : i; };
  start = std::clamp<int64_t>(from_end(start), step > 0 ? 0 : -1, step > 0 ? extent : extent - 1);
  end = std::clamp<int64_t>(from_end(end), step > 0 ? 0 : -1, step > 0 ? extent : extent - 1);
  step = std::clamp<int64_t>(step, -extent - 1, extent + 1);  // one element either way
  int64_t distance = step > 0 ? end - start : start - end, stride = std::abs(step);
  a.sizes[axis] = distance > 0 ? (distance - 1) / stride + 1 : 0;
  a.starts[axis] = a.sizes[axis] > 0 ? start : 0;
  a.steps[axis] = step;
}

Values slice(const OnnxNode& n, Builder& b) {
  ValueId x = n.in(0);
  int rank = b.rank(x);
  std::vector<int64_t> starts, ends, axes, steps;
  bool have_axes;
  if (n.opset() < 10) {
    starts = n.ints("starts");
    ends = n.ints("ends");
    axes = n.ints("axes");
    have_axes = n.has_attr("axes");
  } else {
    starts = n.constant_ints(1, "the list of starts");
    ends = n.constant_ints(2, "the list of ends");
    have_axes = n.has(3);
    if (have_axes) axes = n.constant_ints(3, "the list of axes");
    if (n.has(4)) steps = n.constant_ints(4, "the list of steps");
  }
  if (!have_axes) {
    axes.resize(starts.size());
    std::iota(axes.begin(), axes.end(), 0);
  }
  if (steps.empty()) steps.assign(starts.size(), 1);
  if (ends.size() != starts.size() || axes.size() != starts.size() || steps.size() != starts.size())
    n.invalid("starts, ends, axes and steps have {}, {}, {} and {} elements", starts.size(), ends.size(), axes.size(),
              steps.size());
  n.axes(axes, rank);
  SliceAttrs a{std::vector<int64_t>(rank, 0), std::vector<int64_t>(rank, 1), b.shape(x)};
  for (size_t k = 0; k < axes.size(); k++) {
    int axis = n.axis(axes[k], rank);
    slice_axis(n, b.shape(x)[axis], starts[k], ends[k], steps[k], axis, a);
  }
  return {b.slice(x, a.starts, a.steps, a.sizes)};
}

// One axis at a time: [outer, n, inner] is seen as [outer, 1, n * inner], whose middle dimension expands.
Values tile(const OnnxNode& n, Builder& b) {
  ValueId x = n.in(0);
  Shape shape = b.shape(x);
  std::vector<int64_t> repeats;
  if (n.opset() < 6) n.unsupported("this version is");
  repeats = n.constant_ints(1, "the list of repeats");
  if (repeats.size() != shape.size()) n.invalid("{} repeats for {} dimensions", repeats.size(), shape.size());
  for (size_t i = 0; i < shape.size(); i++) {
    if (repeats[i] == 1) continue;
    if (repeats[i] < 0 || repeats[i] > (int64_t{1} << 40)) n.invalid("{} repeats", repeats[i]);
    int64_t outer = element_count(std::span(shape).first(i)), inner = element_count(std::span(shape).subspan(i));
    x = b.expand(b.reshape(x, {outer, 1, inner}), {outer, repeats[i], inner});
    shape[i] *= repeats[i];
    x = b.reshape(x, shape);
  }
  return {x};
}

// The one element of a tensor.
Number number_of(const Tensor& t) {
  return dispatch(t.dtype, [&](auto tag) -> Number {
    using T = decltype(tag);
    auto value = load<T>(t.data, 0);
    if constexpr (std::is_same_v<T, uint64_t>) return value;
    else if constexpr (std::is_integral_v<T>) return static_cast<int64_t>(value);
    else return static_cast<double>(widen(value));
  });
}

PadMode pad_mode(const OnnxNode& n) {
  std::string_view mode = n.s("mode", "constant");
  if (mode == "constant") return PadMode::constant;
  if (mode == "reflect") return PadMode::reflect;
  if (mode == "edge") return PadMode::edge;
  if (mode == "wrap") return PadMode::wrap;
  n.invalid("mode '{}'", mode);
}

// Pads were attributes before opset 11; axes can be listed from opset 18.
Values pad(const OnnxNode& n, Builder& b) {
  auto rank = static_cast<size_t>(b.rank(n.in(0)));
  PadAttrs a;
  a.mode = pad_mode(n);
  std::vector<int64_t> pads, axes(rank);
  std::iota(axes.begin(), axes.end(), 0);
  if (n.opset() < 11) {
    pads = n.ints("pads");
    a.value = double{n.f("value", 0)};
  } else {
    pads = n.constant_ints(1, "the list of pads");
    if (n.has(2)) {
      TensorPtr value = n.constant(2, "the padding value");
      if (element_count(value->shape) > 1) n.invalid("the padding value is not a scalar");
      if (element_count(value->shape) == 1) a.value = number_of(*value);
    }
    if (n.has(3)) axes = n.constant_ints(3, "the list of axes");
  }
  if (pads.size() != 2 * axes.size()) n.invalid("{} pads for {} axes", pads.size(), axes.size());
  n.axes(axes, static_cast<int>(rank));
  a.begin.assign(rank, 0);
  a.end.assign(rank, 0);
  for (size_t k = 0; k < axes.size(); k++) {
    int axis = n.axis(axes[k], static_cast<int>(rank));
    a.begin[axis] = pads[k];
    a.end[axis] = pads[axes.size() + k];
  }
  auto zero = [](int64_t p) { return p == 0; };
  if (std::all_of(pads.begin(), pads.end(), zero)) return {n.in(0)};
  return {b.add(pad_op, {n.in(0)}, a)};
}

struct Blocks {
  int64_t block;
  Shape shape;  // N, C, H, W
};
Blocks check_blocks(const OnnxNode& n, Builder& b) {
  Blocks r{n.i("blocksize", 0), b.shape(n.in(0))};
  if (r.shape.size() != 4) n.invalid("its input {} has not 4 dimensions", to_string(r.shape));
  if (r.block < 1 || r.block > 65536) n.invalid("blocksize {}", r.block);
  return r;
}

// Blocks of k x k pixels come out of the channels: DCR has the block in front of the channels, CRD behind.
Values depth_to_space(const OnnxNode& n, Builder& b) {
  auto [k, s] = check_blocks(n, b);
  if (s[1] % (k * k)) n.invalid("{} channels are not a multiple of {}", s[1], k * k);
  int64_t c = s[1] / (k * k);
  std::string_view mode = n.s("mode", "DCR");
  if (mode != "DCR" && mode != "CRD") n.invalid("mode '{}'", mode);
  bool depth_first = mode == "DCR";
  ValueId v = b.reshape(n.in(0), depth_first ? Shape{s[0], k, k, c, s[2], s[3]} : Shape{s[0], c, k, k, s[2], s[3]});
  v = b.transpose(v, depth_first ? Shape{0, 3, 4, 1, 5, 2} : Shape{0, 1, 4, 2, 5, 3});
  return {b.reshape(v, {s[0], c, s[2] * k, s[3] * k})};
}

Values space_to_depth(const OnnxNode& n, Builder& b) {
  auto [k, s] = check_blocks(n, b);
  if (s[2] % k || s[3] % k) n.invalid("{} does not divide into blocks of {}", to_string(s), k);
  ValueId v = b.reshape(n.in(0), {s[0], s[1], s[2] / k, k, s[3] / k, k});
  v = b.transpose(v, {0, 3, 5, 1, 2, 4});
  return {b.reshape(v, {s[0], s[1] * k * k, s[2] / k, s[3] / k})};
}

constexpr Converter move_list[] = {
    {"Concat", concat}, {"DepthToSpace", depth_to_space}, {"Pad", pad},
    {"Slice", slice},   {"SpaceToDepth", space_to_depth}, {"Split", split},
    {"Tile", tile},     {"Transpose", transpose},
};

}  // namespace

std::span<const Converter> move_converters() { return move_list; }

}  // namespace pando::onnx
