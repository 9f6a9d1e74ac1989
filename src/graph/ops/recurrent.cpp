// recurrent: RNN, GRU (Cho et al. 2014) and LSTM (Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al.
// 2000 and optional peepholes) over time. One operator for all steps: the state between steps is what it has written.
#include <algorithm>
#include <cmath>

#include "graph/ops/common.hpp"

namespace pando {
namespace {

using namespace recurrent;
enum { dim_b, dim_t, dim_h, dim_k };  // of the domain
enum { gate_i, gate_o, gate_f, gate_c };
enum { gate_z, gate_r, gate_hidden };

CellKind cell_of(const NodeView& node) { return node.as<RecurrentAttrs>().cell; }

// The hidden gate's products of a gru read what the reset gate made of the whole state.
bool resets_first(const RecurrentAttrs& a) { return a.cell == CellKind::gru && !a.linear_before_reset; }

std::vector<TypeShape> infer(const NodeView& node) {
  const auto& a = node.as<RecurrentAttrs>();
  const bool lstm = a.cell == CellKind::lstm;
  const int64_t gates = gates_of(a.cell);
  check_inputs(node, 3, lstm ? 7 : 5);
  for (int i = input_x; i <= input_r; i++) check_rank(node, i, 3, 3);
  for (int i = input_w; i < node.inputs(); i++) check_same_dtype(node, i);
  DType type = node.in(input_x).dtype;
  if (!is_float(type)) fail(ErrorCode::not_supported, "recurrent of {} is not supported", name_of(type));
  if (!a.activations.empty() && a.activations.size() != activations_of(a.cell))
    fail(ErrorCode::invalid_model, "{} activations, expected {}", a.activations.size(), activations_of(a.cell));
  const Shape &x = node.in_shape(input_x), &r = node.in_shape(input_r);
  int64_t hidden = r[2];
  check_shape(node, input_w, Shape{gates, hidden, x[2]});
  check_shape(node, input_r, Shape{gates, hidden, hidden});
  if (node.has(input_bias)) check_shape(node, input_bias, Shape{2, gates, hidden});
  for (int i : {input_h, input_c})
    if (node.has(i)) check_shape(node, i, Shape{x[0], hidden});
  if (node.has(input_peepholes)) check_shape(node, input_peepholes, Shape{3, hidden});
  const TypeShape y{type, checked({x[0], x[1], hidden})};
  if (lstm || resets_first(a)) return {y, y};
  return {y};
}

// A step needs all of the state before it, so that its units are cut only where there is a single step; not those of a
// gru, whose units also read their own state. The sum runs over the input's features, then over the state's.
Domain domain(const NodeView& node) {
  const Shape& y = node.out_shape();
  Domain d;
  d.add("b", y[0], Tag::sample);
  d.add("t", y[1], Tag::sequential);
  d.add("h", y[2], y[1] == 1 && cell_of(node) != CellKind::gru ? Tag::parameter : Tag::whole);
  d.add("k", node.in_shape(input_x)[2] + y[2], Tag::reduction);
  return d;
}

Access reads(const NodeView& node, int input) {
  const int64_t features = node.in_shape(input_x)[2], gates = gates_of(cell_of(node));
  const AxisRule of_input = axis_window(dim_k, 1, 0, 0), of_state = axis_window(dim_k, 1, -features, -features);
  Access a = Access::by_axes();
  auto add = [&](std::initializer_list<AxisRule> rules) {
    for (const AxisRule& r : rules) a.add(r);
    return a;
  };
  switch (input) {
    case input_x: return add({axis_same(dim_b), axis_same(dim_t), of_input});
    case input_w: return add({axis_fixed(0, gates), axis_same(dim_h), of_input});
    case input_r: return add({axis_fixed(0, gates), axis_same(dim_h), of_state});
    case input_bias: return add({axis_fixed(0, 2), axis_fixed(0, gates), axis_same(dim_h)});
    case input_h: return add({axis_same(dim_b), of_state});
    case input_c: return add({axis_same(dim_b), axis_same(dim_h)});
    default: return add({axis_fixed(0, 3), axis_same(dim_h)});
  }
}

Access writes(const NodeView&, int) { return identity_access(3); }

// The step before each: of the output all units, of the cells its own.
Access carries(const NodeView& node, int output) {
  Access a = Access::by_axes();
  a.add(axis_same(dim_b));
  a.add(axis_window(dim_t, 1, -1, -1));
  a.add(output == output_y ? axis_fixed(0, node.out_shape()[2]) : axis_same(dim_h));
  return a;
}

double operations(const NodeView& node, const Box& box) {
  return 2 * static_cast<double>(gates_of(cell_of(node))) * static_cast<double>(box.count());
}

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

double activate(const Activation& a, double x) {
  const double alpha = double{a.alpha}, beta = double{a.beta};
  switch (a.kind) {
    case ActivationKind::relu: return x < 0 ? 0 : x;
    case ActivationKind::tanh: return std::tanh(x);
    case ActivationKind::sigmoid: return sigmoid(x);
    case ActivationKind::affine: return alpha * x + beta;
    case ActivationKind::leaky_relu: return x < 0 ? alpha * x : x;
    case ActivationKind::thresholded_relu: return x < alpha ? 0 : x;
    case ActivationKind::scaled_tanh: return alpha * std::tanh(beta * x);
    case ActivationKind::hard_sigmoid: return std::min(std::max(alpha * x + beta, 0.0), 1.0);
    case ActivationKind::elu: return x < 0 ? alpha * std::expm1(x) : x;
    case ActivationKind::softsign: return x / (1 + std::abs(x));
    case ActivationKind::softplus: return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x)));
  }
  return x;
}

