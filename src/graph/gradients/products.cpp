// Products: matmul, conv and attention.
#include <numeric>

#include "graph/backward.hpp"
#include "graph/ops/window.hpp"

namespace pando {
namespace {

std::vector<int64_t> all_but_last(int rank) {
  std::vector<int64_t> axes(static_cast<size_t>(rank) - 1);
  std::iota(axes.begin(), axes.end(), 0);
  return axes;
}

void refuse_epilogue(Backward& to, const Epilogue& epilogue) {
  if (!epilogue.empty()) to.none_because("it was fused with what follows");
}

// ---- conv ----

// A convolution as one with positive paddings or none: what is cropped or filled around x beforehand.
struct Spatial {
  const ConvAttrs& attrs;
  Shape x, w, y;
  int count() const { return static_cast<int>(x.size()) - 2; }
  int64_t kernel(int i) const { return w[i + 2]; }
  int64_t reach(int i) const { return (kernel(i) - 1) * attrs.dilations[i]; }
};

ValueId padded(Backward& to, ValueId v, Shape begin, Shape end) {
  const auto zero = [](int64_t p) { return p == 0; };
  if (std::all_of(begin.begin(), begin.end(), zero) && std::all_of(end.begin(), end.end(), zero)) return v;
  return to.add(pad_op, {v}, PadAttrs{{std::move(begin)}, {std::move(end)}, PadMode::constant, 0.0});
}

// The image with stride - 1 zeros after each pixel, and none after the last.
ValueId spread(Backward& to, ValueId v, const ConvAttrs& attrs) {
  if (std::all_of(attrs.strides.begin(), attrs.strides.end(), [](int64_t s) { return s == 1; })) return v;
  const Shape from = to.shape(v);
  const size_t spatial = from.size() - 2;
  for (size_t i = 0; i < spatial; i++) {  // a dimension at a time: ranks stay small
    const int64_t s = attrs.strides[i];
    if (s == 1) continue;
    Shape outer = to.shape(v), split = outer;
    const size_t d = i + 1;
    split.insert(split.begin() + static_cast<int64_t>(d) + 1, 1);
    Shape none_before(split.size(), 0), after(split.size(), 0), crop(outer.size(), 0);
    after[d + 1] = s - 1;
    const int64_t extent = outer[d];
    outer[d] = extent * s;
    v = to.reshape(padded(to, to.reshape(v, split), none_before, after), outer);
    crop[d] = -(s - 1);
    v = padded(to, v, Shape(outer.size(), 0), crop);
  }
  return v;
}

// Each pixel of x takes part in the outputs that its taps reach: a convolution of the spread gradient by the weights
// turned around, channels exchanged within their groups.
ValueId conv_input_gradient(Backward& to, ValueId dy) {
  const ConvAttrs& attrs = to.as<ConvAttrs>();
  const Spatial s{attrs, to.shape(to.x(0)), to.shape(to.x(1)), to.shape(dy)};
  const int64_t co = s.w[0] / attrs.group, ci = s.w[1];
  Shape split = s.w;
  split[0] = co, split.insert(split.begin(), attrs.group);
  std::vector<int64_t> exchange(split.size());
  std::iota(exchange.begin(), exchange.end(), 0);
  std::swap(exchange[1], exchange[2]);
  Shape turned = s.w;
  turned[0] = ci * attrs.group, turned[1] = co;
  ValueId w = to.reshape(to.transpose(to.reshape(to.x(1), split), exchange), turned);
  SliceAttrs flip{{Shape(turned.size(), 0)}, {Shape(turned.size(), 1)}, {turned}};
  ConvAttrs back;
  back.group = attrs.group;
  Shape begin(s.x.size(), 0), end(s.x.size(), 0);
  const ValueId image = spread(to, dy, attrs);
  for (int i = 0; i < s.count(); i++) {
    flip.starts[i + 2] = s.kernel(i) - 1, flip.steps[i + 2] = -1;
    const int64_t extent = to.shape(image)[i + 1], before = s.reach(i) - attrs.pads_begin[i];
    const int64_t after = s.x[i + 1] + s.reach(i) - extent - before;  // so many that x's extent comes out
    back.strides.push_back(1), back.dilations.push_back(attrs.dilations[i]);
    back.pads_begin.push_back(std::max<int64_t>(before, 0)), back.pads_end.push_back(std::max<int64_t>(after, 0));
    begin[i + 1] = std::min<int64_t>(before, 0), end[i + 1] = std::min<int64_t>(after, 0);
  }
  return to.add(conv_op, {padded(to, image, begin, end), to.add(slice_op, {w}, flip)}, back);
}

// Channels become samples and samples channels: the gradient is the kernel that slides over x, strides are its
// dilations.
ValueId conv_weight_gradient(Backward& to, ValueId dy) {
  const ConvAttrs& attrs = to.as<ConvAttrs>();
  const Spatial s{attrs, to.shape(to.x(0)), to.shape(to.x(1)), to.shape(dy)};
  const int rank = static_cast<int>(s.x.size());
  const int64_t n = s.x[0], ci = s.w[1];
  // x [N, spatial, G, Ci/G] -> [Ci/G, spatial, G, N]
  Shape split = s.x;
  split.back() = attrs.group, split.push_back(ci);
  std::vector<int64_t> perm(static_cast<size_t>(rank) + 1);
  std::iota(perm.begin(), perm.end(), 0);
  std::swap(perm.front(), perm.back());
  Shape joined = s.x;
  joined[0] = ci, joined.back() = attrs.group * n;
  ValueId x = to.reshape(to.transpose(to.reshape(to.x(0), split), perm), joined);
  // dy [N, spatial, Co] -> [Co, N, spatial]
  std::vector<int64_t> to_weights{rank - 1, 0};
  for (int i = 0; i < s.count(); i++) to_weights.push_back(i + 1);
  const ValueId kernel = to.transpose(dy, to_weights);
  ConvAttrs back;
  back.group = attrs.group;
  Shape begin(joined.size(), 0), end(joined.size(), 0);
  for (int i = 0; i < s.count(); i++) {
    const int64_t reach = (s.y[i + 1] - 1) * attrs.strides[i];
    // So much after x that the kernel finds exactly `kernel(i)` places.
    const int64_t after = s.reach(i) + reach + 1 - s.x[i + 1] - attrs.pads_begin[i];
    back.strides.push_back(attrs.dilations[i]), back.dilations.push_back(attrs.strides[i]);
    back.pads_begin.push_back(attrs.pads_begin[i]), back.pads_end.push_back(std::max<int64_t>(after, 0));
    end[i + 1] = std::min<int64_t>(after, 0);
  }
  const ValueId dw = to.add(conv_op, {padded(to, x, begin, end), kernel}, back);  // [Ci/G, kernel, Co]
  std::vector<int64_t> order{rank - 1, 0};
  for (int i = 0; i < s.count(); i++) order.push_back(i + 1);
  return to.transpose(dw, order);
}

}  // namespace

void matmul_gradient(Backward& to) {
  const MatMulAttrs attrs = to.as<MatMulAttrs>();
  refuse_epilogue(to, attrs.epilogue);
  const ValueId a = to.x(0), b = to.x(1), dy = to.dy();
  if (attrs.blocks) to.none_because("its weights are quantized");
  const double alpha = static_cast<double>(attrs.alpha);
  // One matrix for all of a's rows: they are rows of one product.
  const bool flat = to.rank(b) == 2 && to.rank(a) > 2 && !attrs.trans_a;
  const auto rows = [&](ValueId v) {
    const Shape s = to.shape(v);
    return flat ? to.reshape(v, {element_count(std::span(s).first(s.size() - 1)), s.back()}) : v;
  };
  const ValueId g = rows(dy), ra = rows(a);
  if (to.wants(0)) {
    const ValueId da =
        attrs.trans_a ? to.matmul(b, g, attrs.trans_b, true, alpha) : to.matmul(g, b, false, !attrs.trans_b, alpha);
    to.give(0, flat ? to.reshape(da, to.shape(a)) : da);
  }
  if (to.wants(1))
    to.give(1, attrs.trans_b ? to.matmul(g, ra, true, attrs.trans_a, alpha)
                             : to.matmul(ra, g, !attrs.trans_a, false, alpha));
  if (to.wants(2)) to.give(2, to.reduce(ReduceKind::sum, dy, all_but_last(to.rank(dy))));
}

// y = scale * (x * w) + bias
void conv_gradient(Backward& to) {
  refuse_epilogue(to, to.as<ConvAttrs>().epilogue);
  if (to.has(3)) to.none_because("its weights are scaled per channel");
  const ValueId dy = to.dy();
  if (to.wants(0)) to.give(0, conv_input_gradient(to, dy));
  if (to.wants(1)) to.give(1, conv_weight_gradient(to, dy));
  if (to.wants(2)) to.give(2, to.reduce(ReduceKind::sum, dy, all_but_last(to.rank(dy))));
}

// The probabilities again, as a product, a mask and a softmax.
void attention_gradient(Backward& to) {
  const AttentionAttrs attrs = to.as<AttentionAttrs>();
  enum { q_, k_, v_, mask_, keep_, fill_ };
  if (to.has(fill_)) to.none_because("scores that are replaced have no gradient yet");
  const double scale = static_cast<double>(attrs.scale);
  const auto heads_first = [&](ValueId v) { return to.transpose(v, {0, 2, 1, 3}); };
  const ValueId q = heads_first(to.x(q_)), k = heads_first(to.x(k_)), v = heads_first(to.x(v_)),
                g = heads_first(to.dy());
  ValueId scores = to.matmul(q, k, false, true, scale);
  if (to.has(mask_)) scores = to.plus(scores, to.x(mask_));
  if (attrs.causal) {
    const int64_t s = to.shape(scores)[2], t = to.shape(scores)[3];
    const ValueId unseen = to.matrix(s, t, [&](int64_t i, int64_t j) { return j > i + t - s ? 1 : 0; });
    scores = to.map(MapOp::where, {to.cast(unseen, DType::boolean), to.number(-INFINITY), scores});
  }
  const ValueId p = to.add(softmax_op, {scores}, SoftmaxAttrs{3, false});
  const ValueId dp = to.matmul(g, v, false, true);
  const ValueId mean = to.reduce(ReduceKind::sum, to.times(dp, p), {3});
  const ValueId ds = to.times(p, to.minus(dp, mean));
  if (to.wants(q_)) to.give(q_, heads_first(to.matmul(ds, k, false, false, scale)));
  if (to.wants(k_)) to.give(k_, heads_first(to.matmul(ds, q, true, false, scale)));
  if (to.wants(v_)) to.give(v_, heads_first(to.matmul(p, g, true, false)));
  if (to.wants(mask_)) to.give(mask_, ds);
}

}  // namespace pando
