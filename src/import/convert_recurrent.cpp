// Recurrent operators: one core operator per direction.
#include <algorithm>

#include "import/converters.hpp"

namespace pando::onnx {
namespace {

// Operands 0..7 of LSTM.
enum { input_x, input_w, input_r, input_bias, input_lengths, input_h, input_c, input_peepholes };

void check_defaults(const OnnxNode& n) {
  std::vector<std::string_view> activations = n.strings("activations");
  constexpr std::string_view usual[] = {"Sigmoid", "Tanh", "Tanh"};
  for (size_t i = 0; i < activations.size(); i++)
    if (activations[i] != usual[i % 3]) n.unsupported("activation '{}' at {} is", activations[i], i);
  if (n.has_attr("clip")) n.unsupported("clip is");
  if (n.i("input_forget", 0) != 0) n.unsupported("input_forget is");
}

// How many steps each sequence of a batch has, where they differ: values of a run or constants. The core operator
// runs all steps of all sequences, since no step reads a later one; what lies behind a sequence's end is replaced.
class Lengths {
 public:
  Lengths(const OnnxNode& n, Builder& b, int64_t batch, int64_t steps) : b_(b), batch_(batch), steps_(steps) {
    if (!n.has(input_lengths)) return;
    const ValueId given = n.in(input_lengths);
    if (b.shape(given) != Shape{batch})
      n.invalid("sequence_lens is {}, expected {}", to_string(b.shape(given)), to_string(Shape{batch}));
    if (const TensorPtr& known = b.constant_of(given)) {
      const std::vector<int64_t> lengths = elements<int64_t>(*known);
      for (int64_t l : lengths)
        if (l < 0 || l > steps) n.invalid("sequence_lens holds {}, the sequence has {} steps", l, steps);
      if (std::count(lengths.begin(), lengths.end(), steps) == batch) return;
    }
    // Values of a run stay within the sequence, whatever they are.
    ValueId length = b.reshape(b.cast(given, DType::i64), {batch, 1});
    length_ = b.map(MapOp::min, {b.map(MapOp::max, {length, number(0)}), number(steps)});
    first_ = b.reshape(b.map(MapOp::mul, {b.iota(batch, 1, 0), number(steps)}), {batch, 1});
    step_ = b.iota(steps, 2, 1);
    within_ = b.map(MapOp::less, {step_, length_});
  }
  bool differ() const { return length_ != none; }

  // Each sequence of [batch, steps, ..] backwards; what lies behind its end stays there.
  ValueId reversed(ValueId v) const {
    if (!differ()) return b_.slice_axis(v, 1, steps_ - 1, steps_, -1);
    ValueId mirrored = b_.map(MapOp::sub, {b_.map(MapOp::sub, {length_, number(1)}), step_});
    ValueId from = b_.map(MapOp::where, {within_, mirrored, step_});
    return b_.gather(rows(v), b_.map(MapOp::add, {from, first_}), 0);
  }
  // [batch, features] of the last step; of a sequence without steps the initial state.
  ValueId last(ValueId v, ValueId initial) const {
    const Shape state{batch_, b_.shape(v)[2]};
    if (!differ()) return b_.reshape(b_.slice_axis(v, 1, steps_ - 1, 1), state);
    ValueId at = b_.map(MapOp::max, {b_.map(MapOp::sub, {length_, number(1)}), number(0)});
    ValueId found = b_.reshape(b_.gather(rows(v), b_.map(MapOp::add, {at, first_}), 0), state);
    if (initial == none) initial = b_.scalar(b_.dtype(v), 0);
    return b_.map(MapOp::where, {b_.map(MapOp::less, {number(0), length_}), found, initial});
  }
  // Zeros behind the end.
  ValueId cut(ValueId v) const {
    if (!differ()) return v;
    return b_.map(MapOp::where, {b_.reshape(within_, {batch_, steps_, 1}), v, b_.scalar(b_.dtype(v), 0)});
  }

 private:
  ValueId number(int64_t n) const { return b_.ints({n}, {1, 1}); }
  ValueId rows(ValueId v) const { return b_.reshape(v, {batch_ * steps_, b_.shape(v)[2]}); }

