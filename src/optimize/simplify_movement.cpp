#include "optimize/simplify_movement.hpp"

#include <cmath>
#include <cstring>
#include <numeric>

#include "optimize/permutation.hpp"
#include "optimize/rewriter.hpp"

namespace pando {
namespace {

bool all_of_float(const Graph& graph, ValueId v, float x) {
  if (!graph.is_constant(v) || graph.values[v].dtype != DType::f32) return false;
  const Tensor& t = *graph.values[v].constant;
  int64_t n = element_count(t.shape);
  if (n > 65536) return false;
  for (int64_t i = 0; i < n; i++) {
    float e;
    std::memcpy(&e, t.data + i * 4, 4);
    if (e != x || std::signbit(e) != std::signbit(x)) return false;
  }
  return true;
}

// The operand that a map of one instruction passes on unchanged. -0 may be added to all numbers, 0 not to -0.
ValueId map_identity(const Rewriter& rw, const Node& node) {
  const MapInstr* in = single_instr(&node);
  if (!in) return none;
  ValueId a = node.inputs[in->a], b = node.inputs[operand_count(in->op) > 1 ? in->b : in->a], out = node.outputs[0];
  auto same = [&](ValueId v) { return rw.shape(v) == rw.shape(out) && rw.dtype(v) == rw.dtype(out) ? v : none; };
  switch (in->op) {
    case MapOp::copy:
    case MapOp::cast: return same(a);
    case MapOp::add_imm: return in->p0 == 0 && std::signbit(in->p0) ? same(a) : none;
    case MapOp::mul_imm: return in->p0 == 1 ? same(a) : none;
    case MapOp::add:
      if (all_of_float(rw.g, b, -0.0f)) return same(a);
      return all_of_float(rw.g, a, -0.0f) ? same(b) : none;
    case MapOp::sub: return all_of_float(rw.g, b, 0) ? same(a) : none;
    case MapOp::mul:
      if (all_of_float(rw.g, b, 1)) return same(a);
      return all_of_float(rw.g, a, 1) ? same(b) : none;
    case MapOp::div:
    case MapOp::pow: return all_of_float(rw.g, b, 1) ? same(a) : none;
    default: return none;
  }
}

// The input that this node only hands on; none when it does something.
ValueId identity_of(const Rewriter& rw, const Node& node) {
  if (node.outputs.size() != 1 || node.inputs.empty() || node.inputs[0] == none) return none;
  ValueId x = node.inputs[0];
  const Shape &in = rw.shape(x), &out = rw.shape(node.outputs[0]);
  if (node.op == &map_op) return map_identity(rw, node);
  if (in != out || rw.dtype(x) != rw.dtype(node.outputs[0])) return none;
  return node.op->is_identity && node.op->is_identity({rw.g, node}) ? x : none;
}

bool simplify_transpose(Rewriter& rw, Node& node) {
  Perm perm = node.as<TransposeAttrs>().perm;
  ValueId x = node.inputs[0];
  const Node* before = rw.producer(x, transpose_op);
  if (before) {
    perm = compose(before->as<TransposeAttrs>().perm, perm);
    x = before->inputs[0];
  }
  if (moves_only_ones(rw.shape(x), perm)) {
    rw.replace(node, rw.emit(reshape_op, node.name, {x}, ReshapeAttrs{rw.shape(node.outputs[0])}));
    return true;
  }
  if (!before) return false;
  rw.replace(node, rw.emit(transpose_op, node.name, {x}, TransposeAttrs{perm}));
  return true;
}

bool simplify_slice(Rewriter& rw, Node& node) {
  const Node* before = rw.producer(node.inputs[0], slice_op);
  if (!before) return false;
  SliceAttrs a = node.as<SliceAttrs>();
  const auto& first = before->as<SliceAttrs>();
  for (size_t i = 0; i < a.starts.size(); i++) {
    // The step of one element, and the start of none, may be anything: even a product that overflows.
    a.starts[i] = a.sizes[i] > 0 ? first.starts[i] + a.starts[i] * first.steps[i] : 0;
    a.steps[i] = a.sizes[i] > 1 ? a.steps[i] * first.steps[i] : 1;
  }
  rw.replace(node, rw.emit(slice_op, node.name, {before->inputs[0]}, std::move(a)));
  return true;
}

constexpr size_t most_joined = 256;  // operands of a concat that goes into another: a long chain costs linear time

bool simplify_concat(Rewriter& rw, Node& node) {
  int64_t axis = node.as<ConcatAttrs>().axis;
  std::vector<ValueId> inputs;
  for (ValueId v : node.inputs) {
    const Node* inner = rw.producer(v, concat_op);
    if (rw.shape(v)[axis] == 0 && rw.shape(node.outputs[0])[axis] > 0) continue;
    if (inner && inner->as<ConcatAttrs>().axis == axis && rw.single(v) && inner->inputs.size() <= most_joined)
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
  if (ValueId x = identity_of(rw, node); x != none) {
    rw.replace(node, x);
    return true;
  }
  if (node.op == &map_op) skip_expands(rw, node);
  if (node.op == &reshape_op) {
    if (const Node* before = rw.producer(node.inputs[0], reshape_op)) {
      ValueId x = before->inputs[0];
      bool same = rw.shape(x) == rw.shape(node.outputs[0]);
      rw.replace(node, same ? x : rw.emit(reshape_op, node.name, {x}, node.attrs));
      return true;
    }
  }
  if (node.op == &transpose_op) return simplify_transpose(rw, node);
  if (node.op == &slice_op) return simplify_slice(rw, node);
  if (node.op == &concat_op) return simplify_concat(rw, node);
  if (node.op == &gather_op) return simplify_gather(rw, node);
  return false;
}

}  // namespace

Graph simplify_movement(Graph graph, CompileContext& context) {
  return rewrite_nodes(std::move(graph), context, simplify_move);
}

}  // namespace pando
