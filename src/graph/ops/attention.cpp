// attention: softmax(scale * q k^T + mask) v per head, without storing the scores.
#include <cmath>
#include <limits>

#include "graph/ops/common.hpp"

namespace pando {
namespace {

enum { input_q, input_k, input_v, input_mask };
enum { dim_b, dim_s, dim_h, dim_dv, dim_t };  // of the domain

std::vector<TypeShape> infer(const NodeView& node) {
  check_inputs(node, 3, 4);
  for (int i = input_q; i <= input_v; i++) check_rank(node, i, 4, 4);
  for (int i = input_k; i < node.inputs(); i++) check_same_dtype(node, i);
  if (!is_float(node.in(input_q).dtype))
    fail(ErrorCode::not_supported, "attention of {} is not supported", name_of(node.in(input_q).dtype));
  const Shape &q = node.in_shape(input_q), &k = node.in_shape(input_k), &v = node.in_shape(input_v);
  check_shape(node, input_k, Shape{q[0], k[1], q[2], q[3]});
  check_shape(node, input_v, Shape{q[0], k[1], q[2], v[3]});
  if (node.has(input_mask)) check_broadcasts_to(node.in_shape(input_mask), Shape{q[0], q[2], q[1], k[1]}, "the mask");
  return {{node.in(input_q).dtype, checked({q[0], q[1], q[2], v[3]})}};
}

Domain domain(const NodeView& node) {
  const Shape& y = node.out_shape();
  Domain d;
  d.add("b", y[0], Tag::sample);
  d.add("s", y[1], Tag::attribute);
  d.add("h", y[2], Tag::parameter);
  d.add("dv", y[3], Tag::whole);
  d.add("t", node.in_shape(input_k)[1], Tag::reduction);
  return d;
}

// Keys that the queries of a box see: with a causal mask those up to the last query's.
AxisRule keys(const NodeView& node) {
  if (!node.as<AttentionAttrs>().causal) return axis_same(dim_t);
  int64_t queries = node.in_shape(input_q)[1], keys = node.in_shape(input_k)[1];
  AxisRule r = axis_window(dim_s, 1, 0, keys - queries);
  r.from_zero = true;
  return r;
}

Access reads_mask(const NodeView& node) {
  const AxisRule rules[4] = {axis_same(dim_b), axis_same(dim_h), axis_same(dim_s), keys(node)};
  const Shape& mask = node.in_shape(input_mask);
  Access a = Access::by_axes();
  for (size_t i = 0; i < mask.size(); i++) a.add(mask[i] == 1 ? axis_fixed(0, 1) : rules[i + 4 - mask.size()]);
  return a;
}

Access reads(const NodeView& node, int input) {
  if (input == input_mask) return reads_mask(node);
  Access a = Access::by_axes();
  a.add(axis_same(dim_b));
  a.add(input == input_q ? axis_same(dim_s) : keys(node));
  a.add(axis_same(dim_h));
  a.add(input == input_v ? axis_same(dim_dv) : axis_fixed(0, node.in_shape(input)[3]));
  return a;
}

Access writes(const NodeView&, int) { return identity_access(4); }

// Multiply-adds of both products; causal boxes have a trapezoid of keys.
double operations(const NodeView& node, const Box& box) {
  double pairs = static_cast<double>(box[dim_s].size()) * static_cast<double>(box[dim_t].size());
  if (node.as<AttentionAttrs>().causal && !box[dim_s].empty()) {
    int64_t total = node.in_shape(input_k)[1], shift = total - node.in_shape(input_q)[1];
    auto seen = [&](int64_t s) { return static_cast<double>(std::clamp<int64_t>(s + shift + 1, 0, total)); };
    pairs = static_cast<double>(box[dim_s].size()) * (seen(box[dim_s].lo) + seen(box[dim_s].hi - 1)) / 2;
  }
  double width = static_cast<double>(node.in_shape(input_q)[3] + box[dim_dv].size());
  return 2 * static_cast<double>(box[dim_b].size() * box[dim_h].size()) * pairs * width;
}

// One query of one head at a time. Scores are computed anew for the maximum and for every chunk of v's columns, since
// there is no memory to keep them. A query that sees no key gives 0; one whose keys are all masked by -inf gives NaN.
template <class T>
class Reference {
 public:
  Reference(const AttentionAttrs& attrs, std::span<const View> in, const View& out)
      : attrs_(attrs),
        q_(in[input_q]),
        k_(in[input_k]),
        v_(in[input_v]),
        out_(out),
        mask_(in.size() > input_mask && in[input_mask].data ? &in[input_mask] : nullptr) {
    if (mask_) mask_strides_ = broadcast_strides(*mask_, 4);
  }

