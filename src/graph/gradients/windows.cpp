// Pooling and resampling: along each dimension a product with a matrix that says who reads whom.
#include "graph/backward.hpp"
#include "graph/ops/window.hpp"

namespace pando {
namespace {

WindowDim window(const PoolAttrs& a, int i) {
  return {a.kernel[i], a.strides[i], a.dilations[i], a.pads_begin[i], a.pads_end[i]};
}

bool reads(const WindowDim& w, int64_t out, int64_t in, int64_t extent) {
  const TapRange inside = taps_inside(w, out, extent);
  for (int64_t t = inside.first; t < inside.last; t++)
    if (out * w.stride - w.before + t * w.dilation == in) return true;
  return false;
}

// What an average divides by, along one dimension.
double divisor(const PoolAttrs& a, int i, int64_t out, int64_t extent) {
  const WindowDim w = window(a, i), padded{w.kernel, w.stride, w.dilation, 0, 0};
  const TapRange inside =
      a.count_include_pad ? taps_inside(padded, out, extent + w.before + w.after) : taps_inside(w, out, extent);
  return static_cast<double>(std::max<int64_t>(inside.last - inside.first, 1));
}

// Sums of windows, turned around: an output's share goes to each element that it read; `averages`: divided.
ValueId spread(Backward& to, ValueId v, const Shape& in, bool averages) {
  const PoolAttrs attrs = to.as<PoolAttrs>();
  for (int i = 0; i < static_cast<int>(in.size()) - 2; i++) {
    const int64_t outs = to.shape(v)[i + 1], extent = in[i + 1];
    v = to.along(v, i + 1, to.matrix(outs, extent, [&](int64_t o, int64_t x) {
      return reads(window(attrs, i), o, x, extent) ? 1 / (averages ? divisor(attrs, i, o, extent) : 1) : 0.0;
    }));
  }
  return v;
}

}  // namespace

void pool_gradient(Backward& to) {
  const PoolAttrs attrs = to.as<PoolAttrs>();
  const ValueId x = to.x(0), y = to.y(), dy = to.dy();
  const Shape in = to.shape(x);
  if (attrs.kind == PoolKind::average) return to.give(0, spread(to, dy, in, true));
  if (attrs.kind == PoolKind::max)
    return to.give(0, to.add(gradient_op, {x, y, dy}, GradientAttrs{&pool_op, attrs, 1, 1, 0}));
  // lp: dx = sign(x) |x|^(p-1) * (the sum over windows of dy y^(1-p))
  const double p = static_cast<double>(attrs.p);
  const ValueId share = to.times(dy, to.map(MapOp::pow, {y, to.number(1 - p)}));
  const ValueId power = to.map(MapOp::pow, {to.map(MapOp::abs, {x}), to.number(p - 1)});
  to.give(0, to.times(to.times(to.map(MapOp::sign, {x}), power), spread(to, share, in, false)));
}

void resize_gradient(Backward& to) {
  const ResizeAttrs attrs = to.as<ResizeAttrs>();
  const Shape in = to.shape(to.x(0)), out = to.shape(to.y());
  ValueId v = to.dy();
  for (int d = 0; d < static_cast<int>(in.size()); d++) {
    std::vector<ResizeTaps> taps;
    bool same = in[d] == out[d];
    for (int64_t o = 0; o < out[d]; o++) {
      taps.push_back(resize_taps(attrs, d, in[d], out[d], o));
      const ResizeTaps& t = taps.back();
      same = same && !t.outside && t.first == o && t.weight.size() == 1 && t.weight[0] == 1;
    }
    if (same) continue;
    v = to.along(v, d, to.matrix(out[d], in[d], [&](int64_t o, int64_t i) {
      const ResizeTaps& t = taps[o];
      const int64_t k = i - t.first;
      return t.outside || k < 0 || k >= static_cast<int64_t>(t.weight.size()) ? 0.0 : t.weight[k];
    }));
  }
  to.give(0, v);
}

}  // namespace pando
