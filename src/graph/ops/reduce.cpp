// reduce: sum, mean, max, min, product over some dimensions, which stay with extent 1.
#include <limits>

#include "graph/ops/common.hpp"

namespace pando {
namespace {

std::vector<TypeShape> infer(const NodeView& node) {
  const auto& attrs = node.as<ReduceAttrs>();
  check_inputs(node, 1, 1);
  DType type = node.in(0).dtype;
  if (type == DType::boolean && attrs.kind != ReduceKind::max && attrs.kind != ReduceKind::min)
    fail(ErrorCode::not_supported, "this reduction of bool is not supported, expected max or min");
  Shape shape = node.in_shape(0);
  int64_t previous = -1;
  for (int64_t axis : attrs.axes) {
    check_axis(axis, static_cast<int64_t>(shape.size()));
    if (axis <= previous) fail(ErrorCode::invalid_model, "axes {} are not sorted and distinct", to_string(attrs.axes));
    shape[axis] = 1;
    previous = axis;
  }
  return {{type, std::move(shape)}};
}

bool reduced(const NodeView& node, int dim) {
  const auto& axes = node.as<ReduceAttrs>().axes;
  return std::find(axes.begin(), axes.end(), dim) != axes.end();
}

// The input's dimensions, so that kept and reduced ones stand in the operand's own order.
Domain domain(const NodeView& node) {
  Domain d = domain_of(node.in_shape(0));
  for (int i = 0; i < d.rank; i++)
    if (reduced(node, i)) d[i].tag = Tag::reduction;
  return d;
}

Access reads(const NodeView& node, int) { return identity_access(static_cast<int>(node.in_shape(0).size())); }

Access writes(const NodeView& node, int) {
  Access a = Access::by_axes();
  for (int i = 0; i < static_cast<int>(node.in_shape(0).size()); i++)
    a.add(reduced(node, i) ? axis_fixed(0, 1) : axis_same(i));
  return a;
}

double operations(const NodeView&, const Box& box) { return static_cast<double>(box.count()); }

// The running result: floats in double (sums: see ExactSum), integers in 64 bits that wrap around.
template <class Sum>
Sum first_value(ReduceKind kind, Sum lowest, Sum highest) {
  switch (kind) {
    case ReduceKind::prod: return Sum(1);
    case ReduceKind::max: return lowest;
    case ReduceKind::min: return highest;
    default: return Sum(0);
  }
}

template <class Sum>
Sum combine(ReduceKind kind, Sum a, Sum b) {
  if constexpr (std::is_integral_v<Sum>) {
    auto ua = static_cast<uint64_t>(a), ub = static_cast<uint64_t>(b);
    if (kind == ReduceKind::sum || kind == ReduceKind::mean) return static_cast<Sum>(ua + ub);
    if (kind == ReduceKind::prod) return static_cast<Sum>(ua * ub);
  } else if (kind == ReduceKind::prod) {
    return a * b;
  }
  if (a != a) return a;  // NaN wins
  bool keep = kind == ReduceKind::max ? a > b : a < b;
  return keep ? a : b;
}

template <class T>
void evaluate_as(const ReduceAttrs& attrs, const View& in, const View& out) {
  using C = Compute<T>;
  using Sum = std::conditional_t<std::is_floating_point_v<C>, double,
                                 std::conditional_t<std::is_signed_v<C>, int64_t, uint64_t>>;
  using Limits = std::numeric_limits<C>;
  Sum lowest = Sum(std::is_floating_point_v<C> ? -Limits::infinity() : Limits::lowest());
  Sum highest = Sum(std::is_floating_point_v<C> ? Limits::infinity() : Limits::max());
  Extents inner;  // the reduced dimensions; the output has extent 1 there
  inner.rank = static_cast<int8_t>(in.rank());
  for (int i = 0; i < in.rank(); i++) inner[i] = 1;
  for (int64_t axis : attrs.axes) inner[static_cast<int>(axis)] = in.shape[static_cast<int>(axis)];
  const bool adds = attrs.kind == ReduceKind::sum || attrs.kind == ReduceKind::mean;
  for_each_index(out.shape, [&](const Extents& index) {
    int64_t base = offset(in, index);
    auto each = [&](auto f) {
      for_each_index(inner,
                     [&](const Extents& i) { f(static_cast<Sum>(widen(load<T>(in.data, base + offset(in, i))))); });
    };
    Sum sum = first_value(attrs.kind, lowest, highest);
    if constexpr (std::is_floating_point_v<Sum>) {
      if (adds) {
        // -0 changes no number, and the sum of no number is 0.
        ExactSum exact(element_count(inner.span()) > 0 ? -0.0 : 0.0);
        each([&](Sum x) { exact.add(x); });
        sum = exact.value();
      }
    }
    if (!std::is_floating_point_v<Sum> || !adds) each([&](Sum x) { sum = combine(attrs.kind, sum, x); });
    if (attrs.kind == ReduceKind::mean) {
      auto count = static_cast<Sum>(element_count(inner.span()));
      sum = std::is_integral_v<Sum> && count == 0 ? Sum(0) : sum / count;
    }
    store(out.data, offset(out, index), convert<T>(sum));
  });
}

void evaluate(const Attributes& any, std::span<const View> inputs, std::span<const View> outputs) {
  const auto& attrs = any.as<ReduceAttrs>();
  dispatch(inputs[0].dtype, [&](auto tag) { evaluate_as<decltype(tag)>(attrs, inputs[0], outputs[0]); });
}

// Over extents of 1.
int identity(const NodeView& node) { return element_count(node.in_shape(0)) > 0 ? 0 : -1; }

std::optional<Partial> partial(const NodeView& node) {
  ReduceAttrs attrs = node.as<ReduceAttrs>();
  Partial p;
  switch (attrs.kind) {
    case ReduceKind::max: p.combine = MapOp::max; break;
    case ReduceKind::min: p.combine = MapOp::min; break;
    case ReduceKind::prod: p.combine = MapOp::mul; break;
    case ReduceKind::sum: break;
    case ReduceKind::mean: {
      attrs.kind = ReduceKind::sum;
      double count = 1;
      for (int64_t axis : attrs.axes) count *= static_cast<double>(node.in_shape(0)[static_cast<size_t>(axis)]);
      p.factor = 1 / count;
    }
  }
  p.attrs = attrs;
  return p;
}

}  // namespace

// By box: as long as the box has all of the reduced dimensions.
const OpDef reduce_op = {.name = "reduce",
                         .attributes = attributes_of<ReduceAttrs>,
                         .infer = infer,
                         .domain = domain,
                         .reads = reads,
                         .writes = writes,
                         .operations = operations,
                         .evaluate = evaluate,
                         .by_box = true,
                         .order = Order::first,
                         .identity = identity,
                         .partial = partial,
                         .gradient = reduce_gradient};

}  // namespace pando
