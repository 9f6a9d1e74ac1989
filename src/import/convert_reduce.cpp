// Reductions along axes, and the operators that pick positions.
#include <numeric>

#include "import/converters.hpp"

namespace pando::onnx {
namespace {

struct Reduction {
  std::vector<int64_t> axes;
  bool keep;
};

// Axes are an attribute before opset `since`, an input from then on. No axes: all of them, unless the node says noop.
Reduction reduction(const OnnxNode& n, Builder& b, int since) {
  int rank = b.rank(n.in(0));
  std::vector<int64_t> axes;
  if (n.opset() < since) axes = n.ints("axes");
  else if (n.has(1)) axes = n.constant_ints(1, "the list of axes");
  axes = n.axes(std::move(axes), rank);
  if (axes.empty() && !n.flag("noop_with_empty_axes", false)) {
    axes.resize(rank);
    std::iota(axes.begin(), axes.end(), 0);
  }
  return {std::move(axes), n.flag("keepdims", true)};
}

template <ReduceKind kind, int since>
Values reduce(const OnnxNode& n, Builder& b) {
  Reduction r = reduction(n, b, since);
  return {b.reduce(kind, n.in(0), r.axes, r.keep)};
}

Values reduce_l1(const OnnxNode& n, Builder& b) {
  Reduction r = reduction(n, b, 18);
  return {b.reduce(ReduceKind::sum, b.map(MapOp::abs, {n.in(0)}), r.axes, r.keep)};
}

ValueId sum_square(Builder& b, ValueId x, const Reduction& r) {
  return b.reduce(ReduceKind::sum, b.map(MapOp::mul, {x, x}), r.axes, r.keep);
}

Values reduce_sum_square(const OnnxNode& n, Builder& b) {
  return {b.cast(sum_square(b, b.widen(n.in(0)), reduction(n, b, 18)), b.dtype(n.in(0)))};
}

// The operand in a type that holds what functions of real numbers need between their steps.
ValueId real(Builder& b, ValueId v) { return is_float(b.dtype(v)) ? b.widen(v) : b.cast(v, DType::f64); }

Values reduce_l2(const OnnxNode& n, Builder& b) {
  ValueId sum = sum_square(b, real(b, n.in(0)), reduction(n, b, 18));
  return {b.cast(b.map(MapOp::sqrt, {sum}), b.dtype(n.in(0)))};
}

Values reduce_log_sum(const OnnxNode& n, Builder& b) {
  Reduction r = reduction(n, b, 18);
  ValueId sum = b.reduce(ReduceKind::sum, real(b, n.in(0)), r.axes, r.keep);
  return {b.cast(b.map(MapOp::log, {sum}), b.dtype(n.in(0)))};
}

// log(sum(exp(x - m))) + m with m = max(x), so that nothing overflows.
Values reduce_log_sum_exp(const OnnxNode& n, Builder& b) {
  Reduction r = reduction(n, b, 18);
  ValueId x = real(b, n.in(0));
  ValueId top = b.reduce(ReduceKind::max, x, r.axes);
  // An infinite maximum would make x - m NaN.
  ValueId finite = b.map(MapOp::where, {b.map(MapOp::is_inf, {top}, 1, 1), b.scalar(b.dtype(x), 0), top});
  ValueId sum = b.reduce(ReduceKind::sum, b.map(MapOp::exp, {b.map(MapOp::sub, {x, finite})}), r.axes);
  ValueId y = b.cast(b.map(MapOp::add, {b.map(MapOp::log, {sum}), finite}), b.dtype(n.in(0)));
  if (r.keep || r.axes.empty()) return {y};
  Shape shape;
  for (int i = 0; i < b.rank(x); i++)
    if (!std::binary_search(r.axes.begin(), r.axes.end(), i)) shape.push_back(b.shape(x)[i]);
  return {b.reshape(y, shape)};
}

// The core operator keeps the reduced dimension; without keepdims it is dropped after.
template <bool max>
Values arg_reduce(const OnnxNode& n, Builder& b) {
  ValueId x = n.in(0);
  int axis = n.axis(n.i("axis", 0), b.rank(x));
  ValueId y = b.add(arg_reduce_op, {x}, ArgReduceAttrs{axis, max, n.flag("select_last_index", false)});
  if (n.flag("keepdims", true)) return {y};
  Shape shape = b.shape(y);
  shape.erase(shape.begin() + axis);
  return {b.reshape(y, shape)};
}

// 1 at the first largest element along the axis, 0 elsewhere. Before opset 13 everything from `axis` (default 1) on is
// one row, as for Softmax.
Values hardmax(const OnnxNode& n, Builder& b) {
  ValueId x = n.in(0);
  Shape shape = b.shape(x);
  int axis = n.axis(n.i("axis", n.opset() < 13 ? 1 : -1), b.rank(x));
  if (n.opset() < 13) {  // everything from the axis on is one row
    int64_t rows = element_count(std::span(shape).first(axis));
    x = b.reshape(x, {rows, element_count(std::span(shape).subspan(axis))});
    axis = 1;
  }
  ValueId best = b.add(arg_reduce_op, {x}, ArgReduceAttrs{axis, true, false});
  ValueId one = b.map(MapOp::equal, {b.iota(b.shape(x)[axis], b.rank(x), axis), best});
  return {b.reshape(b.cast(one, b.dtype(x)), shape)};
}

Values cumsum(const OnnxNode& n, Builder& b) {
  int axis = n.axis(n.constant_int(1, "the axis"), b.rank(n.in(0)));
  return {b.add(cumsum_op, {n.in(0)}, CumSumAttrs{axis, n.flag("exclusive", false), n.flag("reverse", false)})};
}

Values topk(const OnnxNode& n, Builder& b) {
  ValueId x = n.in(0);
  TopKAttrs attrs;
  attrs.axis = n.axis(n.i("axis", -1), b.rank(x));
  attrs.k = n.opset() < 10 ? n.i("k", -1) : n.constant_int(1, "k");
  attrs.largest = n.flag("largest", true);
  attrs.sorted = n.flag("sorted", true);
  return b.add_all(topk_op, {x}, attrs);
}

constexpr Converter reduce_list[] = {
    {"ArgMax", arg_reduce<true>},
    {"ArgMin", arg_reduce<false>},
    {"CumSum", cumsum},
    {"Hardmax", hardmax},
    {"ReduceL1", reduce_l1},
    {"ReduceL2", reduce_l2},
    {"ReduceLogSum", reduce_log_sum},
    {"ReduceLogSumExp", reduce_log_sum_exp},
    {"ReduceMax", reduce<ReduceKind::max, 18>},
    {"ReduceMean", reduce<ReduceKind::mean, 18>},
    {"ReduceMin", reduce<ReduceKind::min, 18>},
    {"ReduceProd", reduce<ReduceKind::prod, 18>},
    {"ReduceSum", reduce<ReduceKind::sum, 13>},
    {"ReduceSumSquare", reduce_sum_square},
    {"TopK", topk},
};

}  // namespace

std::span<const Converter> reduce_converters() { return reduce_list; }

}  // namespace pando::onnx
