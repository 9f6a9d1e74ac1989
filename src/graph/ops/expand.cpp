// expand: broadcast to the common shape of the operand and an attribute.
#include "graph/ops/movement.hpp"

namespace pando {
namespace {

std::vector<TypeShape> infer(const NodeView& node) {
  check_inputs(node, 1, 1);
  return {{node.in(0).dtype, broadcast_shapes(node.in_shape(0), checked(node.as<ExpandAttrs>().shape))}};
}

Access reads(const NodeView& node, int) { return broadcast_access(node.in_shape(0), node.out_shape()); }

void evaluate(const Attributes&, std::span<const View> in, std::span<const View> out) { copy_view(in[0], out[0]); }

// New leading dimensions have no place in operand 0.
bool keeps_rank(const NodeView& node, std::span<const int64_t> perm) {
  return node.as<ExpandAttrs>().shape.size() == perm.size();
}

int first(const NodeView&) { return 0; }

}  // namespace

const OpDef expand_op{.name = "expand",
                      .attributes = attributes_of<ExpandAttrs>,
                      .infer = infer,
                      .domain = output_domain,
                      .reads = reads,
                      .writes = writes_box,
                      .operations = no_operations,
                      .evaluate = evaluate,
                      .by_box = true,
                      .order = Order::first,
                      .may_reorder = keeps_rank,
                      .identity = first,
                      .picks = always_picks,
                      .gradient = expand_gradient};

}  // namespace pando
