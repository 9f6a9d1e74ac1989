#include "tile/boxes.hpp"

namespace pando {
namespace {

struct Finder {
  const Graph& graph;
  const std::vector<NodeId>& producer;
  const std::vector<bool>& executed;
  std::vector<Origin>& out;
  std::vector<Origin::Step> path;

  void find(ValueId v) {
    NodeId n = producer[v];
    if (n == none) return;
    NodeView view{graph, graph.nodes[n]};
    if (executed[n]) {
      int output = 0;
      while (view.node.outputs[output] != v) output++;
      out.push_back({n, output, view.node.op->writes(view, output), path});
      return;
    }
    for (int i = 0; i < view.inputs(); i++) {
      if (!view.has(i)) continue;
      Access reads = view.node.op->reads(view, i);
      if (reads.kind == Access::Kind::none) continue;
      path.push_back({reads, view.in_shape(i)});
      find(view.node.inputs[i]);
      path.pop_back();
    }
  }
};

}  // namespace

void find_origins(const Graph& graph, const std::vector<NodeId>& producer, const std::vector<bool>& executed, ValueId v,
                  std::vector<Origin>& out) {
  Finder{graph, producer, executed, out, {}}.find(v);
}

Box writers(const Access& writes, const Box& box, const Domain& domain) {
  Box from = whole(domain);
  if (writes.kind == Access::Kind::axes)
    for (int i = 0; i < writes.rank; i++)
      if (writes.axis[i].dim >= 0) from[writes.axis[i].dim] = box[i];
  return from;
}

}  // namespace pando
