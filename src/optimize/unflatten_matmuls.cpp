#include "optimize/unflatten_matmuls.hpp"

#include "optimize/rewriter.hpp"

namespace pando {
namespace {

bool unflatten(Rewriter& rw, Node& node) {
  if (node.op != &reshape_op || !rw.single(node.inputs[0])) return false;
  const Node* found = rw.producer(node.inputs[0], matmul_op);
  if (!found) return false;
  Node matmul = *found;
  const auto& attrs = matmul.as<MatMulAttrs>();
  ValueId a = matmul.inputs[0];
  if (attrs.trans_a || !attrs.epilogue.empty()) return false;
  if (rw.shape(a).size() != 2 || rw.shape(matmul.inputs[1]).size() != 2 || !rw.producer(a, reshape_op)) return false;
  Shape shape = rw.shape(node.outputs[0]);
  if (shape.size() < 3 || shape.size() > max_rank - 1 || shape.back() != rw.shape(matmul.outputs[0]).back())
    return false;
  shape.back() = rw.shape(a).back();
  if (element_count(shape) != element_count(rw.shape(a))) return false;  // extents of 0 can hide anything
  matmul.inputs[0] = rw.emit(reshape_op, matmul.name, {a}, ReshapeAttrs{shape});
  rw.replace(node, rw.emit(matmul_op, matmul.name, matmul.inputs, matmul.attrs));
  return true;
}

}  // namespace

Graph unflatten_matmuls(Graph graph, CompileContext& context) {
  return rewrite_nodes(std::move(graph), context, unflatten);
}

}  // namespace pando
