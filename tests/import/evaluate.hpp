// Computes a graph node by node with the operators' references.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "graph/graph.hpp"

namespace pando {

// All values of the graph; `inputs` by name.
inline std::vector<TensorPtr> evaluate(const Graph& graph, const std::map<std::string, TensorPtr>& inputs) {
  std::vector<TensorPtr> known(graph.values.size());
  for (size_t v = 0; v < known.size(); v++) known[v] = graph.values[v].constant;
  for (ValueId v : graph.inputs) known[v] = inputs.at(graph.values[v].name);
  for (const Node& node : graph.nodes) {
    std::vector<View> in, out;
    for (ValueId v : node.inputs) in.push_back(v == none ? View() : known[v]->view());
    for (ValueId v : node.outputs) {
      auto made = make_tensor(graph.values[v].dtype, graph.values[v].shape);
      out.push_back(made->view());
      known[v] = made;
    }
    node.op->evaluate(node.attrs, in, out);
  }
  return known;
}

}  // namespace pando
