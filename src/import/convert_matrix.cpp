// Convolutions and matrix products.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "graph/ops/common.hpp"
#include "import/converters.hpp"
#include "import/nonzero.hpp"
#include "import/windows.hpp"

namespace pando::onnx {
namespace {

struct ConvShape {
  int spatial;
  int64_t group;
};

// Shapes of x [N, C, spatial..] and w [.., .., kernel..] that converters rely on; conv itself checks the channels.
ConvShape check_conv(const OnnxNode& n, Builder& b) {
  ValueId x = n.in(0), w = n.in(1);
  if (b.rank(x) < 3 || b.rank(w) != b.rank(x))
    n.invalid("input {} and weights {}: expected the same number of dimensions, at least 3", to_string(b.shape(x)),
              to_string(b.shape(w)));
  int64_t group = n.i("group", 1);
  if (group < 1 || group > INT32_MAX) n.invalid("group is {}", group);
  for (size_t i = 2; i < b.shape(w).size(); i++)
    if (b.shape(w)[i] < 1) n.invalid("weights {} have an empty kernel", to_string(b.shape(w)));
  return {b.rank(x) - 2, group};
}

std::vector<int64_t> spatial_of(const Shape& shape) { return {shape.begin() + 2, shape.end()}; }

// ONNX's images are channels-first: transposes on both sides, which the optimizer moves to where they vanish.
Values conv(const OnnxNode& n, Builder& b) {
  ValueId x = n.in(0), w = n.in(1);
  ConvShape s = check_conv(n, b);
  Windows windows = resolve_windows(n, spatial_of(b.shape(x)), spatial_of(b.shape(w)));
  ConvAttrs a{windows.strides, windows.dilations, windows.pads_begin, windows.pads_end, s.group, {}};
  return {b.channels_first(b.add(conv_op, {b.channels_last(x), w, n.optional(2), none}, a))};
}

// ---- ConvTranspose ----
// Output o of a transposed convolution with stride s takes taps k = o mod s (+ multiples of s) only: for each of the s
// phases this is a plain convolution of stride 1 with every s-th tap, flipped. All phases of all spatial dimensions
// are one convolution with more output channels, whose results are then interleaved.

struct Transposed {
  std::vector<int64_t> strides, kernel /*after dilation*/, taps /*per phase*/, before /*cropped*/, out;
};

// Zeros between the taps: [.., k, ..] -> [.., (k-1)*d+1, ..].
ValueId dilate(Builder& b, ValueId w, int axis, int64_t dilation) {
  if (dilation == 1) return w;
  Shape shape = b.shape(w);
  int64_t k = shape[axis];
  Shape split{element_count(std::span(shape).first(axis)), k, 1, element_count(std::span(shape).subspan(axis + 1))};
  w = b.pad(b.reshape(w, split), {0, 0, 0, 0}, {0, 0, dilation - 1, 0});
  shape[axis] = k * dilation;
  return b.slice_axis(b.reshape(w, shape), axis, 0, (k - 1) * dilation + 1);
}

// Turns pads, output_padding, output_shape and auto_pad into the part of the full result that is kept.
Transposed resolve_transposed(const OnnxNode& n, const Shape& x, const std::vector<int64_t>& kernel) {
  size_t d = kernel.size();
  Transposed t;
  std::vector<int64_t> dilations = n.window_ints("dilations", d, 1, 1);
  std::vector<int64_t> extra = n.window_ints("output_padding", d, 0, 0);
  std::vector<int64_t> wanted = n.window_ints("output_shape", n.ints("output_shape").size() == d + 2 ? d + 2 : d, 0, 0);
  wanted.erase(wanted.begin(), wanted.end() - static_cast<int64_t>(d));  // some files give N and C too
  std::vector<int64_t> pads = n.window_ints("pads", 2 * d, 0, 0);
  std::string_view automatic = n.s("auto_pad", "NOTSET");
  t.strides = n.window_ints("strides", d, 1, 1);
  for (size_t i = 0; i < d; i++) {
    int64_t s = t.strides[i], k = (kernel[i] - 1) * dilations[i] + 1;
    int64_t full = (x[i + 2] - 1) * s + k + extra[i];
    bool same = automatic == "SAME_UPPER" || automatic == "SAME_LOWER";
    if (n.has_attr("output_shape") || same) {
      int64_t out = n.has_attr("output_shape") ? wanted[i] : x[i + 2] * s;
      int64_t total = full - out;
      pads[i] = total <= 0                  ? 0
                : automatic == "SAME_UPPER" ? total / 2
                                            : total - total / 2;  // a longer output grows at its end
      pads[d + i] = total - pads[i];
    }
    int64_t out = full - pads[i] - pads[d + i];
    if (out < 0 || x[i + 2] < 1) n.invalid("output dimension {} would have {} elements", i, out);
    t.kernel.push_back(k);
    t.taps.push_back((k + s - 1) / s);
    t.before.push_back(pads[i]);
    t.out.push_back(out);
  }
  return t;
}

// [Ci, Co/g, kernel..] -> [g * phases * Co/g, Ci/g, taps..], phases in row-major order.
ValueId phase_weights(Builder& b, ValueId w, const Transposed& t, int64_t group) {
  int d = static_cast<int>(t.kernel.size());
  int64_t ci = b.shape(w)[0], co = b.shape(w)[1];
  std::vector<int64_t> begin(d + 2, 0), end(d + 2, 0);
  for (int i = 0; i < d; i++) end[i + 2] = t.taps[i] * t.strides[i] - t.kernel[i];
  w = b.pad(w, begin, end);
  // One spatial dimension at a time, so that no tensor has too many: [A, k, B] -> [s, A, flipped taps, B].
  for (int i = d - 1; i >= 0; i--) {
    Shape shape = b.shape(w);
    int axis = static_cast<int>(shape.size()) - d + i;  // phases stand in front
    int64_t outer = element_count(std::span(shape).first(axis)),
            inner = element_count(std::span(shape).subspan(axis + 1));
    w = b.reshape(w, {outer, t.taps[i], t.strides[i], inner});
    w = b.slice_axis(w, 1, t.taps[i] - 1, t.taps[i], -1);
    w = b.transpose(w, {2, 0, 1, 3});
    shape[axis] = t.taps[i];
    if (shape.size() == static_cast<size_t>(d + 2)) shape.insert(shape.begin(), 1);
    shape[0] *= t.strides[i];
    w = b.reshape(w, shape);
  }
  int64_t phases = b.shape(w)[0], taps = element_count(t.taps);
  w = b.reshape(w, {phases, group, ci / group, co, taps});
  w = b.transpose(w, {1, 0, 3, 2, 4});
  Shape shape{group * phases * co, ci / group};
  shape.insert(shape.end(), t.taps.begin(), t.taps.end());
  return b.reshape(w, shape);
}

// [N, q.., g * phases * Co/g] -> [N, q * s.., Co].
ValueId interleave(Builder& b, ValueId y, const Transposed& t, int64_t group) {
  int d = static_cast<int>(t.kernel.size());
  Shape shape = b.shape(y);
  // Groups come first in the channels of a convolution and must come last but one here: a step of its own.
  int64_t phases = element_count(t.strides), co = shape.back() / (group * phases);
  if (group > 1) {
    int64_t pixels = element_count(std::span(shape).first(d + 1));
    y = b.transpose(b.reshape(y, {pixels, group, phases, co}), {0, 2, 1, 3});
    y = b.reshape(y, shape);
  }
  Shape split(shape.begin(), shape.end() - 1), merged{shape[0]};
  std::vector<int64_t> perm{0};
  split.insert(split.end(), t.strides.begin(), t.strides.end());
  split.push_back(group * co);
  for (int i = 0; i < d; i++) {
    perm.push_back(i + 1);
    perm.push_back(d + 1 + i);
    merged.push_back(shape[i + 1] * t.strides[i]);
  }
  perm.push_back(2 * d + 1);
  merged.push_back(group * co);
  return b.reshape(b.transpose(b.reshape(y, split), perm), merged);
}

Values conv_transpose(const OnnxNode& n, Builder& b) {
  ValueId x = n.in(0), w = n.in(1);
  auto [d, group] = check_conv(n, b);
  if (d > 3) n.unsupported("more than 3 spatial dimensions are");
  if (b.shape(w)[0] != b.shape(x)[1] || b.shape(w)[0] % group)
    n.invalid("weights {} and group {} do not fit input {}", to_string(b.shape(w)), group, to_string(b.shape(x)));
  std::vector<int64_t> kernel = spatial_of(b.shape(w));
  if (n.has_attr("kernel_shape") && n.ints("kernel_shape") != kernel)
    n.invalid("kernel_shape {} and weights {} differ", to_string(n.ints("kernel_shape")), to_string(b.shape(w)));
  std::vector<int64_t> dilations = n.window_ints("dilations", d, 1, 1);
  Transposed t = resolve_transposed(n, b.shape(x), kernel);
  for (int i = 0; i < d; i++) w = dilate(b, w, i + 2, dilations[i]);
  w = phase_weights(b, w, t, group);
  ConvAttrs a;
  a.group = group;
  a.strides = a.dilations = std::vector<int64_t>(d, 1);
  for (int64_t taps : t.taps) a.pads_begin.push_back(taps - 1);
  a.pads_end = a.pads_begin;
  // Elements beyond every tap hold the bias alone: then it is added at the end.
  bool beyond = false;
  for (int i = 0; i < d; i++)
    beyond |= t.before[i] < 0 || t.before[i] + t.out[i] > (b.shape(x)[i + 2] + t.taps[i] - 1) * t.strides[i];
  ValueId bias = none;
  if (n.has(2) && !beyond) {
    int64_t phases = element_count(t.strides), co = b.shape(n.in(1))[1];
    bias = b.expand(b.reshape(n.in(2), {group, 1, co}), {group, phases, co});
    bias = b.reshape(bias, {group * phases * co});
  }
  ValueId y = interleave(b, b.add(conv_op, {b.channels_last(x), w, bias, none}, a), t, group);
  Shape have = b.shape(y);
  std::vector<int64_t> starts(d + 2, 0), sizes = have, begin(d + 2, 0), end(d + 2, 0);
  for (int i = 1; i <= d; i++) {
    int64_t lo = t.before[i - 1], hi = lo + t.out[i - 1];
    starts[i] = std::clamp<int64_t>(lo, 0, have[i]);
    sizes[i] = std::max<int64_t>(std::min(hi, have[i]) - starts[i], 0);
    begin[i] = std::max<int64_t>(std::min<int64_t>(-lo, t.out[i - 1]), 0);
    end[i] = t.out[i - 1] - begin[i] - sizes[i];
  }
  y = b.slice(y, starts, std::vector<int64_t>(d + 2, 1), sizes);
  y = b.pad(y, begin, end);
  if (n.has(2) && beyond) y = b.map(MapOp::add, {y, n.in(2)});
  return {b.channels_first(y)};
}

// ---- products ----

bool all_zero(const Builder& b, const Tensor& t) {
  bool zero = true;
  for_each_nonzero(b, t, [&](int64_t) { zero = false; });
  return zero;
}

// alpha A B + beta C. A C that is one row of numbers is the product's bias; any other shape is added after it.
Values gemm(const OnnxNode& n, Builder& b) {
  ValueId a = n.in(0), w = n.in(1);
  if (b.rank(a) != 2 || b.rank(w) != 2)
    n.invalid("operands {} and {}: expected matrices", to_string(b.shape(a)), to_string(b.shape(w)));
  MatMulAttrs attrs{n.flag("transA", false), n.flag("transB", false), n.f("alpha", 1), {}};
  float beta = n.f("beta", 1);
  if (!n.has(2)) return {b.add(matmul_op, {a, w, none}, attrs)};
  ValueId c = n.in(2);
  if (beta != 1) {
    // No mul_imm for integers; a whole factor keeps all their bits. 0 times what is not finite is NaN.
    bool whole = beta == std::trunc(beta) && std::abs(beta) < 0x1p62f;
    c = is_float(b.dtype(c)) ? b.map(MapOp::mul_imm, {c}, beta)
        : whole              ? b.map(MapOp::mul, {c, b.cast(b.ints({static_cast<int64_t>(beta)}, {}), b.dtype(c))})
                             : b.cast(b.map(MapOp::mul_imm, {b.cast(c, DType::f64)}, beta), b.dtype(c));
    if (beta == 0 && b.is_constant(c) && all_zero(b, *b.constant_of(c))) return {b.add(matmul_op, {a, w, none}, attrs)};
  }
  int64_t columns = b.shape(w)[attrs.trans_b ? 0 : 1];
  if (b.count(c) == columns && (b.rank(c) == 0 || b.shape(c).back() == columns))
    return {b.add(matmul_op, {a, w, b.reshape(c, {columns})}, attrs)};
  ValueId y = b.add(matmul_op, {a, w, none}, attrs);
  if (broadcast_shapes(b.shape(y), b.shape(c)) != b.shape(y)) n.invalid("C of shape {}", to_string(b.shape(c)));
  return {b.map(MapOp::add, {y, c})};
}

// A vector is a matrix of one row (first operand) or column (second); that dimension leaves the result.
Values matmul(const OnnxNode& n, Builder& b) {
  ValueId x = n.in(0), y = n.in(1);
  bool row = b.rank(x) == 1, column = b.rank(y) == 1;
  if (b.rank(x) == 0 || b.rank(y) == 0) n.invalid("an operand is a scalar");
  if (row) x = b.reshape(x, {1, b.count(x)});
  if (column) y = b.reshape(y, {b.count(y), 1});
  ValueId z = b.matmul(x, y);
  Shape shape = b.shape(z);
  if (column) shape.pop_back();
  if (row) shape.erase(shape.end() - (column ? 1 : 2));
  return {b.reshape(z, std::move(shape))};
}

constexpr Converter matrix_list[] = {
    {"Conv", conv},
    {"ConvTranspose", conv_transpose},
    {"Gemm", gemm},
    {"MatMul", matmul},
};

}  // namespace

std::span<const Converter> matrix_converters() { return matrix_list; }

}  // namespace pando::onnx
