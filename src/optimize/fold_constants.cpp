#include "optimize/fold_constants.hpp"

#include <cstring>

#include "optimize/rewriter.hpp"

namespace pando {
namespace {

constexpr size_t small_bytes = size_t{1} << 20, most_bytes = size_t{64} << 20;

// Constants may point into a mapped file at any address; the references want elements on their boundaries.
TensorPtr aligned(const TensorPtr& tensor) {
  if (reinterpret_cast<uintptr_t>(tensor->data) % size_of(tensor->dtype) == 0) return tensor;
  auto copy = make_tensor(tensor->dtype, tensor->shape);
  std::memcpy(writable(*copy), tensor->data, tensor->bytes());
  return copy;
}

bool worth_folding(const Rewriter& rw, const Node& node, bool all) {
  if (node.inputs.empty()) return false;
  bool any = false;
  size_t in_bytes = 0, out_bytes = 0;
  for (ValueId v : node.inputs) {
    if (v == none) continue;
    if (!rw.is_constant(v)) return false;
    any = true;
    in_bytes += rw.g.values[v].constant->bytes();
  }
  for (ValueId v : node.outputs) out_bytes += static_cast<size_t>(element_count(rw.shape(v))) * size_of(rw.dtype(v));
  if (!any || out_bytes > most_bytes) return false;
  if (node.op == &expand_op) return out_bytes <= std::max(small_bytes, in_bytes);
  if (node.op == &transpose_op) return all || out_bytes <= small_bytes;
  if (node.op == &matmul_op || node.op == &conv_op) return out_bytes <= small_bytes && in_bytes <= small_bytes;
  return true;
}

void fold(Rewriter& rw, Node& node) {
  std::vector<TensorPtr> held;
  std::vector<View> in, out;
  for (ValueId v : node.inputs) {
    if (v == none) {
      in.emplace_back();
      continue;
    }
    held.push_back(aligned(rw.g.values[v].constant));
    in.push_back(held.back()->view());
  }
  std::vector<TensorPtr> made;
  for (ValueId v : node.outputs) {
    made.push_back(make_tensor(rw.dtype(v), rw.shape(v)));
    out.push_back(made.back()->view());
  }
  node.op->evaluate(node.attrs, in, out);
  for (size_t i = 0; i < made.size(); i++) rw.replace(node, i, rw.constant(std::move(made[i])));
  rw.drop(node);
}

}  // namespace

Graph fold_constants(Graph graph, bool all) {
  return rewrite_nodes(std::move(graph), [all](Rewriter& rw, Node& node) {
    if (node.op == &reshape_op && rw.is_constant(node.inputs[0])) {
      rw.replace(node, rw.constant(reshaped(rw.g.values[node.inputs[0]].constant, rw.shape(node.outputs[0]))));
      return true;
    }
    if (!worth_folding(rw, node, all)) return false;
    fold(rw, node);
    return true;
  });
}

}  // namespace pando