// Sums in double. The outputs serve as memory: step t reads what step t - 1 has stored.
template <class T>
class Reference {
 public:
  Reference(const RecurrentAttrs& attrs, std::span<const View> in, std::span<const View> out)
      : attrs_(attrs), in_(in), y_(out[output_y]), memory_(out.size() > 1 ? out[output_memory] : out[output_y]) {}

  void run() {
    for (int64_t b = 0; b < y_.shape[dim_b]; b++)
      for (int64_t t = 0; t < y_.shape[dim_t]; t++) step(b, t);
  }

 private:
  enum { f, g, h };  // activations by ONNX's names

  bool has(size_t i) const { return i < in_.size() && in_[i].data != nullptr; }
  static double at(const View& v, int64_t i, int64_t j) { return value(v, i * v.strides[0] + j * v.strides[1]); }
  static double at(const View& v, int64_t i, int64_t j, int64_t k) {
    return value(v, i * v.strides[0] + j * v.strides[1] + k * v.strides[2]);
  }
  static double value(const View& v, int64_t o) { return static_cast<double>(widen(load<T>(v.data, o))); }
  static void put(const View& v, int64_t i, int64_t j, int64_t k, double x) {
    store(v.data, i * v.strides[0] + j * v.strides[1] + k * v.strides[2], convert<T>(x));
  }
  double state_before(const View& stored, size_t initial, int64_t b, int64_t t, int64_t u) const {
    if (t > 0) return at(stored, b, t - 1, u);
    return has(initial) ? at(in_[initial], b, u) : 0;
  }
  double output_before(int64_t b, int64_t t, int64_t u) const { return state_before(y_, input_h, b, t, u); }

  double apply(size_t which, double x) const {
    const double limit = double{attrs_.clip};
    // What the output takes is not clipped: so does ONNX Runtime.
    if (limit > 0 && which != h) x = x < -limit ? -limit : x > limit ? limit : x;
    if (!attrs_.activations.empty()) return activate(attrs_.activations[which], x);
    return which == f && attrs_.cell != CellKind::rnn ? sigmoid(x) : std::tanh(x);
  }

