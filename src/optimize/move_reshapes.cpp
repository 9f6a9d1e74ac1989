#include "optimize/move_reshapes.hpp"

#include "optimize/rewriter.hpp"

namespace pando {
namespace {

// An operand of a map on `out`, as an operand of the same map on `in`, a reshape of it; the shape it takes.
std::optional<Shape> moved(const Shape& operand, const Shape& out, const Shape& in) {
  if (operand == out) return in;
  int64_t n = element_count(operand);
  if (n == 1) return Shape{};
  bool last = !operand.empty() && !in.empty() && n == operand.back() && n == out.back() && n == in.back();
  return last ? std::optional(Shape{n}) : std::nullopt;
}

bool feeds_epilogue(const Rewriter& rw, ValueId v) {
  const Node* node = rw.producer(v);
  return node && rw.single(v) && (node->op == &matmul_op || node->op == &conv_op || node->op == &map_op);
}

bool move(Rewriter& rw, Node& map) {
  ValueId out = map.outputs[0];
  for (size_t i = 0; i < map.inputs.size(); i++) {
    const Node* reshape = rw.producer(map.inputs[i], reshape_op);
    if (!reshape || !rw.single(map.inputs[i]) || rw.shape(map.inputs[i]) != rw.shape(out)) continue;
    ValueId x = reshape->inputs[0];
    if (!feeds_epilogue(rw, x)) continue;
    Shape in = rw.shape(x), shape = rw.shape(out);
    std::vector<std::optional<Shape>> shapes;
    for (ValueId v : map.inputs) shapes.push_back(moved(rw.shape(v), shape, in));
    if (std::find(shapes.begin(), shapes.end(), std::nullopt) != shapes.end()) continue;
    std::vector<ValueId> operands;
    for (size_t j = 0; j < map.inputs.size(); j++) {
      ValueId v = map.inputs[j];
      if (j == i) v = x;
      else if (rw.is_constant(v)) v = rw.constant(reshaped(rw.g.values[v].constant, *shapes[j]));
      else if (rw.shape(v) != *shapes[j]) v = rw.emit(reshape_op, map.name, {v}, ReshapeAttrs{*shapes[j]});
      operands.push_back(v);
    }
    ValueId y = rw.emit(map_op, map.name, operands, map.attrs);
    rw.replace(map, rw.emit(reshape_op, map.name, {y}, ReshapeAttrs{shape}));
    return true;
  }
  return false;
}

}  // namespace

Graph move_reshapes(Graph graph) {
  Rewriter rw(std::move(graph));
  for (Node& node : rw.take()) {
    rw.next(node);
    if (node.op != &map_op || !move(rw, node)) rw.emit(std::move(node));
  }
  return rw.finish();
}

}  // namespace pando
