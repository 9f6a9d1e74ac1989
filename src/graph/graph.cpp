#include "graph/graph.hpp"

#include <algorithm>
#include <queue>

#include "base/sanitizer.hpp"

namespace pando {

View Tensor::view() const {
  View v;
  v.data = const_cast<std::byte*>(data);
  v.dtype = dtype;
  v.shape = Extents(shape);
  v.strides = dense_strides(shape);
  return v;
}

std::shared_ptr<Tensor> make_tensor(DType dtype, Shape shape, Contents contents) {
  auto t = std::make_shared<Tensor>();
  t->dtype = dtype;
  t->shape = std::move(shape);
  size_t bytes = std::max<size_t>(t->bytes(), 1);
  const size_t padded = address_sanitizer ? bytes : (bytes + 63) / 64 * 64;
  void* address = contents == Contents::zeros ? std::calloc(padded, 1) : std::malloc(padded);
  std::shared_ptr<std::byte> memory(static_cast<std::byte*>(address), std::free);
  if (!memory) fail(ErrorCode::out_of_memory, "cannot allocate {} bytes for a constant", bytes);
  t->data = memory.get();
  t->owner = std::move(memory);
  return t;
}

void append_bytes(std::string& out, const OpDef* op) { attributes::append_bytes(out, std::string(op ? op->name : "")); }
void append_text(std::string& out, const OpDef* op) { out += op ? op->name : "none"; }

ValueId Graph::add_value(std::string name, DType dtype, Shape shape) {
  values.push_back({std::move(name), dtype, std::move(shape), nullptr});
  return static_cast<ValueId>(values.size() - 1);
}

ValueId Graph::add_constant(std::string name, TensorPtr tensor) {
  ValueId v = add_value(std::move(name), tensor->dtype, tensor->shape);
  values[v].constant = std::move(tensor);
  return v;
}

NodeId Graph::add_node(const OpDef& op, std::string name, std::vector<ValueId> inputs, Attributes attrs,
                       std::vector<std::string> names) {
  nodes.push_back({&op, std::move(name), std::move(inputs), {}, std::move(attrs)});
  Node& node = nodes.back();
  std::vector<TypeShape> made;
  try {
    made = op.infer({*this, node});
  } catch (const Error& e) {
    std::string where = node.name;
    nodes.pop_back();
    fail(e.code(), "node '{}' ({}): {}", where, op.name, e.what());
  }
  for (size_t i = 0; i < made.size(); i++)
    node.outputs.push_back(
        add_value(i < names.size() ? std::move(names[i]) : std::string(), made[i].dtype, std::move(made[i].shape)));
  return static_cast<NodeId>(nodes.size() - 1);
}

ValueId Graph::add(const OpDef& op, std::string name, std::vector<ValueId> inputs, Attributes attrs,
                   std::string output_name) {
  NodeId n = add_node(op, std::move(name), std::move(inputs), std::move(attrs), {std::move(output_name)});
  return nodes[n].outputs[0];
}

Uses::Uses(const Graph& graph)
    : producer(graph.values.size(), none), consumers(graph.values.size()), is_output(graph.values.size(), false) {
  for (NodeId n = 0; n < graph.nodes.size(); n++) {
    for (ValueId v : graph.nodes[n].outputs) producer[v] = n;
    for (ValueId v : graph.nodes[n].inputs)
      if (v != none) consumers[v].push_back(n);
  }
  for (ValueId v : graph.outputs) is_output[v] = true;
}

void verify(const Graph& graph) {
  std::vector<bool> known(graph.values.size(), false);
  for (ValueId v : graph.inputs) known.at(v) = true;
  for (ValueId v = 0; v < graph.values.size(); v++)
    if (graph.values[v].constant) known[v] = true;
  for (const Node& node : graph.nodes) {
    for (ValueId v : node.inputs)
      if (v != none && (v >= known.size() || !known[v]))
        fail(ErrorCode::internal, "node '{}' ({}) reads value {} before it is made", node.name, node.op->name, v);
    std::vector<TypeShape> made = node.op->infer({graph, node});
    if (made.size() != node.outputs.size())
      fail(ErrorCode::internal, "node '{}' ({}) has {} outputs, expected {}", node.name, node.op->name,
           node.outputs.size(), made.size());
    for (size_t i = 0; i < made.size(); i++) {
      ValueId v = node.outputs[i];
      if (v >= known.size() || known[v])
        fail(ErrorCode::internal, "node '{}' ({}) makes value {} again", node.name, node.op->name, v);
      known[v] = true;
      if (graph.values[v].dtype != made[i].dtype || graph.values[v].shape != made[i].shape)
        fail(ErrorCode::internal, "node '{}' ({}): output {} is {} {}, inferred {} {}", node.name, node.op->name, i,
             name_of(graph.values[v].dtype), to_string(graph.values[v].shape), name_of(made[i].dtype),
             to_string(made[i].shape));
    }
  }
  for (ValueId v : graph.outputs)
    if (v >= known.size() || !known[v]) fail(ErrorCode::internal, "graph output value {} is never made", v);
}

void sort_nodes(Graph& graph) {
  Uses uses(graph);
  size_t n = graph.nodes.size();
  std::vector<uint32_t> waits(n, 0);
  for (NodeId i = 0; i < n; i++)
    for (ValueId v : graph.nodes[i].inputs)
      if (v != none && uses.producer[v] != none) waits[i]++;
  std::priority_queue<NodeId, std::vector<NodeId>, std::greater<>> ready;  // lowest index first: stable
  for (NodeId i = 0; i < n; i++)
    if (waits[i] == 0) ready.push(i);
  std::vector<Node> sorted;
  sorted.reserve(n);
  while (!ready.empty()) {
    NodeId i = ready.top();
    ready.pop();
    for (ValueId v : graph.nodes[i].outputs)
      for (NodeId c : uses.consumers[v])
        if (--waits[c] == 0) ready.push(c);
    sorted.push_back(std::move(graph.nodes[i]));
  }
  if (sorted.size() != n)
    for (NodeId i = 0; i < n; i++)
      if (waits[i] > 0)
        fail(ErrorCode::invalid_model, "the graph has a cycle through node '{}' ({})", graph.nodes[i].name,
             graph.nodes[i].op->name);
  graph.nodes = std::move(sorted);
}

void remove_dead(Graph& graph) {
  std::vector<bool> live(graph.values.size(), false);
  for (ValueId v : graph.outputs) live[v] = true;
  for (size_t i = graph.nodes.size(); i-- > 0;) {
    Node& node = graph.nodes[i];
    if (!node.op || std::none_of(node.outputs.begin(), node.outputs.end(), [&](ValueId v) { return live[v]; })) {
      node.op = nullptr;
      continue;
    }
    for (ValueId v : node.inputs)
      if (v != none) live[v] = true;
    for (ValueId v : node.outputs) live[v] = true;  // an unused output of a live node still exists
  }
  std::erase_if(graph.nodes, [](const Node& node) { return node.op == nullptr; });
  for (ValueId v : graph.inputs) live[v] = true;
  if (std::find(live.begin(), live.end(), false) == live.end()) return;
  std::vector<ValueId> renumbered(graph.values.size(), none);
  ValueId kept = 0;
  for (ValueId v = 0; v < graph.values.size(); v++) {
    if (!live[v]) continue;
    if (kept != v) graph.values[kept] = std::move(graph.values[v]);
    renumbered[v] = kept++;
  }
  graph.values.erase(graph.values.begin() + kept, graph.values.end());
  auto renumber = [&](std::vector<ValueId>& list) {
    for (ValueId& v : list)
      if (v != none) v = renumbered[v];
  };
  renumber(graph.inputs);
  renumber(graph.outputs);
  for (Node& node : graph.nodes) {
    renumber(node.inputs);
    renumber(node.outputs);
  }
}

std::string display_name(const Graph& graph, const Node& node) {
  if (!node.name.empty()) return node.name;
  for (ValueId v : node.inputs)
    if (v != none && !graph.values[v].name.empty()) return fmt::format("{} of {}", node.op->name, graph.values[v].name);
  return fmt::format("{} #{}", node.op->name, &node - graph.nodes.data());
}

double bytes_moved(const NodeView& view, const Box& box) {
  double bytes = 0;
  for (int i = 0; i < view.inputs(); i++)
    if (view.has(i)) {
      Box b = apply(view.node.op->reads(view, i), box, view.in_shape(i));
      bytes += static_cast<double>(b.count()) * static_cast<double>(size_of(view.in(i).dtype));
    }
  for (int i = 0; i < view.outputs(); i++) {
    Box b = apply(view.node.op->writes(view, i), box, view.out_shape(i));
    bytes += static_cast<double>(b.count()) * static_cast<double>(size_of(view.out(i).dtype));
  }
  return bytes;
}

}  // namespace pando
