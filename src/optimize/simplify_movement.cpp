#include "optimize/simplify_movement.hpp"

#include <cstring>

#include "optimize/permutation.hpp"
#include "optimize/rewriter.hpp"

namespace pando {
namespace {

// The operand that this node only hands on; none when it does something.
ValueId identity_of(const Rewriter& rw, const Node& node) {
  if (node.outputs.size() != 1 || node.inputs.empty() || node.inputs[0] == none || !node.op->identity) return none;
  const int i = node.op->identity({rw.g, node});
  if (i < 0) return none;
  const ValueId x = node.inputs[static_cast<size_t>(i)], out = node.outputs[0];
  return rw.shape(x) == rw.shape(out) && rw.dtype(x) == rw.dtype(out) ? x : none;
}

bool skip_identity(Rewriter& rw, Node& node) {
  const ValueId x = identity_of(rw, node);
  if (x != none) rw.replace(node, x);
  return x != none;
}

// Two of the same operator, one after the other, that are one.
bool join_with_same(Rewriter& rw, Node& node) {
  if (!node.op->compose) return false;
  const Node* before = rw.producer(node.inputs[0]);
  if (!before || before->op != node.op) return false;
  node.attrs = node.op->compose(before->attrs, node.attrs);
  rw.exchange_input(node, 0, ValueId(before->inputs[0]));
  return true;
}

bool simplify_transpose(Rewriter& rw, Node& node) {
  const ValueId x = node.inputs[0];
  if (!moves_only_ones(rw.shape(x), node.as<TransposeAttrs>().perm)) return false;
  rw.replace(node, rw.emit(reshape_op, node.name, {x}, ReshapeAttrs{rw.shape(node.outputs[0])}));
  return true;
}

constexpr size_t max_joined = 256;  // operands of a concat that goes into another: a long chain costs linear time

bool simplify_concat(Rewriter& rw, Node& node) {
  int64_t axis = node.as<ConcatAttrs>().axis;
  std::vector<ValueId> inputs;
  for (ValueId v : node.inputs) {
    const Node* inner = rw.producer(v, concat_op);
    if (rw.shape(v)[axis] == 0 && rw.shape(node.outputs[0])[axis] > 0) continue;
    if (inner && inner->as<ConcatAttrs>().axis == axis && rw.single(v) && inner->inputs.size() <= max_joined)
      inputs.insert(inputs.end(), inner->inputs.begin(), inner->inputs.end());
    else inputs.push_back(v);
  }
  if (inputs == node.inputs) return false;
  rw.replace(node, inputs.size() == 1 ? inputs[0] : rw.emit(concat_op, node.name, inputs, node.attrs));
  return true;
}

// A gather of one known index is a slice: an address instead of a copy.
bool simplify_gather(Rewriter& rw, Node& node) {
  ValueId x = node.inputs[0], at = node.inputs[1];
  if (!rw.is_constant(at) || rw.is_constant(x) || element_count(rw.shape(at)) != 1) return false;
  const Tensor& t = *rw.g.values[at].constant;
  int64_t index = 0;
  if (t.dtype == DType::i64) std::memcpy(&index, t.data, 8);
  else if (int32_t i; t.dtype == DType::i32) std::memcpy(&i, t.data, 4), index = i;
  else return false;
  int64_t axis = node.as<GatherAttrs>().axis;
  SliceAttrs a{Shape(rw.shape(x).size(), 0), Shape(rw.shape(x).size(), 1), rw.shape(x)};
  if (index < 0) index += a.sizes[axis];
  if (index < 0 || index >= a.sizes[axis]) return false;
  a.starts[axis] = index;
  a.sizes[axis] = 1;
  ValueId row = rw.emit(slice_op, node.name, {x}, std::move(a));
  rw.replace(node, rw.emit(reshape_op, node.name, {row}, ReshapeAttrs{rw.shape(node.outputs[0])}));
  return true;
}

// Operands of a map broadcast anyway: an expand before it is needed only where nothing else gives the extents.
void skip_expands(Rewriter& rw, Node& node) {
  for (size_t i = 0; i < node.inputs.size(); i++) {
    const Node* before = rw.producer(node.inputs[i], expand_op);
    if (!before) continue;
    Shape shape = rw.shape(before->inputs[0]);
    for (size_t j = 0; j < node.inputs.size(); j++)
      if (j != i) shape = broadcast_shape(shape, rw.shape(node.inputs[j]));
    if (shape == rw.shape(node.outputs[0])) rw.exchange_input(node, i, before->inputs[0]);
  }
}

bool simplify_move(Rewriter& rw, Node& node) {
  if (skip_identity(rw, node) || (join_with_same(rw, node) && skip_identity(rw, node))) return true;
  if (node.op->order == Order::broadcast) skip_expands(rw, node);
  if (node.op == &transpose_op) return simplify_transpose(rw, node);
  if (node.op == &concat_op) return simplify_concat(rw, node);
  if (node.op == &gather_op) return simplify_gather(rw, node);
  return false;
}

}  // namespace

Graph simplify_movement(Graph graph, CompileContext& context) {
  return rewrite_nodes(std::move(graph), context, simplify_move);
}

}  // namespace pando
