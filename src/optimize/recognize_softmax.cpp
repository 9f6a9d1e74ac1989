#include "optimize/recognize_softmax.hpp"

#include "optimize/rewriter.hpp"

namespace pando {
namespace {

// The one axis over which v reduces x; -1 when it does not.
int64_t reduced_axis(const Rewriter& rw, ValueId v, ValueId x, ReduceKind kind) {
  const Node* node = rw.producer(v, reduce_op);
  if (!node || node->inputs[0] != x) return -1;
  const auto& a = node->as<ReduceAttrs>();
  return a.kind == kind && a.axes.size() == 1 ? a.axes[0] : -1;
}

bool match_softmax(Rewriter& rw, Node& node) {
  const MapInstr* in = single_instr(&node);
  if (!in || in->op != MapOp::div || rw.dtype(node.outputs[0]) != DType::f32) return false;
  ValueId e = node.inputs[in->a];
  int64_t axis = reduced_axis(rw, node.inputs[in->b], e, ReduceKind::sum);
  const Node* exp = rw.producer(e);
  const MapInstr* e_instr = single_instr(exp);
  if (axis < 0 || !e_instr || e_instr->op != MapOp::exp) return false;
  const Node* sub = rw.producer(exp->inputs[0]);
  const MapInstr* s_instr = single_instr(sub);
  if (!s_instr || s_instr->op != MapOp::sub) return false;
  ValueId x = sub->inputs[s_instr->a];
  if (reduced_axis(rw, sub->inputs[s_instr->b], x, ReduceKind::max) != axis) return false;
  rw.replace(node, rw.emit(softmax_op, node.name, {x}, SoftmaxAttrs{axis, false}));
  return true;
}

}  // namespace

Graph recognize_softmax(Graph graph, CompileContext& context) {
  return rewrite_nodes(std::move(graph), context, match_softmax);
}

}  // namespace pando
