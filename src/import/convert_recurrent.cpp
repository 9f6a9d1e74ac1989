// Recurrent operators: one core operator per direction.
#include <algorithm>
#include <cctype>

#include "import/converters.hpp"

namespace pando::onnx {
namespace {

// Operands of RNN and GRU, up to the state, and of LSTM.
enum { input_x, input_w, input_r, input_bias, input_lengths, input_h, input_c, input_peepholes };

struct ActivationRow {
  std::string_view name;
  ActivationKind kind;
  int parameters;  // 1: alpha, 2: and beta
  float alpha, beta;
};
constexpr ActivationRow activation_rows[] = {{"Relu", ActivationKind::relu, 0, 0, 0},
                                             {"Tanh", ActivationKind::tanh, 0, 0, 0},
                                             {"Sigmoid", ActivationKind::sigmoid, 0, 0, 0},
                                             {"Affine", ActivationKind::affine, 2, 1, 0},
                                             {"LeakyRelu", ActivationKind::leaky_relu, 1, 0.01f, 0},
                                             {"ThresholdedRelu", ActivationKind::thresholded_relu, 1, 1, 0},
                                             {"ScaledTanh", ActivationKind::scaled_tanh, 2, 1, 1},
                                             {"HardSigmoid", ActivationKind::hard_sigmoid, 2, 0.2f, 0.5f},
                                             {"Elu", ActivationKind::elu, 1, 1, 0},
                                             {"Softsign", ActivationKind::softsign, 0, 0, 0},
                                             {"Softplus", ActivationKind::softplus, 0, 0, 0}};

bool same_word(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](unsigned char x, unsigned char y) { return std::tolower(x) == std::tolower(y); });
}

// Activations of all directions, or none: the usual ones. Parameters are consumed in order by those that take them.
std::vector<Activation> read_activations(const OnnxNode& n, CellKind cell, int64_t directions) {
  const std::vector<std::string_view> names = n.strings("activations");
  const std::vector<float> alphas = n.floats("activation_alpha"), betas = n.floats("activation_beta");
  const size_t expected = activations_of(cell) * static_cast<size_t>(directions);
  if (!names.empty() && names.size() != expected) n.invalid("{} activations, expected {}", names.size(), expected);
  std::vector<Activation> list;
  size_t alpha = 0, beta = 0;
  for (std::string_view name : names) {
    const auto* row = std::find_if(std::begin(activation_rows), std::end(activation_rows),
                                   [&](const ActivationRow& r) { return same_word(r.name, name); });
    if (row == std::end(activation_rows)) n.invalid("activation '{}'", name);
    Activation a{row->kind, row->alpha, row->beta};
    if (row->parameters > 0 && alpha < alphas.size()) a.alpha = alphas[alpha++];
    if (row->parameters > 1 && beta < betas.size()) a.beta = betas[beta++];
    list.push_back(a);
  }
  if (alpha < alphas.size() || beta < betas.size())
    n.invalid("{} activation_alpha and {} activation_beta, {} and {} are used", alphas.size(), betas.size(), alpha,
              beta);
  return list;
}

// Those of one direction; none where they are the usual ones, for which there are kernels.
std::vector<Activation> of_direction(const std::vector<Activation>& all, CellKind cell, int64_t direction) {
  if (all.empty()) return {};
  const size_t count = activations_of(cell);
  const auto first = all.begin() + static_cast<std::ptrdiff_t>(count) * direction;
  std::vector<Activation> list(first, first + static_cast<std::ptrdiff_t>(count));
  bool usual = true;
  for (size_t i = 0; i < count; i++)
    usual = usual && list[i].kind == (i == 0 && cell != CellKind::rnn ? ActivationKind::sigmoid : ActivationKind::tanh);
  return usual ? std::vector<Activation>{} : list;
}