  double bias(int64_t part, int64_t gate, int64_t u) const {
    return has(input_bias) ? at(in_[input_bias], part, gate, u) : 0;
  }
  double of_input(int64_t gate, int64_t b, int64_t t, int64_t u) const {
    double sum = 0;
    for (int64_t k = 0; k < in_[input_x].shape[2]; k++) sum += at(in_[input_x], b, t, k) * at(in_[input_w], gate, u, k);
    return sum;
  }
  // state(k): element k of what the state's weights multiply.
  template <class State>
  double of_state(double sum, int64_t gate, int64_t u, const State& state) const {
    for (int64_t k = 0; k < in_[input_r].shape[2]; k++) sum += state(k) * at(in_[input_r], gate, u, k);
    return sum;
  }
  double gate(int64_t gate, int64_t b, int64_t t, int64_t u) const {
    return of_state(of_input(gate, b, t, u), gate, u, [&](int64_t k) { return output_before(b, t, k); }) +
           (bias(0, gate, u) + bias(1, gate, u));
  }

  void step(int64_t b, int64_t t) {
    const int64_t units = y_.shape[dim_h];
    if (resets_first(attrs_))
      for (int64_t u = 0; u < units; u++)
        put(memory_, b, t, u, apply(f, gate(gate_r, b, t, u)) * output_before(b, t, u));
    for (int64_t u = 0; u < units; u++) {
      if (attrs_.cell == CellKind::rnn) put(y_, b, t, u, apply(f, gate(0, b, t, u)));
      else if (attrs_.cell == CellKind::gru) gru(b, t, u);
      else lstm(b, t, u);
    }
  }

  void gru(int64_t b, int64_t t, int64_t u) {
    double hidden = of_input(gate_hidden, b, t, u);
    if (attrs_.linear_before_reset) {
      const double product = of_state(0, gate_hidden, u, [&](int64_t k) { return output_before(b, t, k); });
      const double reset = apply(f, gate(gate_r, b, t, u));
      hidden += bias(0, gate_hidden, u) + reset * (product + bias(1, gate_hidden, u));
    } else {
      hidden = of_state(hidden, gate_hidden, u, [&](int64_t k) { return at(memory_, b, t, k); }) +
               (bias(0, gate_hidden, u) + bias(1, gate_hidden, u));
    }
    const double z = apply(f, gate(gate_z, b, t, u));
    put(y_, b, t, u, (1 - z) * apply(g, hidden) + z * output_before(b, t, u));
  }

  void lstm(int64_t b, int64_t t, int64_t u) {
    auto peephole = [&](int p, double c) { return has(input_peepholes) ? at(in_[input_peepholes], p, u) * c : 0; };
    const double before = state_before(memory_, input_c, b, t, u);
    const double in = apply(f, gate(gate_i, b, t, u) + peephole(gate_i, before));
    const double forget = attrs_.input_forget ? 1 - in : apply(f, gate(gate_f, b, t, u) + peephole(gate_f, before));
    const double c = forget * before + in * apply(g, gate(gate_c, b, t, u));
    const double out = apply(f, gate(gate_o, b, t, u) + peephole(gate_o, c));
    put(memory_, b, t, u, c);
    put(y_, b, t, u, out * apply(h, c));
  }

  const RecurrentAttrs& attrs_;
  std::span<const View> in_;
  const View &y_, &memory_;
};

void evaluate(const Attributes& attributes, std::span<const View> inputs, std::span<const View> outputs) {
  dispatch_float(inputs[0].dtype,
                 [&](auto tag) { Reference<decltype(tag)>(attributes.as<RecurrentAttrs>(), inputs, outputs).run(); });
}

}  // namespace

// By box: of whole sequences.
const OpDef recurrent_op = {.name = "recurrent",
                            .attributes = attributes_of<RecurrentAttrs>,
                            .infer = infer,
                            .domain = domain,
                            .reads = reads,
                            .writes = writes,
                            .operations = operations,
                            .evaluate = evaluate,
                            .matrix = true,
                            .by_box = true,
                            .carries = carries};

}  // namespace pando
