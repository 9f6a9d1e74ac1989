#include "tile/boxes.hpp"

#include "graph/ops/ops.hpp"

namespace pando {
namespace {

constexpr size_t max_steps = 1 << 19;  // visited, and kept in the paths, behind one value

}  // namespace

void find_origins(const Graph& graph, const std::vector<NodeId>& producer, const std::vector<bool>& executed, ValueId v,
                  std::vector<Origin>& out) {
  struct Level {  // a view on the path, and which of its operands comes next
    NodeId node;
    int next;
  };
  std::vector<Level> levels;
  std::vector<Origin::Step> path;
  size_t steps = 0;
  const auto count = [&](size_t n, const Node& node) {
    steps += n;
    if (steps > max_steps)
      fail(ErrorCode::not_supported, "node '{}': the views behind it have more than {} steps in all", node.name,
           max_steps);
  };
  const auto enter = [&](ValueId value) {  // true: a view whose operands are to be visited
    const NodeId n = producer[value];
    if (n == none) return false;
    if (!executed[n]) {
      levels.push_back({n, 0});
      return true;
    }
    const NodeView view{graph, graph.nodes[n]};
    int output = 0;
    while (view.node.outputs[static_cast<size_t>(output)] != value) output++;
    count(path.size(), view.node);
    out.push_back({n, output, view.node.op->writes(view, output), path});
    return false;
  };
  enter(v);
  while (!levels.empty()) {
    Level& level = levels.back();
    const NodeView view{graph, graph.nodes[level.node]};
    if (level.next > 0 && path.size() == levels.size()) path.pop_back();  // of the operand before
    if (level.next == view.inputs()) {
      levels.pop_back();
      continue;
    }
    const int i = level.next++;
    if (!view.has(i)) continue;
    const Access reads = view.node.op->reads(view, i);
    if (reads.kind == Access::Kind::none) continue;
    count(1, view.node);  // also where no operator lies behind: views that read a value twice double the paths
    path.push_back({reads, view.in_shape(i)});
    enter(view.node.inputs[static_cast<size_t>(i)]);
  }
}

void ViewWalk::look_through(NodeId n, const Box& box) {
  const NodeView view{graph_, graph_.nodes[n]};
  // Pushed from the back, so that they are visited in order.
  const Addressing how = view.node.op->view(view);
  if (how.kind != Addressing::joined) {
    for (int i = view.inputs(); i-- > 0;)
      if (view.has(i))
        stack_.push_back(
            {view.node.inputs[static_cast<size_t>(i)], apply(view.node.op->reads(view, i), box, view.in_shape(i))});
    return;
  }
  std::vector<int64_t>& begins = begins_[n];
  if (begins.empty()) begins = concat_begins(view);
  const Interval along = box[how.axis];
  const auto last = std::lower_bound(begins.begin(), begins.end(), along.hi);
  for (auto at = last; at != begins.begin();) {
    --at;
    const auto i = static_cast<int>(at - begins.begin());
    stack_.push_back({view.node.inputs[static_cast<size_t>(i)], apply(concat_reads(view, *at), box, view.in_shape(i))});
    if (*at <= along.lo) break;
  }
}

Box writers(const Access& writes, const Box& box, const Domain& domain) {
  Box from = whole(domain);
  if (writes.kind == Access::Kind::axes)
    for (int i = 0; i < writes.rank; i++)
      if (writes.axis[i].dim >= 0) from[writes.axis[i].dim] = box[i];
  return from;
}

}  // namespace pando
