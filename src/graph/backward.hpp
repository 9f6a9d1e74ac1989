// The gradients of an operator's operands as core operators: what OpDef::gradient is given, and fills.
#pragma once
#include "graph/graph.hpp"
#include "graph/ops/ops.hpp"

namespace pando {

// One node amid reverse-mode differentiation. Gradients have the type and shape of what they belong to.
class Backward {
 public:
  // output_gradients: per output, none where nothing depends on it. wanted: per operand.
  Backward(Graph& graph, const Node& node, std::vector<ValueId> output_gradients, std::vector<bool> wanted);

  NodeView view() const { return {graph_, node_}; }
  template <class A>
  const A& as() const {
    return node_.as<A>();
  }
  bool has(int input) const { return view().has(input); }
  bool wants(int input) const { return input < static_cast<int>(wanted_.size()) && wanted_[input]; }
  ValueId x(int input) const { return node_.inputs[input]; }
  ValueId y(int output = 0) const { return node_.outputs[output]; }
  ValueId dy(int output = 0) const { return output_gradients_[output]; }
  // The gradient of an operand that is wanted; summed down to its shape where it was broadcast. Several are added.
  void give(int input, ValueId gradient);
  const std::vector<ValueId>& given() const { return given_; }
  // Throws not_supported: the node has no gradient, and why.
  [[noreturn]] void none_because(const std::string& reason) const;

  // ---- operators, in the type of their operands ----
  const Shape& shape(ValueId v) const { return graph_.shape(v); }
  int rank(ValueId v) const { return static_cast<int>(shape(v).size()); }
  ValueId add(const OpDef& op, std::vector<ValueId> inputs, Attributes attrs = {});
  // One instruction; comparisons give booleans.
  ValueId map(MapOp op, std::initializer_list<ValueId> operands, double p0 = 0, double p1 = 0);
  ValueId plus(ValueId a, ValueId b) { return map(MapOp::add, {a, b}); }
  ValueId minus(ValueId a, ValueId b) { return map(MapOp::sub, {a, b}); }
  ValueId times(ValueId a, ValueId b) { return map(MapOp::mul, {a, b}); }
  ValueId over(ValueId a, ValueId b) { return map(MapOp::div, {a, b}); }
  template <class Number>
  requires std::is_same_v<Number, int> || std::is_same_v<Number, double> ValueId times(ValueId a, Number factor) {
    return factor == 1 ? a : map(MapOp::mul_imm, {a}, factor);
  }
  template <class Number>
  requires std::is_same_v<Number, int> || std::is_same_v<Number, double> ValueId plus(ValueId a, Number term) {
    return map(MapOp::add_imm, {a}, term);
  }
  ValueId square(ValueId a) { return times(a, a); }
  ValueId minus(ValueId a) { return map(MapOp::neg, {a}); }
  // a where the condition holds, else 0.
  ValueId where(ValueId condition, ValueId a);
  ValueId cast(ValueId a, DType type);
  ValueId reduce(ReduceKind kind, ValueId a, std::vector<int64_t> axes);
  ValueId sum_to(ValueId a, const Shape& shape);
  ValueId expand(ValueId a, const Shape& shape);
  ValueId reshape(ValueId a, Shape shape);
  ValueId transpose(ValueId a, std::vector<int64_t> perm);
  ValueId matmul(ValueId a, ValueId b, bool trans_a = false, bool trans_b = false, double alpha = 1);
  // a with dimension `axis` multiplied by m [extent, other extent].
  ValueId along(ValueId a, int axis, ValueId m);
  // Constants of the type of the gradients.
  ValueId number(double x);
  ValueId zeros(const Shape& shape);
  template <class F>
  ValueId matrix(int64_t rows, int64_t columns, F f) {  // f(row, column)
    std::vector<double> all;
    for (int64_t r = 0; r < rows; r++)
      for (int64_t c = 0; c < columns; c++) all.push_back(f(r, c));
    return constant({rows, columns}, all);
  }
  ValueId constant(const Shape& shape, std::span<const double> elements);

 private:
  Graph& graph_;
  const Node node_;
  std::vector<ValueId> output_gradients_;
  std::vector<bool> wanted_;
  std::vector<ValueId> given_;  // per operand
  DType type_;                  // of the gradients
};

// What stands in OpDef::gradient.
void conv_gradient(Backward&);
void matmul_gradient(Backward&);
void attention_gradient(Backward&);
void map_gradient(Backward&);
void reduce_gradient(Backward&);
void softmax_gradient(Backward&);
void norm_gradient(Backward&);
void lrn_gradient(Backward&);
void pool_gradient(Backward&);
void resize_gradient(Backward&);
void transpose_gradient(Backward&);
void reshape_gradient(Backward&);
void slice_gradient(Backward&);
void concat_gradient(Backward&);
void expand_gradient(Backward&);
void pad_gradient(Backward&);
void gather_gradient(Backward&);
void gather_elements_gradient(Backward&);
void gather_nd_gradient(Backward&);
void scatter_elements_gradient(Backward&);
void scatter_nd_gradient(Backward&);
void cumsum_gradient(Backward&);
void topk_gradient(Backward&);

}  // namespace pando
