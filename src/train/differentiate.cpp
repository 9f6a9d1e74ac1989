#include "train/differentiate.hpp"

#include "graph/backward.hpp"

namespace pando {
namespace {

bool has_gradient(const Graph& graph, ValueId v) { return v != none && is_float(graph.values[v].dtype); }

// Values that depend on a wanted one.
std::vector<bool> dependent(const Graph& graph, std::span<const ValueId> wanted) {
  std::vector<bool> depends(graph.values.size(), false);
  for (ValueId v : wanted) depends[v] = has_gradient(graph, v);
  for (const Node& node : graph.nodes) {
    const bool any =
        std::any_of(node.inputs.begin(), node.inputs.end(), [&](ValueId v) { return v != none && depends[v]; });
    for (ValueId v : node.outputs) depends[v] = any && has_gradient(graph, v);
  }
  return depends;
}

ValueId sum(Graph& graph, ValueId a, ValueId b) {
  if (a == none) return b;
  MapAttrs add{{{{MapOp::add, 0, 1}}, 2}, graph.values[a].dtype};
  return graph.add(map_op, "sum of gradients", {a, b}, add);
}

}  // namespace

std::vector<ValueId> differentiate(Graph& graph, ValueId y, ValueId dy, std::span<const ValueId> wanted) {
  const std::vector<bool> depends = dependent(graph, wanted);
  std::vector<ValueId> gradient(graph.values.size(), none);
  gradient[y] = dy;
  for (size_t n = graph.nodes.size(); n-- > 0;) {
    const Node node = graph.nodes[n];
    std::vector<ValueId> outputs;
    for (ValueId v : node.outputs) outputs.push_back(gradient[v]);
    std::vector<bool> wants;
    for (ValueId v : node.inputs) wants.push_back(v != none && depends[v]);
    const auto known = [](ValueId v) { return v != none; };
    if (std::none_of(outputs.begin(), outputs.end(), known)) continue;
    if (std::none_of(wants.begin(), wants.end(), [](bool w) { return w; })) continue;
    Backward to(graph, node, outputs, wants);
    if (!node.op->gradient) to.none_because("the operator has no gradient");
    node.op->gradient(to);
    for (size_t i = 0; i < node.inputs.size(); i++)
      if (to.given()[i] != none) gradient[node.inputs[i]] = sum(graph, gradient[node.inputs[i]], to.given()[i]);
  }
  std::vector<ValueId> result;
  for (ValueId v : wanted) result.push_back(gradient[v]);
  return result;
}

}  // namespace pando
