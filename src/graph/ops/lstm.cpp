// lstm: long short-term memory over time (Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000 and
// optional peepholes). One operator for all steps: the state between steps is what it has written.
#include <cmath>

#include "graph/ops/common.hpp"

namespace pando {
namespace {

enum { input_x, input_w, input_r, input_bias, input_h, input_c, input_peepholes };
enum { dim_b, dim_t, dim_h, dim_k };  // of the domain
enum { gate_i, gate_o, gate_f, gate_c, gates };
enum { output_y, output_cell };

std::vector<TypeShape> infer(const NodeView& node) {
  check_inputs(node, 3, 7);
  for (int i = input_x; i <= input_r; i++) check_rank(node, i, 3, 3);
  for (int i = input_w; i < node.inputs(); i++) check_same_dtype(node, i);
  DType type = node.in(input_x).dtype;
  if (!is_float(type)) fail(ErrorCode::not_supported, "lstm of {} is not supported", name_of(type));
  const Shape &x = node.in_shape(input_x), &r = node.in_shape(input_r);
  int64_t hidden = r[2];
  check_shape(node, input_w, Shape{gates, hidden, x[2]});
  check_shape(node, input_r, Shape{gates, hidden, hidden});
  if (node.has(input_bias)) check_shape(node, input_bias, Shape{2, gates, hidden});
  for (int i : {input_h, input_c})
    if (node.has(i)) check_shape(node, i, Shape{x[0], hidden});
  if (node.has(input_peepholes)) check_shape(node, input_peepholes, Shape{gates - 1, hidden});
  Shape y = checked({x[0], x[1], hidden});
  return {{type, y}, {type, y}};
}

// A step needs all of the state before it, so that its units are cut only where there is a single step. The sum runs
// over the input's features, then over the state's.
Domain domain(const NodeView& node) {
  const Shape& y = node.out_shape();
  Domain d;
  d.add("b", y[0], Tag::sample);
  d.add("t", y[1], Tag::sequential);
  d.add("h", y[2], y[1] == 1 ? Tag::parameter : Tag::whole);
  d.add("k", node.in_shape(input_x)[2] + y[2], Tag::reduction);
  return d;
}

Access reads(const NodeView& node, int input) {
  const int64_t features = node.in_shape(input_x)[2];
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
    default: return add({axis_fixed(0, gates - 1), axis_same(dim_h)});
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

double operations(const NodeView&, const Box& box) { return 2 * gates * static_cast<double>(box.count()); }

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

// Sums in double. The outputs serve as memory: step t reads what step t - 1 has stored.
template <class T>
class Reference {
 public:
  Reference(std::span<const View> in, std::span<const View> out)
      : in_(in), y_(out[output_y]), cell_(out[output_cell]) {}

  void run() {
    for (int64_t b = 0; b < y_.shape[dim_b]; b++)
      for (int64_t t = 0; t < y_.shape[dim_t]; t++)
        for (int64_t h = 0; h < y_.shape[dim_h]; h++) unit(b, t, h);
  }

 private:
  bool has(size_t i) const { return i < in_.size() && in_[i].data != nullptr; }
  static double at(const View& v, int64_t i, int64_t j) { return value(v, i * v.strides[0] + j * v.strides[1]); }
  static double at(const View& v, int64_t i, int64_t j, int64_t k) {
    return value(v, i * v.strides[0] + j * v.strides[1] + k * v.strides[2]);
  }
  static double value(const View& v, int64_t o) { return static_cast<double>(widen(load<T>(v.data, o))); }
  static void put(const View& v, int64_t i, int64_t j, int64_t k, double x) {
    store(v.data, i * v.strides[0] + j * v.strides[1] + k * v.strides[2], convert<T>(x));
  }
  double state_before(const View& stored, size_t initial, int64_t b, int64_t t, int64_t h) const {
    if (t > 0) return at(stored, b, t - 1, h);
    return has(initial) ? at(in_[initial], b, h) : 0;
  }

  double gate(int g, int64_t b, int64_t t, int64_t h) const {
    double sum = 0;
    for (int64_t k = 0; k < in_[input_x].shape[2]; k++) sum += at(in_[input_x], b, t, k) * at(in_[input_w], g, h, k);
    for (int64_t k = 0; k < in_[input_r].shape[2]; k++)
      sum += state_before(y_, input_h, b, t, k) * at(in_[input_r], g, h, k);
    if (has(input_bias)) sum += at(in_[input_bias], 0, g, h) + at(in_[input_bias], 1, g, h);
    return sum;
  }

  void unit(int64_t b, int64_t t, int64_t h) {
    auto peephole = [&](int g, double c) { return has(input_peepholes) ? at(in_[input_peepholes], g, h) * c : 0; };
    double before = state_before(cell_, input_c, b, t, h);
    double i = sigmoid(gate(gate_i, b, t, h) + peephole(gate_i, before));
    double f = sigmoid(gate(gate_f, b, t, h) + peephole(gate_f, before));
    double c = f * before + i * std::tanh(gate(gate_c, b, t, h));
    double o = sigmoid(gate(gate_o, b, t, h) + peephole(gate_o, c));
    put(cell_, b, t, h, c);
    put(y_, b, t, h, o * std::tanh(c));
  }

  std::span<const View> in_;
  const View &y_, &cell_;
};

void evaluate(const Attributes&, std::span<const View> inputs, std::span<const View> outputs) {
  dispatch_float(inputs[0].dtype, [&](auto tag) { Reference<decltype(tag)>(inputs, outputs).run(); });
}

}  // namespace

// By box: of whole sequences.
const OpDef lstm_op = {.name = "lstm",
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
