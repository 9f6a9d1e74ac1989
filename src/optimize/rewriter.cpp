#include "optimize/rewriter.hpp"

#include <cstring>
#include <utility>

namespace pando {

Rewriter::Rewriter(Graph graph) : g(std::move(graph)) {
  pending_ = std::move(g.nodes);
  g.nodes.clear();
  g.nodes.reserve(pending_.size());
  grow();
  for (const Node& node : pending_) hold(node.inputs);
  hold(g.outputs);
}

void Rewriter::grow() {
  size_t old = alias_.size(), n = g.values.size();
  alias_.resize(n);
  uses_.resize(n, 0);
  producer_.resize(n, none);
  for (size_t v = old; v < n; v++) alias_[v] = static_cast<ValueId>(v);
}

void Rewriter::hold(const std::vector<ValueId>& values) {
  for (ValueId v : values)
    if (v != none) uses_[v]++;
}

// Gives back one use; a node that nobody uses any more dies, so that what it read may be fused in the same pass.
void Rewriter::release(ValueId v) {
  std::vector<ValueId> work{v};
  while (!work.empty()) {
    ValueId u = work.back();
    work.pop_back();
    if (u == none || --uses_[u] > 0 || producer_[u] == none) continue;
    Node& node = g.nodes[producer_[u]];
    if (!node.op || std::any_of(node.outputs.begin(), node.outputs.end(), [&](ValueId o) { return uses_[o] > 0; }))
      continue;
    node.op = nullptr;
    work.insert(work.end(), node.inputs.begin(), node.inputs.end());
  }
}

ValueId Rewriter::resolve(ValueId v) const {
  while (v != none && alias_[v] != v) v = alias_[v];
  return v;
}

void Rewriter::next(Node& node) {
  for (ValueId& v : node.inputs) v = resolve(v);
}

void Rewriter::emit(Node&& node) {
  for (ValueId v : node.outputs) producer_[v] = static_cast<NodeId>(g.nodes.size());
  g.nodes.push_back(std::move(node));
}

ValueId Rewriter::emit(const OpDef& op, const std::string& name, std::vector<ValueId> inputs, Attributes attrs) {
  NodeId n = g.add_node(op, name, std::move(inputs), std::move(attrs));
  grow();
  hold(g.nodes[n].inputs);
  for (ValueId v : g.nodes[n].outputs) producer_[v] = n;
  return g.nodes[n].outputs[0];
}

ValueId Rewriter::constant(TensorPtr tensor) {
  ValueId v = g.add_constant({}, std::move(tensor));
  grow();
  return v;
}

void Rewriter::replace(ValueId old, ValueId by) {
  alias_[old] = by;
  uses_[by] += uses_[old];
  uses_[old] = 0;
}

void Rewriter::drop(Node& node) {
  for (ValueId v : node.inputs) release(v);
}

void Rewriter::exchange_input(Node& node, size_t i, ValueId by) {
  uses_[by]++;
  release(std::exchange(node.inputs[i], by));
}

void Rewriter::exchange_inputs(Node& node, std::vector<ValueId> inputs) {
  hold(inputs);
  std::vector<ValueId> old = std::exchange(node.inputs, std::move(inputs));
  for (ValueId v : old) release(v);
}

Node Rewriter::extract(NodeId n) {
  Node node = g.nodes[n];
  g.nodes[n].op = nullptr;
  for (ValueId v : node.outputs) producer_[v] = none;
  return node;
}

void Rewriter::emit_for(Node& node, Node extracted, const std::vector<ValueId>& added) {
  hold(added);
  extracted.inputs.insert(extracted.inputs.end(), added.begin(), added.end());
  extracted.outputs = node.outputs;
  emit(std::move(extracted));
  drop(node);
}

const Node* Rewriter::producer(ValueId v) const {
  NodeId n = producer_id(v);
  if (n == none || !g.nodes[n].op || g.nodes[n].outputs[0] != v) return nullptr;
  return &g.nodes[n];
}

const Node* Rewriter::producer(ValueId v, const OpDef& op) const {
  const Node* node = producer(v);
  return node && node->op == &op ? node : nullptr;
}

Graph Rewriter::finish() {
  std::vector<bool> taken(g.values.size(), false);  // values that cannot be (another) output
  for (ValueId v : g.inputs) taken[v] = true;
  std::vector<bool> own(g.values.size(), false);  // outputs that are still made under their own name
  for (ValueId v : g.outputs) own[v] = resolve(v) == v;
  for (ValueId& out : g.outputs) {
    ValueId v = resolve(out);
    if (taken[v] || g.values[v].constant || (v != out && own[v])) {
      std::string name = g.values[out].name;
      if (v != out) g.values[out].name.clear();
      v = g.add(map_op, name, {v}, map_of(MapOp::copy, 0, 0, g.values[v].dtype), name);
      taken.resize(g.values.size(), false);
      own.resize(g.values.size(), false);
    } else if (v != out) {
      g.values[v].name = std::exchange(g.values[out].name, {});
    }
    out = v;
    taken[v] = true;
  }
  remove_dead(g);
  return std::move(g);
}

const MapInstr* single_instr(const Node* node) {
  if (!node || node->op != &map_op) return nullptr;
  const MapProgram& program = node->as<MapAttrs>().program;
  return program.code.size() == 1 ? &program.code[0] : nullptr;
}

MapAttrs map_of(MapOp op, double p0, double p1, DType out) {
  MapAttrs attrs;
  int n = operand_count(op);
  attrs.program.inputs = n;
  attrs.program.code.push_back(
      {op, 0, static_cast<uint8_t>(n > 1 ? 1 : 0), static_cast<uint8_t>(n > 2 ? 2 : 0), p0, p1});
  attrs.out = out;
  return attrs;
}

std::optional<float> scalar_value(const Graph& graph, ValueId v) {
  if (!graph.is_constant(v) || element_count(graph.shape(v)) != 1) return {};
  const Tensor& t = *graph.values[v].constant;
  if (t.dtype != DType::f32) return {};
  float x;
  std::memcpy(&x, t.data, sizeof x);
  return x;
}

TensorPtr reshaped(const TensorPtr& tensor, Shape shape) {
  auto t = std::make_shared<Tensor>(*tensor);
  t->shape = std::move(shape);
  return t;
}

Shape broadcast_shape(std::span<const int64_t> a, std::span<const int64_t> b) {
  if (a.size() < b.size()) std::swap(a, b);
  Shape s(a.begin(), a.end());
  size_t shift = a.size() - b.size();
  for (size_t i = 0; i < b.size(); i++)
    if (s[i + shift] == 1) s[i + shift] = b[i];
  return s;
}

Scaled scaled(const Rewriter& rw, ValueId v) {
  const Node* node = rw.producer(v);
  const MapInstr* in = single_instr(node);
  if (!in || rw.dtype(v) != DType::f32) return {v, 1};
  if (in->op == MapOp::mul_imm) return {node->inputs[in->a], in->p0};
  if (in->op != MapOp::mul && in->op != MapOp::div) return {v, 1};
  ValueId a = node->inputs[in->a], b = node->inputs[in->b];
  if (in->op == MapOp::mul && scalar_value(rw.g, a)) std::swap(a, b);
  std::optional<float> c = scalar_value(rw.g, b);
  if (!c || *c == 0 || rw.shape(a) != rw.shape(v)) return {v, 1};
  return {a, in->op == MapOp::mul ? *c : 1.0 / *c};
}

}  // namespace pando
