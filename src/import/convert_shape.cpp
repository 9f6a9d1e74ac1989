// Constants, shapes, and operators that only regroup dimensions.
#include <algorithm>
#include <cmath>
#include <numbers>

#include "graph/ops/common.hpp"
#include "import/converters.hpp"

namespace pando::onnx {
namespace {

Values constant(const OnnxNode& n, Builder& b) {
  if (TensorPtr t = n.tensor("value")) return {b.constant(t)};
  if (n.has_attr("value_float")) return {b.floats({n.f("value_float", 0)}, {})};
  if (n.has_attr("value_int")) return {b.ints({n.i("value_int", 0)}, {})};
  if (n.has_attr("value_floats")) {
    std::vector<float> v = n.floats("value_floats");
    return {b.floats(v, {static_cast<int64_t>(v.size())})};
  }
  if (n.has_attr("value_ints")) return {b.ints(n.ints("value_ints"))};
  n.unsupported("a constant of strings or in sparse form is");
}

// An expanded scalar: a large one costs no memory.
Values constant_of_shape(const OnnxNode& n, Builder& b) {
  Shape shape = n.constant_ints(0, "the shape");
  TensorPtr value = n.tensor("value");
  if (value && element_count(value->shape) != 1) n.invalid("value has shape {}", to_string(value->shape));
  ValueId v = value ? b.reshape(b.constant(value), {}) : b.floats({0}, {});
  return {b.expand(v, std::move(shape))};
}

Values shape(const OnnxNode& n, Builder& b) {
  Shape s = b.shape(n.in(0));
  auto rank = static_cast<int64_t>(s.size());
  auto clip = [&](int64_t i) { return std::clamp<int64_t>(i < 0 ? i + rank : i, 0, rank); };
  int64_t start = clip(std::max(n.i("start", 0), -rank)), end = clip(std::max(n.i("end", rank), -rank));
  return {b.ints(start < end ? Shape(s.begin() + start, s.begin() + end) : Shape())};
}

// Shapes are known here, so Shape and Size are constants always: exporters' shape arithmetic hangs on them.
Values size(const OnnxNode& n, Builder& b) { return {b.ints({b.count(n.in(0))}, {})}; }

Values identity(const OnnxNode& n, Builder&) { return {n.in(0)}; }

// Only inference: the ratio drops nothing and the mask is all true.
Values dropout(const OnnxNode& n, Builder& b) {
  ValueId x = n.in(0);
  if (n.has(2) && n.constant_int(2, "training_mode") != 0) {
    std::vector<float> ratio = n.has(1) ? n.constant_floats(1, "the ratio") : std::vector<float>{0.5f};
    if (ratio.size() != 1 || ratio[0] != 0) n.unsupported("training mode is");
  }
  // Before opset 10 the mask has the type of x.
  ValueId mask = none;
  if (n.wants(1)) mask = b.expand(b.scalar(n.opset() < 10 ? b.dtype(x) : DType::boolean, 1), b.shape(x));
  return {x, mask};
}

// 0 copies the input's dimension (unless allowzero), one -1 takes what is left.
Values reshape(const OnnxNode& n, Builder& b) {
  const Shape from = b.shape(n.in(0));
  Shape to = n.constant_ints(1, "the shape");
  bool allow_zero = n.flag("allowzero", false);
  int open = -1;
  int64_t known = 1, total = element_count(from);
  for (size_t i = 0; i < to.size(); i++) {
    if (to[i] == 0 && !allow_zero) {
      if (i >= from.size()) n.invalid("the new shape {} copies dimension {} of {}", to_string(to), i, to_string(from));
      to[i] = from[i];
    }
    if (to[i] == -1) {
      if (open >= 0) n.invalid("the new shape {} leaves two dimensions open", to_string(to));
      open = static_cast<int>(i);
    } else if (to[i] < 0 || __builtin_mul_overflow(known, to[i], &known)) {
      n.invalid("bad new shape {}", to_string(to));
    }
  }
  if (open >= 0) to[open] = known > 0 ? total / known : 0;
  if (open >= 0 ? to[open] * known != total : known != total)
    n.invalid("shape {} cannot become {}", to_string(from), to_string(n.constant_ints(1, "")));
  return {b.reshape(n.in(0), std::move(to))};
}

Values flatten(const OnnxNode& n, Builder& b) {
  const Shape s = b.shape(n.in(0));
  int axis = n.axis(n.i("axis", 1), static_cast<int>(s.size()), true);
  return {b.reshape(n.in(0), {element_count(std::span(s).first(axis)), element_count(std::span(s).subspan(axis))})};
}

// Squeeze and Unsqueeze list their axes in an attribute before opset 13, in an operand since.
std::vector<int64_t> axes_before_13(const OnnxNode& n) {
  return n.opset() < 13 ? n.ints("axes") : n.has(1) ? n.constant_ints(1, "the list of axes") : std::vector<int64_t>();
}

Values squeeze(const OnnxNode& n, Builder& b) {
  const Shape s = b.shape(n.in(0));
  std::vector<int64_t> axes = n.axes(axes_before_13(n), static_cast<int>(s.size()));
  bool all = axes.empty() && (n.opset() < 13 ? !n.has_attr("axes") : !n.has(1));
  Shape to;
  for (size_t i = 0; i < s.size(); i++) {
    bool named = std::binary_search(axes.begin(), axes.end(), static_cast<int64_t>(i));
    if (named && s[i] != 1) n.invalid("dimension {} of {} is not 1", i, to_string(s));
    if (!named && !(all && s[i] == 1)) to.push_back(s[i]);
  }
  return {b.reshape(n.in(0), std::move(to))};
}

Values unsqueeze(const OnnxNode& n, Builder& b) {
  Shape s = b.shape(n.in(0));
  std::vector<int64_t> axes = axes_before_13(n);
  if (s.size() + axes.size() > static_cast<size_t>(max_rank)) n.unsupported("more than {} dimensions are", max_rank);
  for (int64_t axis : n.axes(axes, static_cast<int>(s.size() + axes.size()))) s.insert(s.begin() + axis, 1);
  return {b.reshape(n.in(0), std::move(s))};
}

Values expand(const OnnxNode& n, Builder& b) {
  Shape to = n.constant_ints(1, "the shape");
  return {b.expand(n.in(0), broadcast_shapes(b.shape(n.in(0)), to))};
}

// ceil((limit - start) / delta), at least 0.
template <class T>
int64_t range_size(const OnnxNode& n, const TensorPtr (&bounds)[3]) {
  T start = elements<T>(*bounds[0])[0], limit = elements<T>(*bounds[1])[0], delta = elements<T>(*bounds[2])[0];
  constexpr double most = 1e12;
  double count = 0;
  if constexpr (std::is_integral_v<T>) {  // exactly, and the distance of two integers may need one bit more
    bool up = delta > 0;
    uint64_t distance = up ? uint64_t(limit) - uint64_t(start) : uint64_t(start) - uint64_t(limit);
    uint64_t step = up ? uint64_t(delta) : 0 - uint64_t(delta);
    if (delta != 0 && (up ? limit > start : limit < start)) {
      uint64_t whole = distance / step + (distance % step != 0);
      if (whole < static_cast<uint64_t>(most)) return static_cast<int64_t>(whole);
      count = most;
    }
  } else {
    count = std::ceil((limit - start) / delta);
  }
  if (delta == 0 || !(count < most)) n.invalid("from {} to {} by {}", start, limit, delta);
  return count > 0 ? static_cast<int64_t>(count) : 0;
}

// start, start + delta, .. below limit; as many as ONNX says: ceil((limit - start) / delta).
Values range(const OnnxNode& n, Builder& b) {
  DType type = b.dtype(n.in(0));
  TensorPtr bounds[3] = {n.constant(0, "the start"), n.constant(1, "the limit"), n.constant(2, "the step")};
  for (const TensorPtr& t : bounds)
    if (t->dtype != type || element_count(t->shape) != 1) n.invalid("bounds are not scalars of one type");
  ValueId i = b.iota(is_float(type) ? range_size<double>(n, bounds) : range_size<int64_t>(n, bounds), 1, 0);
  auto scalar = [&](const TensorPtr& t) { return b.reshape(b.constant(t), {}); };
  ValueId steps = b.map(MapOp::mul, {b.cast(i, type), scalar(bounds[2])});
  return {b.map(MapOp::add, {steps, scalar(bounds[0])})};
}

Values eye_like(const OnnxNode& n, Builder& b) {
  const Shape s = b.shape(n.in(0));
  if (s.size() != 2) n.invalid("its input has {} dimensions, expected 2", s.size());
  int64_t k = n.i("k", 0);
  DType type = n.has_attr("dtype") ? to_dtype(static_cast<int32_t>(n.i("dtype", 0)), b.node()) : b.dtype(n.in(0));
  ValueId rows = b.map(MapOp::add, {b.iota(s[0], 2, 0), b.ints({k}, {})});
  return {b.cast(b.map(MapOp::equal, {rows, b.iota(s[1], 2, 1)}), type)};
}

// Keeps one side of the k-th diagonal of the last two dimensions.
Values trilu(const OnnxNode& n, Builder& b) {
  ValueId x = n.in(0);
  if (b.rank(x) < 2) n.invalid("its input has {} dimensions, expected at least 2", b.rank(x));
  int64_t rows = b.shape(x)[b.rank(x) - 2], columns = b.shape(x)[b.rank(x) - 1];
  int64_t k = n.has(1) ? n.constant_int(1, "k") : 0;
  bool upper = n.flag("upper", true);
  auto mask = b.new_tensor(DType::boolean, {rows, columns});
  b.in_slices(rows * columns, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
      int64_t distance = i % columns - i / columns;  // compared without k + row, which may overflow
      writable(*mask)[i] = static_cast<std::byte>(upper ? distance >= k : distance <= k);
    }
  });
  return {b.map(MapOp::where, {b.constant(mask), x, b.scalar(b.dtype(x), 0)})};
}

