// Operators that look at many elements at once: reductions, softmax, normalizations.
#include <numeric>

#include "graph/backward.hpp"

namespace pando {

void reduce_gradient(Backward& to) {
  const ReduceAttrs attrs = to.as<ReduceAttrs>();
  const ValueId x = to.x(0), y = to.y(), dy = to.dy();
  const Shape shape = to.shape(x);
  const std::vector<int64_t> axes(attrs.axes.begin(), attrs.axes.end());
  int64_t count = 1;
  for (int64_t axis : axes) count *= shape[axis];
  switch (attrs.kind) {
    case ReduceKind::sum: return to.give(0, to.expand(dy, shape));
    case ReduceKind::mean: return to.give(0, to.expand(to.times(dy, 1 / static_cast<double>(count)), shape));
    case ReduceKind::max:
    case ReduceKind::min: {  // equals share
      const DType type = to.view().graph.values[x].dtype;
      const ValueId chosen = to.cast(to.map(MapOp::equal, {x, y}), type);
      return to.give(0, to.times(chosen, to.over(dy, to.reduce(ReduceKind::sum, chosen, axes))));
    }
    case ReduceKind::prod: {  // the product of all others, which a zero among them makes zero
      const DType type = to.view().graph.values[x].dtype;
      const ValueId zero = to.map(MapOp::equal, {x, to.number(0)});
      const ValueId zeros = to.reduce(ReduceKind::sum, to.cast(zero, type), axes);
      const ValueId others = to.map(MapOp::where, {zero, to.number(1), x});
      const ValueId product = to.times(dy, to.reduce(ReduceKind::prod, others, axes));
      const ValueId none_is = to.map(MapOp::equal, {zeros, to.number(0)}),
                    one_is = to.map(MapOp::equal, {zeros, to.number(1)});
      const ValueId of_zero = to.where(one_is, product), of_others = to.where(none_is, product);
      return to.give(0, to.map(MapOp::where, {zero, to.expand(of_zero, shape), to.over(of_others, others)}));
    }
  }
}

void softmax_gradient(Backward& to) {
  const SoftmaxAttrs attrs = to.as<SoftmaxAttrs>();
  const std::vector<int64_t> axis{static_cast<int64_t>(attrs.axis)};
  const ValueId y = to.y(), dy = to.dy();
  if (attrs.log) {
    const ValueId share = to.times(to.map(MapOp::exp, {y}), to.reduce(ReduceKind::sum, dy, axis));
    return to.give(0, to.minus(dy, share));
  }
  to.give(0, to.times(y, to.minus(dy, to.reduce(ReduceKind::sum, to.times(dy, y), axis))));
}

// With xhat = (x - mean) * r and g = dy * scale: dx = r * (g - mean(g) - xhat * mean(g * xhat)).
void norm_gradient(Backward& to) {
  const NormAttrs attrs = to.as<NormAttrs>();
  const ValueId x = to.x(0), dy = to.dy();
  const int rank = to.rank(x);
  std::vector<int64_t> inner(static_cast<size_t>(rank - static_cast<int>(attrs.axis)));
  std::iota(inner.begin(), inner.end(), static_cast<int64_t>(attrs.axis));
  const auto mean = [&](ValueId v) { return to.reduce(ReduceKind::mean, v, inner); };
  const ValueId centred = attrs.rms ? x : to.minus(x, mean(x));
  const ValueId r = to.map(MapOp::rsqrt, {to.plus(mean(to.square(centred)), static_cast<double>(attrs.epsilon))});
  const ValueId xhat = to.times(centred, r);
  if (to.wants(1)) to.give(1, to.times(dy, xhat));
  if (to.wants(2)) to.give(2, dy);
  if (!to.wants(0)) return;
  const ValueId g = to.has(1) ? to.times(dy, to.x(1)) : dy;
  const ValueId along = to.times(xhat, mean(to.times(g, xhat)));
  to.give(0, to.times(r, to.minus(attrs.rms ? g : to.minus(g, mean(g)), along)));
}

// y = x d^-beta with d = bias + alpha / size * (the sum of squares of a window of channels).
void lrn_gradient(Backward& to) {
  const LrnAttrs attrs = to.as<LrnAttrs>();
  const ValueId x = to.x(0), dy = to.dy();
  const int last = to.rank(x) - 1;
  const int64_t channels = to.shape(x)[last], before = (attrs.size - 1) / 2, after = attrs.size / 2;
  const double alpha = static_cast<double>(attrs.alpha) / static_cast<double>(attrs.size);
  const double beta = static_cast<double>(attrs.beta);
  // [c, o]: channel c is in the window of channel o.
  const ValueId window =
      to.matrix(channels, channels, [&](int64_t c, int64_t o) { return c >= o - before && c <= o + after ? 1 : 0; });
  const ValueId back =
      to.matrix(channels, channels, [&](int64_t o, int64_t c) { return c >= o - before && c <= o + after ? 1 : 0; });
  const ValueId d = to.plus(to.times(to.along(to.square(x), last, window), alpha), static_cast<double>(attrs.bias));
  const ValueId own = to.times(dy, to.map(MapOp::pow, {d, to.number(-beta)}));
  const ValueId shared = to.along(to.over(to.times(own, x), d), last, back);
  to.give(0, to.minus(own, to.times(to.times(x, shared), 2 * alpha * beta)));
}

}  // namespace pando
