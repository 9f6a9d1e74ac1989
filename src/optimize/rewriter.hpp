// The one way in which passes change a graph: nodes are taken in order and emitted again, changed, replaced or not.
#pragma once
#include <optional>

#include "base/compile_context.hpp"
#include "graph/ops/ops.hpp"

namespace pando {

// Rebuilds a graph front to back. A pass looks backwards from the node at hand: what it reads has been emitted.
// rewrite_nodes, below, is the loop that passes are made of.
class Rewriter {
 public:
  explicit Rewriter(Graph graph);
  Graph g;  // values of all; nodes emitted so far (op == nullptr: dead)

  // The nodes of the original graph. `next` resolves a node's operands; call it before looking at them.
  std::vector<Node> take() { return std::move(pending_); }
  void next(Node& node);

  void emit(Node&& node);  // after next(); keeps its outputs' values
  ValueId emit(const OpDef& op, const std::string& name, std::vector<ValueId> inputs, Attributes attrs);
  ValueId constant(TensorPtr tensor);
  // `node` (after next(), not emitted) is done: the readers of its output 0 read `by` instead.
  void replace(Node& node, ValueId by) { replace(node, 0, by), drop(node); }
  void replace(Node& node, size_t output, ValueId by) { replace(node.outputs[output], by); }
  void replace(ValueId old, ValueId by);
  void keep(ValueId v) { uses_[v]++; }  // it does not die in this pass, even when nothing reads it any more
  void drop(Node& node);                // its operands are no longer used by it
  void exchange_input(Node& node, size_t i, ValueId by);  // of the node at hand
  void exchange_inputs(Node& node, std::vector<ValueId> inputs);
  // Takes an emitted node out. emit_for puts it, with operands `added` at its end, where `node` stands: it makes what
  // `node` made.
  Node extract(NodeId n);
  void emit_for(Node& node, Node extracted, const std::vector<ValueId>& added);

  ValueId resolve(ValueId v) const;
  NodeId producer_id(ValueId v) const { return v == none ? none : producer_[v]; }
  // The emitted node that makes v as its output 0; nullptr when there is none, or it is not `op`.
  const Node* producer(ValueId v) const;
  const Node* producer(ValueId v, const OpDef& op) const;
  uint32_t uses(ValueId v) const { return uses_[v]; }  // operands of nodes, done and to come, and graph outputs
  bool single(ValueId v) const { return uses_[v] == 1; }
  const Shape& shape(ValueId v) const { return g.values[v].shape; }
  DType dtype(ValueId v) const { return g.values[v].dtype; }
  bool is_constant(ValueId v) const { return g.is_constant(v); }

  // Sets outputs right (a copy where an output would be an input, a constant or another output), drops what is dead.
  Graph finish();

 private:
  std::vector<Node> pending_;
  std::vector<ValueId> alias_;
  std::vector<uint32_t> uses_;
  std::vector<NodeId> producer_;
  void grow();
  void hold(const std::vector<ValueId>& values);
  void release(ValueId v);
};

// Calls rewrite(rw, node) for every node, its operands resolved; emits the node when the answer is false.
template <class F>
Graph rewrite_nodes(Graph graph, const CompileContext& context, F&& rewrite) {
  Rewriter rw(std::move(graph));
  for (Node& node : rw.take()) {
    context.check();
    rw.next(node);
    if (!rewrite(rw, node)) rw.emit(std::move(node));
  }
  return rw.finish();
}

// The instruction of a map of one instruction; nullptr for anything else.
const MapInstr* single_instr(const Node* node);
MapAttrs map_of(MapOp op, double p0 = 0, double p1 = 0, DType out = DType::f32);
// The value of a constant of one element of a floating-point type.
std::optional<float> scalar_value(const Graph& graph, ValueId v);
// Same bytes in another shape: no copy.
TensorPtr reshaped(const TensorPtr& tensor, Shape shape);
// The shape to which these broadcast.
Shape broadcast_shape(std::span<const int64_t> a, std::span<const int64_t> b);
// x if v = x * factor for a known scalar factor, by any of mul_imm, mul, div; the factor otherwise 1 and v itself.
struct Scaled {
  ValueId x;
  double factor;
};
Scaled scaled(const Rewriter& rw, ValueId v);

}  // namespace pando
