#include "optimize/quantized_movement.hpp"

#include <cmath>

#include "graph/quantization.hpp"
#include "optimize/rewriter.hpp"

namespace pando {
namespace {

// Whether v was dequantized the way that `q` quantizes, all of it alike; then its bytes.
ValueId bytes_of(const Rewriter& rw, ValueId v, const Quantize& q, DType type) {
  const Node* node = rw.producer(v);
  const auto d = node ? as_dequantize({rw.g, *node}) : std::nullopt;
  if (!d || !d->scale || !d->zero || rw.dtype(d->x) != type || rw.shape(d->x) != rw.shape(v)) return none;
  const std::optional<float> scale = scalar_value(rw.g, q.scale_value);
  const bool same = scale && q.zero && *d->scale == static_cast<double>(*scale) && *d->zero == *q.zero;
  return same && *scale > 1e-30f && *scale < 1e30f ? d->x : none;
}

bool rewrite(Rewriter& rw, Node& node) {
  const std::optional<Quantize> q = as_quantize({rw.g, node});
  const DType type = rw.dtype(node.outputs[0]);
  if (!q || size_of(type) != 1) return false;
  const Node* picks = rw.producer(q->x);
  if (!picks || !picks->op->picks || !picks->op->picks({rw.g, *picks}) || !rw.single(q->x)) return false;
  std::vector<ValueId> inputs = picks->inputs;
  for (ValueId& v : inputs) {
    if (v == none || rw.dtype(v) != DType::f32) continue;  // indices
    v = bytes_of(rw, v, *q, type);
    if (v == none) return false;
  }
  const Node copy = *picks;  // emitting may move it
  rw.replace(node, rw.emit(*copy.op, copy.name, inputs, copy.attrs));
  return true;
}

}  // namespace

Graph quantized_movement(Graph graph, CompileContext& context) {
  return rewrite_nodes(std::move(graph), context, rewrite);
}

}  // namespace pando
