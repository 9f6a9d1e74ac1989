// pool: maximum, average and p-norm over windows of channels-last images.
#include <cmath>
#include <limits>

#include "graph/ops/window.hpp"

namespace pando {
namespace {

WindowDim window(const PoolAttrs& a, int i) {
  return {a.kernel[i], a.strides[i], a.dilations[i], a.pads_begin[i], a.pads_end[i]};
}

std::vector<TypeShape> infer(const NodeView& node) {
  const auto& attrs = node.as<PoolAttrs>();
  check_inputs(node, 1, 1);
  check_rank(node, 0, 3);
  const Shape& x = node.in_shape(0);
  int spatial = static_cast<int>(x.size()) - 2;
  DType type = node.in(0).dtype;
  if (type == DType::boolean || (attrs.kind != PoolKind::max && !is_float(type)))
    fail(ErrorCode::not_supported, "this pooling of {} is not supported", name_of(type));
  check_windows(spatial, attrs.kernel, attrs.strides, attrs.dilations, attrs.pads_begin, attrs.pads_end);
  if (attrs.kind == PoolKind::lp && attrs.p < 1)
    fail(ErrorCode::invalid_model, "p is {}, expected at least 1", attrs.p);
  if (attrs.out_spatial.size() != static_cast<size_t>(spatial))
    fail(ErrorCode::invalid_model, "output extents are {}, expected {} of them", to_string(attrs.out_spatial), spatial);
  Shape out{x[0]};
  for (int i = 0; i < spatial; i++) {
    WindowDim w = window(attrs, i);
    // Ceil mode lets the last window hang over the end by less than a stride.
    int64_t most = std::max<int64_t>(x[i + 1] + w.before + w.after - w.reach() - 1 + w.stride - 1, -1) / w.stride + 1;
    if (attrs.out_spatial[i] < 0 || attrs.out_spatial[i] > std::max<int64_t>(most, 0))
      fail(ErrorCode::invalid_model, "spatial dimension {}: output extent {}, expected 0 to {}", i,
           attrs.out_spatial[i], most);
    out.push_back(attrs.out_spatial[i]);
  }
  out.push_back(x.back());
  return {{type, checked(std::move(out))}};
}

Domain domain(const NodeView& node) { return domain_of(node.out_shape()); }

Access reads(const NodeView& node, int) {
  const auto& attrs = node.as<PoolAttrs>();
  int spatial = static_cast<int>(attrs.kernel.size());
  Access a = Access::by_axes();
  a.add(axis_same(0));
  for (int i = 0; i < spatial; i++) a.add(window(attrs, i).rule(i + 1));
  a.add(axis_same(spatial + 1));
  return a;
}

Access writes(const NodeView& node, int) { return identity_access(static_cast<int>(node.out_shape().size())); }

double operations(const NodeView& node, const Box& box) {
  return static_cast<double>(element_count(node.as<PoolAttrs>().kernel)) * static_cast<double>(box.count());
}

// What a window gathers, in double; the maximum in the elements' own type, so that 64-bit integers stay exact.
template <class C>
struct Gathered {
  C top = std::is_floating_point_v<C> ? -std::numeric_limits<C>::infinity() : std::numeric_limits<C>::lowest();
  double sum = 0;
};

// Elements that an average divides by: those inside, or those inside the padded image (what ceil mode adds beyond the
// padding never counts).
int64_t divisor(const PoolAttrs& attrs, const Extents& in, const Extents& at) {
  int64_t count = 1;
  for (int i = 0; i < in.rank - 2; i++) {
    WindowDim w = window(attrs, i);
    TapRange taps = taps_inside(w, at[i + 1], in[i + 1]);
    if (attrs.count_include_pad) {
      w.before = 0;
      taps = taps_inside(w, at[i + 1], in[i + 1] + attrs.pads_begin[i] + attrs.pads_end[i]);
    }
    count *= taps.last - taps.first;
  }
  return count;
}

template <class T>
void evaluate_as(const PoolAttrs& attrs, const View& in, const View& out) {
  using C = Compute<T>;
  const int spatial = in.rank() - 2;
  const double p = static_cast<double>(attrs.p);
  for_each_index(out.shape, [&](const Extents& at) {
    int64_t from = at[0] * in.strides[0] + at[spatial + 1] * in.strides[spatial + 1];
    Extents taps;
    taps.rank = static_cast<int8_t>(spatial);
    for (int i = 0; i < spatial; i++) {
      WindowDim w = window(attrs, i);
      TapRange range = taps_inside(w, at[i + 1], in.shape[i + 1]);
      taps[i] = range.last - range.first;
      from += (at[i + 1] * w.stride - w.before + range.first * w.dilation) * in.strides[i + 1];
    }
    Gathered<C> g;
    for_each_index(taps, [&](const Extents& tap) {
      int64_t o = from;
      for (int i = 0; i < spatial; i++) o += tap[i] * attrs.dilations[i] * in.strides[i + 1];
      C x = widen(load<T>(in.data, o));
      if (attrs.kind == PoolKind::max) g.top = g.top != g.top || g.top > x ? g.top : x;  // NaN wins
      else if (attrs.kind == PoolKind::average) g.sum += static_cast<double>(x);
      else g.sum += std::pow(std::abs(static_cast<double>(x)), p);
    });
    T y = convert<T>(g.top);
    if (attrs.kind == PoolKind::average)
      y = convert<T>(g.sum / static_cast<double>(std::max<int64_t>(divisor(attrs, in.shape, at), 1)));
    if (attrs.kind == PoolKind::lp) y = convert<T>(std::pow(g.sum, 1 / p));
    store(out.data, offset(out, at), y);
  });
}

void evaluate(const Attributes& any, std::span<const View> inputs, std::span<const View> outputs) {
  const auto& attrs = any.as<PoolAttrs>();
  dispatch(inputs[0].dtype, [&](auto tag) {
    if constexpr (!std::is_same_v<decltype(tag), bool>) evaluate_as<decltype(tag)>(attrs, inputs[0], outputs[0]);
  });
}

// Of maxima: the first of a window gets the window's gradient.
template <class T>
void max_gradient(const PoolAttrs& attrs, const View& in, const View& dy, const View& dx) {
  using C = Compute<T>;
  const int spatial = in.rank() - 2;
  for_each_index(dx.shape, [&](const Extents& at) { store(dx.data, offset(dx, at), T{}); });
  for_each_index(dy.shape, [&](const Extents& at) {
    Extents taps, first = at;
    taps.rank = static_cast<int8_t>(spatial);
    for (int i = 0; i < spatial; i++) {
      const WindowDim w = window(attrs, i);
      const TapRange range = taps_inside(w, at[i + 1], in.shape[i + 1]);
      taps[i] = range.last - range.first;
      first[i + 1] = at[i + 1] * w.stride - w.before + range.first * w.dilation;
    }
    Extents best;
    C top{};
    for_each_index(taps, [&](const Extents& tap) {
      Extents from = first;
      for (int i = 0; i < spatial; i++) from[i + 1] += tap[i] * attrs.dilations[i];
      const C x = widen(load<T>(in.data, offset(in, from)));
      if (best.rank == 0 || x > top || (x != x && top == top)) best = from, top = x;
    });
    if (best.rank == 0) return;  // a window of padding
    const int64_t o = offset(dx, best);
    store(dx.data, o, convert<T>(widen(load<T>(dx.data, o)) + widen(load<T>(dy.data, offset(dy, at)))));
  });
}

void evaluate_gradient(const Attributes& any, int, std::span<const View> operands, const View& out) {
  const auto& attrs = any.as<PoolAttrs>();
  if (attrs.kind != PoolKind::max) fail(ErrorCode::internal, "gradients of averages are products");
  dispatch_float(out.dtype, [&](auto tag) { max_gradient<decltype(tag)>(attrs, operands[0], operands[2], out); });
}

bool picks(const NodeView& node) { return node.as<PoolAttrs>().kind == PoolKind::max; }

}  // namespace

// Not by box: a cut image no longer says where the padding begins.
const OpDef pool_op = {.name = "pool",
                       .attributes = attributes_of<PoolAttrs>,
                       .infer = infer,
                       .domain = domain,
                       .reads = reads,
                       .writes = writes,
                       .operations = operations,
                       .evaluate = evaluate,
                       .picks = picks,
                       .gradient = pool_gradient,
                       .evaluate_gradient = evaluate_gradient};

}  // namespace pando
