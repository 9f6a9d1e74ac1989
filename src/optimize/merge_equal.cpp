#include "optimize/merge_equal.hpp"

#include <unordered_map>

#include "optimize/rewriter.hpp"

namespace pando {
namespace {

using attributes::append_bytes;

// Equal constants of at most this size are found by their bytes, larger ones by their address.
constexpr size_t keyed_bytes = 256;

std::vector<ValueId> first_of_equal_constants(const Graph& graph) {
  std::vector<ValueId> first(graph.values.size());
  std::unordered_map<std::string, ValueId> seen;
  for (ValueId v = 0; v < graph.values.size(); v++) {
    first[v] = v;
    const TensorPtr& t = graph.values[v].constant;
    if (!t) continue;
    std::string key;
    append_bytes(key, t->dtype);
    append_bytes(key, t->shape);
    if (t->bytes() <= keyed_bytes) key.append(reinterpret_cast<const char*>(t->data), t->bytes());
    else append_bytes(key, reinterpret_cast<uintptr_t>(t->data));
    first[v] = seen.try_emplace(std::move(key), v).first->second;
  }
  return first;
}

}  // namespace

Graph merge_equal(Graph graph, CompileContext& context) {
  std::vector<ValueId> first = first_of_equal_constants(graph);
  std::unordered_map<std::string, ValueId> seen;
  return rewrite_nodes(std::move(graph), context, [&](Rewriter& rw, Node& node) {
    for (size_t i = 0; i < node.inputs.size(); i++)
      if (ValueId v = node.inputs[i]; v != none && first[v] != v) rw.exchange_input(node, i, first[v]);
    if (node.outputs.size() != 1) return false;
    std::string key;
    append_bytes(key, reinterpret_cast<uintptr_t>(node.op));
    append_bytes(key, node.inputs);
    append_bytes(key, node.attrs);
    auto [at, is_new] = seen.try_emplace(std::move(key), node.outputs[0]);
    if (is_new) return false;
    rw.replace(node, at->second);
    return true;
  });
}

}  // namespace pando
