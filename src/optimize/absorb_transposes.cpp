#include "optimize/absorb_transposes.hpp"

#include "optimize/permutation.hpp"
#include "optimize/rewriter.hpp"

namespace pando {
namespace {

// Permuting copies the weights. Beyond this (VGG's first dense layer: 411 MB) the transpose of a few activations is
// the smaller cost.
constexpr int64_t max_weights = 1 << 24;

bool absorb(Rewriter& rw, Node& matmul) {
  const MatMulAttrs attrs = matmul.as<MatMulAttrs>();
  ValueId a = matmul.inputs[0], w = matmul.inputs[1];
  const Node* flatten = rw.producer(a, reshape_op);
  if (!flatten || attrs.trans_a || attrs.blocks || !rw.is_constant(w) || rw.shape(w).size() != 2) return false;
  if (element_count(rw.shape(w)) > max_weights) return false;
  const Node* transpose = rw.producer(flatten->inputs[0], transpose_op);
  if (!transpose) return false;
  Perm perm = transpose->as<TransposeAttrs>().perm;
  ValueId base = transpose->inputs[0];
  Shape in = rw.shape(flatten->inputs[0]), out = rw.shape(a);

  // The trailing dimensions that make up a row of the product; those before must stay where they are.
  size_t first = in.size();
  for (int64_t n = 1; first > 0 && n < out.back();) n *= in[--first];
  Shape tail(in.begin() + static_cast<int64_t>(first), in.end());
  if (element_count(tail) != out.back()) return false;
  for (size_t i = 0; i < first; i++)
    if (perm[i] != static_cast<int64_t>(i)) return false;

  // Weights [K, N] as [tail..., N], or [N, K] as [N, tail...], their dimensions in the base's order.
  Perm inner = inverse(perm), order;
  Shape split = tail;
  int64_t shift = static_cast<int64_t>(first) - (attrs.trans_b ? 1 : 0);
  if (attrs.trans_b) order.push_back(0);
  for (size_t i = first; i < perm.size(); i++) order.push_back(inner[i] - shift);
  if (!attrs.trans_b) order.push_back(static_cast<int64_t>(tail.size()));
  split.insert(attrs.trans_b ? split.begin() : split.end(), rw.shape(w)[attrs.trans_b ? 0 : 1]);
  if (split.size() > max_rank) return false;
  Shape matrix = rw.shape(w);
  ValueId v = rw.emit(reshape_op, matmul.name, {w}, ReshapeAttrs{split});
  v = rw.emit(transpose_op, matmul.name, {v}, TransposeAttrs{order});
  v = rw.emit(reshape_op, matmul.name, {v}, ReshapeAttrs{matrix});
  rw.exchange_input(matmul, 0, rw.emit(reshape_op, matmul.name, {base}, ReshapeAttrs{out}));
  rw.exchange_input(matmul, 1, v);
  return true;
}

}  // namespace

Graph absorb_transposes(Graph graph, CompileContext& context) {
  return rewrite_nodes(std::move(graph), context, [](Rewriter& rw, Node& node) {
    if (node.op == &matmul_op) absorb(rw, node);
    return false;  // changed in place
  });
}

}  // namespace pando
