#include "optimize/fold_constants.hpp"

#include "graph/evaluate.hpp"
#include "graph/quantization.hpp"
#include "optimize/rewriter.hpp"

namespace pando {
namespace {

constexpr size_t small_bytes = size_t{1} << 20, max_bytes = size_t{64} << 20;

bool worth_folding(const Rewriter& rw, const Node& node, bool all) {
  if (node.inputs.empty()) return false;
  if (!all && dequantizes_weights({rw.g, node})) return false;
  bool any = false;
  size_t in_bytes = 0, out_bytes = 0;
  for (ValueId v : node.inputs) {
    if (v == none) continue;
    if (!rw.is_constant(v)) return false;
    any = true;
    in_bytes += rw.g.values[v].constant->bytes();
  }
  for (ValueId v : node.outputs) out_bytes += static_cast<size_t>(element_count(rw.shape(v))) * size_of(rw.dtype(v));
  if (!any || out_bytes > max_bytes) return false;
  if (node.op == &expand_op) return out_bytes <= std::max(small_bytes, in_bytes);
  if (node.op == &transpose_op) return all || out_bytes <= small_bytes;
  if (node.op->epilogue) return out_bytes <= small_bytes && in_bytes <= small_bytes;
  return true;
}

// False: more than what is left of the budget; the node stays. Operands that only this node read are freed, so that a
// chain of nodes on a large constant needs the memory of two.
bool fold(Rewriter& rw, Node& node, CompileContext& context) {
  std::vector<TensorPtr> made = evaluate(NodeView{rw.g, node}, context);
  if (made.empty()) return false;
  for (size_t i = 0; i < made.size(); i++) rw.replace(node, i, rw.constant(std::move(made[i])));
  rw.drop(node);
  for (ValueId v : node.inputs)
    if (v != none && rw.uses(v) == 0) rw.g.values[v].constant = nullptr;
  return true;
}

}  // namespace

Graph fold_constants(Graph graph, bool all, CompileContext& context) {
  return rewrite_nodes(std::move(graph), context, [&, all](Rewriter& rw, Node& node) {
    if (addresses({rw.g, node}, Addressing::regroup) && rw.is_constant(node.inputs[0])) {
      rw.replace(node, rw.constant(reshaped(rw.g.values[node.inputs[0]].constant, rw.shape(node.outputs[0]))));
      return true;
    }
    return worth_folding(rw, node, all) && fold(rw, node, context);
  });
}

}  // namespace pando