  Builder& b_;
  int64_t batch_, steps_;
  ValueId length_ = none, first_ = none, step_ = none, within_ = none;  // [batch, 1], [batch, 1], [1, steps], both
};

// Part `direction` of dimension `axis`, without it.
ValueId direction_of(Builder& b, ValueId v, int axis, int64_t direction) {
  Shape shape = b.shape(v);
  v = b.slice_axis(v, axis, direction, 1);
  shape.erase(shape.begin() + axis);
  return b.reshape(v, shape);
}

// Core sequences are [batch, time, features]; ONNX's have time first unless layout is 1. A backward direction runs on
// reversed steps, and its outputs are reversed again.
Values lstm(const OnnxNode& n, Builder& b) {
  ValueId x = n.in(input_x), w = n.in(input_w), r = n.in(input_r);
  bool batch_first = n.flag("layout", false);
  std::string_view direction = n.s("direction", "forward");
  if (direction != "forward" && direction != "reverse" && direction != "bidirectional")
    n.invalid("direction '{}'", direction);
  int64_t directions = direction == "bidirectional" ? 2 : 1;
  if (b.rank(x) != 3 || b.rank(w) != 3 || b.rank(r) != 3)
    n.invalid("operands {}, {} and {}: expected 3 dimensions each", to_string(b.shape(x)), to_string(b.shape(w)),
              to_string(b.shape(r)));
  if (!batch_first) x = b.transpose(x, {1, 0, 2});
  int64_t batch = b.shape(x)[0], steps = b.shape(x)[1], features = b.shape(x)[2], hidden = b.shape(r)[2];
  if (n.i("hidden_size", hidden) != hidden)
    n.invalid("hidden_size {} and R {}", n.i("hidden_size", 0), to_string(b.shape(r)));
  if (b.shape(w) != Shape{directions, 4 * hidden, features} || b.shape(r) != Shape{directions, 4 * hidden, hidden})
    n.invalid("weights {} and {} for input features {}, {} directions", to_string(b.shape(w)), to_string(b.shape(r)),
              features, directions);
  if (steps == 0) n.unsupported("a sequence without steps is");
  check_defaults(n);
  const Lengths lengths(n, b, batch, steps);
  auto operand = [&](int i, const Shape& expected) {
    if (n.has(i) && b.shape(n.in(i)) != expected)
      n.invalid("operand {} is {}, expected {}", i, to_string(b.shape(n.in(i))), to_string(expected));
    return n.optional(i);
  };
  int state_axis = batch_first ? 1 : 0;
  Shape state = batch_first ? Shape{batch, directions, hidden} : Shape{directions, batch, hidden};
  ValueId bias = operand(input_bias, {directions, 8 * hidden}), h = operand(input_h, state),
          c = operand(input_c, state), peepholes = operand(input_peepholes, {directions, 3 * hidden});
  Values y, last_h, last_c;
  for (int64_t d = 0; d < directions; d++) {
    bool backward = d == 1 || direction == "reverse";
    auto turned = [&](ValueId v) { return backward ? lengths.reversed(v) : v; };
    auto part = [&](ValueId v, int axis) { return v == none ? none : direction_of(b, v, axis, d); };
    auto gates = [&](ValueId v, Shape shape) { return v == none ? none : b.reshape(part(v, 0), std::move(shape)); };
    const ValueId initial_h = part(h, state_axis), initial_c = part(c, state_axis);
    Values out = b.add_all(lstm_op,
                           {turned(x), gates(w, {4, hidden, features}), gates(r, {4, hidden, hidden}),
                            gates(bias, {2, 4, hidden}), initial_h, initial_c, gates(peepholes, {3, hidden})},
                           {});
    const Shape one_direction = state_axis ? Shape{batch, 1, hidden} : Shape{1, batch, hidden};
    last_h.push_back(b.reshape(lengths.last(out[0], initial_h), one_direction));
    last_c.push_back(b.reshape(lengths.last(out[1], initial_c), one_direction));
    ValueId all = lengths.cut(turned(out[0]));
    if (!batch_first) all = b.transpose(all, {1, 0, 2});
    Shape with_direction = b.shape(all);
    with_direction.insert(with_direction.begin() + (batch_first ? 2 : 1), 1);
    y.push_back(b.reshape(all, with_direction));
  }
  return {b.concat(y, batch_first ? 2 : 1), b.concat(last_h, state_axis), b.concat(last_c, state_axis)};
}

constexpr Converter recurrent_list[] = {{"LSTM", lstm}};

}  // namespace

std::span<const Converter> recurrent_converters() { return recurrent_list; }

}  // namespace pando::onnx