// Generalized cosine windows: a0 - a1 cos(t) + a2 cos(2t), t = 2 pi i / N.
Values cosine_window(const OnnxNode& n, Builder& b, double a0, double a1, double a2) {
  int64_t size = n.constant_int(0, "the size");
  DType type = to_dtype(static_cast<int32_t>(n.i("output_datatype", 1)), b.node());
  if (size < 0 || size > (1 << 28)) n.invalid("size {}", size);
  auto t = b.new_tensor(DType::f64, {size});
  auto* p = reinterpret_cast<double*>(writable(*t));
  auto period = static_cast<double>(n.flag("periodic", true) ? size : size - 1);
  b.in_slices(size, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
      double angle = period > 0 ? 2 * std::numbers::pi * static_cast<double>(i) / period : 0;
      p[i] = a0 - a1 * std::cos(angle) + a2 * std::cos(2 * angle);
    }
  });
  return {b.cast(b.constant(t), type)};
}

Values blackman_window(const OnnxNode& n, Builder& b) { return cosine_window(n, b, 0.42, 0.5, 0.08); }
Values hann_window(const OnnxNode& n, Builder& b) { return cosine_window(n, b, 0.5, 0.5, 0); }
Values hamming_window(const OnnxNode& n, Builder& b) { return cosine_window(n, b, 25.0 / 46.0, 1 - 25.0 / 46.0, 0); }

constexpr Converter shape_list[] = {
    {"BlackmanWindow", blackman_window},
    {"Constant", constant},
    {"ConstantOfShape", constant_of_shape},
    {"Dropout", dropout},
    {"Expand", expand},
    {"EyeLike", eye_like},
    {"Flatten", flatten},
    {"HammingWindow", hamming_window},
    {"HannWindow", hann_window},
    {"Identity", identity},
    {"Range", range},
    {"Reshape", reshape},
    {"Shape", shape},
    {"Size", size},
    {"Squeeze", squeeze},
    {"Trilu", trilu},
    {"Unsqueeze", unsqueeze},
};

}  // namespace

std::span<const Converter> shape_converters() { return shape_list; }

}  // namespace pando::onnx
