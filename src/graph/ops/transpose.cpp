// transpose: output dimension i is input dimension perm[i].
#include "graph/ops/movement.hpp"

namespace pando {
namespace {

std::vector<TypeShape> infer(const NodeView& node) {
  check_inputs(node, 1, 1);
  const Shape& in = node.in_shape(0);
  const auto& perm = node.as<TransposeAttrs>().perm;
  check_per_dimension(perm.size(), in.size(), "perm");
  Shape out(in.size());
  std::vector<bool> seen(in.size(), false);
  for (size_t i = 0; i < perm.size(); i++) {
    check_axis(perm[i], static_cast<int64_t>(in.size()));
    if (seen[perm[i]]) fail(ErrorCode::invalid_model, "perm {} names dimension {} twice", to_string(perm), perm[i]);
    seen[perm[i]] = true;
    out[i] = in[perm[i]];
  }
  return {{node.in(0).dtype, out}};
}

Access reads(const NodeView& node, int) {
  const auto& perm = node.as<TransposeAttrs>().perm;
  Access access = identity_access(static_cast<int>(perm.size()));
  for (size_t j = 0; j < perm.size(); j++) access.axis[perm[j]] = axis_same(static_cast<int>(j));
  return access;
}

void evaluate(const Attributes& attrs, std::span<const View> in, std::span<const View> out) {
  const auto& perm = attrs.as<TransposeAttrs>().perm;
  View from = in[0];
  for (size_t i = 0; i < perm.size(); i++) {
    from.shape[static_cast<int>(i)] = in[0].shape[static_cast<int>(perm[i])];
    from.strides[static_cast<int>(i)] = in[0].strides[static_cast<int>(perm[i])];
  }
  copy_view(from, out[0]);
}

int identity(const NodeView& node) {
  const auto& perm = node.as<TransposeAttrs>().perm;
  return std::is_sorted(perm.begin(), perm.end()) ? 0 : -1;
}

Attributes compose(const Attributes& first, const Attributes& second) {
  TransposeAttrs a = second.as<TransposeAttrs>();
  for (int64_t& dim : a.perm) dim = first.as<TransposeAttrs>().perm[static_cast<size_t>(dim)];
  return a;
}

}  // namespace

const OpDef transpose_op{.name = "transpose",
                         .attributes = attributes_of<TransposeAttrs>,
                         .infer = infer,
                         .domain = output_domain,
                         .reads = reads,
                         .writes = writes_box,
                         .operations = no_operations,
                         .evaluate = evaluate,
                         .by_box = true,
                         .identity = identity,
                         .picks = always_picks,
                         .compose = compose,
                         .gradient = transpose_gradient};

}  // namespace pando