  void run() {
    Extents queries = out_.shape;
    queries[3] = 1;
    for_each_index(queries, [&](const Extents& at) { attend(at); });
  }

 private:
  static constexpr int64_t chunk = 128;

  static double value(const View& v, int64_t at) { return static_cast<double>(widen(load<T>(v.data, at))); }

  double score(const Extents& at, int64_t t) const {
    int64_t q = offset(q_, at), k = at[0] * k_.strides[0] + t * k_.strides[1] + at[2] * k_.strides[2];
    double sum = 0;
    for (int64_t d = 0; d < q_.shape[3]; d++)
      sum += value(q_, q + d * q_.strides[3]) * value(k_, k + d * k_.strides[3]);
    sum *= static_cast<double>(attrs_.scale);
    if (mask_)
      sum += value(*mask_, at[0] * mask_strides_[0] + at[2] * mask_strides_[1] + at[1] * mask_strides_[2] +
                               t * mask_strides_[3]);
    return sum;
  }

  void attend(const Extents& at) {
    int64_t keys = k_.shape[1];
    // The last query sees the last key, also when a box has cut both.
    if (attrs_.causal) keys = std::clamp<int64_t>(at[1] + 1 + keys - q_.shape[1], 0, keys);
    double top = -std::numeric_limits<double>::infinity();
    for (int64_t t = 0; t < keys; t++) top = std::max(top, score(at, t));
    for (int64_t first = 0; first < out_.shape[3]; first += chunk) {
      int64_t count = std::min(chunk, out_.shape[3] - first);
      double sum = 0, acc[chunk] = {};
      for (int64_t t = 0; t < keys; t++) {
        double weight = std::exp(score(at, t) - top);
        int64_t v = at[0] * v_.strides[0] + t * v_.strides[1] + at[2] * v_.strides[2] + first * v_.strides[3];
        sum += weight;
        for (int64_t d = 0; d < count; d++) acc[d] += weight * value(v_, v + d * v_.strides[3]);
      }
      int64_t o = offset(out_, at) + first * out_.strides[3];
      for (int64_t d = 0; d < count; d++)
        store(out_.data, o + d * out_.strides[3], convert<T>(keys > 0 ? acc[d] / sum : 0));
    }
  }

  const AttentionAttrs& attrs_;
  const View &q_, &k_, &v_, &out_;
  const View* mask_;
  Extents mask_strides_;
};

void evaluate(const std::any& any, std::span<const View> inputs, std::span<const View> outputs) {
  const auto& attrs = std::any_cast<const AttentionAttrs&>(any);
  dispatch_float(inputs[0].dtype, [&](auto tag) { Reference<decltype(tag)>(attrs, inputs, outputs[0]).run(); });
}

}  // namespace

// By box: the keys are cut at the last query's, which is what the causal rule counts from.
const OpDef attention_op = {.name = "attention",
                            .infer = infer,
                            .domain = domain,
                            .reads = reads,
                            .writes = writes,
                            .operations = operations,
                            .evaluate = evaluate,
                            .matrix = true,
                            .by_box = true};

}  // namespace pando
