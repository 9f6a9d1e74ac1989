// attention: softmax(scale * q k^T + mask) v per head, without storing the scores.
#include <cmath>
#include <limits>

#include "graph/ops/common.hpp"

namespace pando {
namespace {

enum { input_q, input_k, input_v, input_mask, input_keep, input_fill };
enum { dim_b, dim_s, dim_h, dim_dv, dim_t };  // of the domain

std::vector<TypeShape> infer(const NodeView& node) {
  check_inputs(node, 3, 6);
  for (int i = input_q; i <= input_v; i++) check_rank(node, i, 4, 4);
  for (int i = input_k; i < node.inputs(); i++) check_same_dtype(node, i);
  if (!is_float(node.in(input_q).dtype))
    fail(ErrorCode::not_supported, "attention of {} is not supported", name_of(node.in(input_q).dtype));
  const Shape &q = node.in_shape(input_q), &k = node.in_shape(input_k), &v = node.in_shape(input_v);
  check_shape(node, input_k, Shape{q[0], k[1], q[2], q[3]});
  check_shape(node, input_v, Shape{q[0], k[1], q[2], v[3]});
  const Shape scores{q[0], q[2], q[1], k[1]};
  for (int i = input_mask; i < node.inputs(); i++)
    if (node.has(i)) check_broadcasts_to(node.in_shape(i), scores, "a mask");
  if (node.has(input_keep) && !node.has(input_fill))
    fail(ErrorCode::invalid_model, "operand {} needs operand {}", int{input_keep}, int{input_fill});
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

// Keys that take part, seen or not: with a fill all of them.
AxisRule filled_keys(const NodeView& node) {
  return node.has(input_fill) ? axis_fixed(0, node.in_shape(input_v)[1]) : keys(node);
}

// The mask and keep are looked at where a key is seen.
Access reads_mask(const NodeView& node, int input) {
  const AxisRule rules[4] = {axis_same(dim_b), axis_same(dim_h), axis_same(dim_s),
                             input == input_fill ? filled_keys(node) : keys(node)};
  const Shape& mask = node.in_shape(input);
  Access a = Access::by_axes();
  for (size_t i = 0; i < mask.size(); i++) a.add(mask[i] == 1 ? axis_fixed(0, 1) : rules[i + 4 - mask.size()]);
  return a;
}

Access reads(const NodeView& node, int input) {
  if (input >= input_mask) return reads_mask(node, input);
  Access a = Access::by_axes();
  a.add(axis_same(dim_b));
  a.add(input == input_q ? axis_same(dim_s) : input == input_k ? keys(node) : filled_keys(node));
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
// there is no memory to keep them. A query that sees no key, where there is no fill, gives 0; one whose keys are all
// masked by -inf gives NaN.
template <class T>
class Reference {
 public:
  Reference(const AttentionAttrs& attrs, std::span<const View> in, const View& out)
      : attrs_(attrs),
        q_(in[input_q]),
        k_(in[input_k]),
        v_(in[input_v]),
        out_(out),
        mask_(in, input_mask),
        keep_(in, input_keep),
        fill_(in, input_fill) {}

  void run() {
    Extents queries = out_.shape;
    queries[3] = 1;
    for_each_index(queries, [&](const Extents& at) { attend(at); });
  }

 private:
  static constexpr int64_t chunk = 128;

  // An operand that broadcasts to [B, H, S, T], or nothing.
  struct Mask {
    Mask(std::span<const View> in, size_t i) : view(in.size() > i && in[i].data ? &in[i] : nullptr) {
      if (view) strides = broadcast_strides(*view, 4);
    }
    explicit operator bool() const { return view != nullptr; }
    double at(const Extents& query, int64_t t) const {
      return value(*view, query[0] * strides[0] + query[2] * strides[1] + query[1] * strides[2] + t * strides[3]);
    }
    const View* view;
    Extents strides;
  };

  static double rounded(double x) { return static_cast<double>(static_cast<Compute<T>>(x)); }
  static double value(const View& v, int64_t at) { return static_cast<double>(widen(load<T>(v.data, at))); }

  double score(const Extents& at, int64_t t, int64_t visible) const {
    if (t >= visible || (keep_ && keep_.at(at, t) == 0)) return fill_.at(at, t);
    int64_t q = offset(q_, at), k = at[0] * k_.strides[0] + t * k_.strides[1] + at[2] * k_.strides[2];
    double sum = 0;
    for (int64_t d = 0; d < q_.shape[3]; d++)
      sum += value(q_, q + d * q_.strides[3]) * value(k_, k + d * k_.strides[3]);
    // Rounded where the operators that it stands for round: a mask may swallow the score.
    sum = rounded(sum * static_cast<double>(attrs_.scale));
    return mask_ ? rounded(sum + mask_.at(at, t)) : sum;
  }

  void attend(const Extents& at) {
    int64_t visible = k_.shape[1];
    // The last query sees the last key, also when a box has cut both.
    if (attrs_.causal) visible = std::clamp<int64_t>(at[1] + 1 + visible - q_.shape[1], 0, visible);
    const int64_t keys = fill_ ? v_.shape[1] : visible;
    double top = -std::numeric_limits<double>::infinity();
    for (int64_t t = 0; t < keys; t++) top = std::max(top, score(at, t, visible));
    for (int64_t first = 0; first < out_.shape[3]; first += chunk) {
      int64_t count = std::min(chunk, out_.shape[3] - first);
      double sum = 0, acc[chunk] = {};
      for (int64_t t = 0; t < keys; t++) {
        double weight = std::exp(score(at, t, visible) - top);
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
  Mask mask_, keep_, fill_;
};

void evaluate(const Attributes& any, std::span<const View> inputs, std::span<const View> outputs) {
  const auto& attrs = any.as<AttentionAttrs>();
  dispatch_float(inputs[0].dtype, [&](auto tag) { Reference<decltype(tag)>(attrs, inputs, outputs[0]).run(); });
}

}  // namespace

// By box: the keys are cut at the last query's, which is what the causal rule counts from.
const OpDef attention_op = {.name = "attention",
                            .attributes = attributes_of<AttentionAttrs>,
                            .infer = infer,
                            .domain = domain,
                            .reads = reads,
                            .writes = writes,
                            .operations = operations,
                            .evaluate = evaluate,
                            .matrix = true,
                            .by_box = true,
                            .gradient = attention_gradient};

}  // namespace pando
