// Appends core operators to a graph while its shapes are inferred, and evaluates at once what depends on constants
// only: so the chains of Shape, Gather, Concat and Reshape that exporters write vanish.
#pragma once
#include <initializer_list>
#include <string>
#include <vector>

#include "graph/evaluate.hpp"
#include "graph/ops/ops.hpp"
#include "import/import.hpp"

namespace pando::onnx {

using Values = std::vector<ValueId>;

class Builder {
 public:
  Builder(Graph& graph, const ImportLimits& limits, CompileContext& context)
      : graph_(graph), limits_(limits), context_(context) {}

  // The name that nodes get from now on.
  void set_node(std::string name) { node_ = std::move(name); }
  const std::string& node() const { return node_; }
  const TensorPtr& constant_of(ValueId v) const { return graph_.values[v].constant; }  // null: not a constant

  const Shape& shape(ValueId v) const { return graph_.values[v].shape; }
  DType dtype(ValueId v) const { return graph_.values[v].dtype; }
  int rank(ValueId v) const { return static_cast<int>(shape(v).size()); }
  int64_t count(ValueId v) const { return element_count(shape(v)); }
  bool is_constant(ValueId v) const { return graph_.is_constant(v); }

  Values add_all(const OpDef& op, Values inputs, Attributes attrs);
  ValueId add(const OpDef& op, Values inputs, Attributes attrs = {}) {
    return add_all(op, std::move(inputs), std::move(attrs))[0];
  }

  // One instruction of a map program. The result has the type of the first operand (of the second for `where`);
  // boolean for comparisons.
  ValueId map(MapOp op, Values inputs, double p0 = 0, double p1 = 0);
  ValueId cast(ValueId v, DType to);
  // 16-bit floats as float32, in which statistics and sums of several steps are computed; others as they are.
  ValueId widen(ValueId v);
  ValueId reshape(ValueId v, Shape shape);
  ValueId transpose(ValueId v, std::vector<int64_t> perm);
  ValueId reduce(ReduceKind kind, ValueId v, std::vector<int64_t> axes, bool keep = true);
  ValueId slice(ValueId v, std::vector<int64_t> starts, std::vector<int64_t> steps, std::vector<int64_t> sizes);
  ValueId slice_axis(ValueId v, int axis, int64_t start, int64_t size, int64_t step = 1);
  ValueId concat(const Values& values, int64_t axis);
  ValueId expand(ValueId v, Shape shape);
  ValueId gather(ValueId data, ValueId indices, int64_t axis);
  ValueId pad(ValueId v, std::vector<int64_t> begin, std::vector<int64_t> end);  // with zeros; negative: crops
  ValueId matmul(ValueId a, ValueId b) { return add(matmul_op, {a, b, none}, MatMulAttrs{}); }
  // NC... to N...C and back.
  ValueId channels_last(ValueId v);
  ValueId channels_first(ValueId v);

  ValueId constant(TensorPtr tensor) { return graph_.add_constant("", std::move(tensor)); }
  ValueId scalar(DType dtype, double value);  // rank 0
  ValueId ints(const std::vector<int64_t>& values, Shape shape);
  ValueId ints(const std::vector<int64_t>& values) { return ints(values, {static_cast<int64_t>(values.size())}); }
  ValueId floats(const std::vector<float>& values, Shape shape);
  // 0, 1, .. n-1 along dimension `axis` of a tensor of `rank` dimensions whose others are 1.
  ValueId iota(int64_t n, int rank, int axis);
  // Memory for a constant that the file does not hold; counts against the compilation's. Throws invalid_model when
  // too little is left.
  std::shared_ptr<Tensor> new_tensor(DType dtype, Shape shape);
  bool affords(int64_t bytes) const { return context_.affords(bytes); }
  // No name stands for v any more: its constant is freed unless a node that was emitted reads it.
  void forget(ValueId v);
  // Calls f(begin, end) for pieces of 0..n: for loops of a converter's own over elements, which a token may stop.
  template <class F>
  void in_slices(int64_t n, F&& f) const {
    constexpr int64_t slice = 1 << 18;
    for (int64_t begin = 0; begin < n; begin += slice) {
      context_.check();
      f(begin, std::min(begin + slice, n));
    }
  }

  // Throws NeedsInputValue or not_supported: the value that `what` describes is not known before the run.
  [[noreturn]] void need_value(ValueId v, const std::string& what) const;

 private:
  bool fold(const Node& node);  // false: it stays a node
  void count_node();
  void check(std::span<const int64_t> shape) const;

  Graph& graph_;
  const ImportLimits& limits_;
  CompileContext& context_;
  std::string node_;
  int64_t node_bytes_ = 0;        // of the nodes emitted so far
  std::vector<bool> read_;        // by value: an emitted node reads it; may be shorter
  std::vector<NodeId> producer_;  // by value; may be shorter than the list of values
};

// The elements of a constant, converted.
template <class T>
std::vector<T> elements(const Tensor& tensor);

}  // namespace pando::onnx
