// Recurrent operators: one core operator per direction.
#include "import/converters.hpp"

namespace pando::onnx {
namespace {

// Operands 0..7 of LSTM.
enum { input_x, input_w, input_r, input_bias, input_lengths, input_h, input_c, input_peepholes };

void check_defaults(const OnnxNode& n, int64_t steps) {
  std::vector<std::string_view> activations = n.strings("activations");
  constexpr std::string_view usual[] = {"Sigmoid", "Tanh", "Tanh"};
  for (size_t i = 0; i < activations.size(); i++)
    if (activations[i] != usual[i % 3]) n.unsupported("activation '{}' at {} is", activations[i], i);
  if (n.has_attr("clip")) n.unsupported("clip is");
  if (n.i("input_forget", 0) != 0) n.unsupported("input_forget is");
  if (!n.has(input_lengths)) return;
  for (int64_t length : n.constant_ints(input_lengths, "the lengths"))
    if (length != steps) n.unsupported("sequence_lens that differ from the sequence are");
}

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
  check_defaults(n, steps);
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
    auto turned = [&](ValueId v) { return backward ? b.slice_axis(v, 1, steps - 1, steps, -1) : v; };
    auto part = [&](ValueId v, int axis) { return v == none ? none : direction_of(b, v, axis, d); };
    auto gates = [&](ValueId v, Shape shape) { return v == none ? none : b.reshape(part(v, 0), std::move(shape)); };
    Values out = b.add_all(
        lstm_op,
        {turned(x), gates(w, {4, hidden, features}), gates(r, {4, hidden, hidden}), gates(bias, {2, 4, hidden}),
         part(h, state_axis), part(c, state_axis), gates(peepholes, {3, hidden})},
        {});
    last_h.push_back(b.reshape(b.slice_axis(out[0], 1, steps - 1, 1),
                               state_axis ? Shape{batch, 1, hidden} : Shape{1, batch, hidden}));
    last_c.push_back(b.reshape(b.slice_axis(out[1], 1, steps - 1, 1),
                               state_axis ? Shape{batch, 1, hidden} : Shape{1, batch, hidden}));
    ValueId all = turned(out[0]);
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