RecurrentAttrs read_attributes(const OnnxNode& n, CellKind cell) {
  RecurrentAttrs attrs;
  attrs.cell = cell;
  attrs.clip = n.f("clip", 0);
  if (n.has_attr("clip") && !(attrs.clip > 0)) n.invalid("clip {}, expected a positive number", attrs.clip);
  attrs.input_forget = cell == CellKind::lstm && n.flag("input_forget", false);
  attrs.linear_before_reset = cell == CellKind::gru && n.flag("linear_before_reset", false);
  return attrs;
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
Values recurrent(const OnnxNode& n, Builder& b, CellKind cell) {
  const int64_t gate_count = gates_of(cell);
  const bool lstm = cell == CellKind::lstm;
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
  if (b.shape(w) != Shape{directions, gate_count * hidden, features} ||
      b.shape(r) != Shape{directions, gate_count * hidden, hidden})
    n.invalid("weights {} and {} for input features {}, {} directions", to_string(b.shape(w)), to_string(b.shape(r)),
              features, directions);
  if (steps == 0) n.unsupported("a sequence without steps is");
  RecurrentAttrs attrs = read_attributes(n, cell);
  const std::vector<Activation> activations = read_activations(n, cell, directions);
  const Lengths lengths(n, b, batch, steps);
  auto operand = [&](int i, const Shape& expected) {
    if (n.has(i) && b.shape(n.in(i)) != expected)
      n.invalid("operand {} is {}, expected {}", i, to_string(b.shape(n.in(i))), to_string(expected));
    return n.optional(i);
  };
  int state_axis = batch_first ? 1 : 0;
  Shape state = batch_first ? Shape{batch, directions, hidden} : Shape{directions, batch, hidden};
  ValueId bias = operand(input_bias, {directions, 2 * gate_count * hidden}), h = operand(input_h, state),
          c = lstm ? operand(input_c, state) : none,
          peepholes = lstm ? operand(input_peepholes, {directions, 3 * hidden}) : none;
  Values y, last_h, last_c;
  for (int64_t d = 0; d < directions; d++) {
    bool backward = d == 1 || direction == "reverse";
    auto turned = [&](ValueId v) { return backward ? lengths.reversed(v) : v; };
    auto part = [&](ValueId v, int axis) { return v == none ? none : direction_of(b, v, axis, d); };
    auto gates = [&](ValueId v, Shape shape) { return v == none ? none : b.reshape(part(v, 0), std::move(shape)); };
    const ValueId initial_h = part(h, state_axis), initial_c = part(c, state_axis);
    attrs.activations = of_direction(activations, cell, d);
    Values operands{turned(x), gates(w, {gate_count, hidden, features}), gates(r, {gate_count, hidden, hidden}),
                    gates(bias, {2, gate_count, hidden}), initial_h};
    if (lstm) operands.insert(operands.end(), {initial_c, gates(peepholes, {3, hidden})});
    Values out = b.add_all(recurrent_op, operands, attrs);
    const Shape one_direction = state_axis ? Shape{batch, 1, hidden} : Shape{1, batch, hidden};
    last_h.push_back(b.reshape(lengths.last(out[0], initial_h), one_direction));
    if (lstm) last_c.push_back(b.reshape(lengths.last(out[1], initial_c), one_direction));
    ValueId all = lengths.cut(turned(out[0]));
    if (!batch_first) all = b.transpose(all, {1, 0, 2});
    Shape with_direction = b.shape(all);
    with_direction.insert(with_direction.begin() + (batch_first ? 2 : 1), 1);
    y.push_back(b.reshape(all, with_direction));
  }
  Values outputs{b.concat(y, batch_first ? 2 : 1), b.concat(last_h, state_axis)};
  if (lstm) outputs.push_back(b.concat(last_c, state_axis));
  return outputs;
}

template <CellKind cell>
Values of_cell(const OnnxNode& n, Builder& b) {
  return recurrent(n, b, cell);
}
constexpr Converter recurrent_list[] = {
    {"RNN", of_cell<CellKind::rnn>}, {"GRU", of_cell<CellKind::gru>}, {"LSTM", of_cell<CellKind::lstm>}};

}  // namespace

std::span<const Converter> recurrent_converters() { return recurrent_list; }

}  // namespace pando::onnx
