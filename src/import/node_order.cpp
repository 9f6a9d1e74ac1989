#include "import/node_order.hpp"

#include <queue>

namespace pando::onnx {

std::string display_name(const NodeProto& node) {
  if (!node.name.empty()) return std::string(node.name);
  for (std::string_view output : node.outputs)
    if (!output.empty()) return std::string(output);
  return std::string(node.op_type);
}

Body make_body(std::span<const NodeProto> nodes) {
  Body body{nodes, {}, {}};
  const size_t n = nodes.size();
  for (uint32_t i = 0; i < n; i++)
    for (std::string_view name : nodes[i].outputs)
      if (!name.empty() && !body.producers.emplace(name, i).second)
        fail(ErrorCode::invalid_model, "node '{}' ({}): its output '{}' is made twice", display_name(nodes[i]),
             nodes[i].op_type, name);
  std::vector<std::vector<uint32_t>> consumers(n);
  std::vector<uint32_t> waits(n, 0);
  for (uint32_t i = 0; i < n; i++)
    for (std::string_view name : nodes[i].inputs)
      if (auto p = body.producers.find(name); !name.empty() && p != body.producers.end()) {
        consumers[p->second].push_back(i);
        waits[i]++;
      }
  std::priority_queue<uint32_t, std::vector<uint32_t>, std::greater<>> ready;
  for (uint32_t i = 0; i < n; i++)
    if (waits[i] == 0) ready.push(i);
  body.rank.resize(n);
  uint32_t ordered = 0;
  while (!ready.empty()) {
    const uint32_t i = ready.top();
    ready.pop();
    body.rank[i] = ordered++;
    for (uint32_t c : consumers[i])
      if (--waits[c] == 0) ready.push(c);
  }
  for (uint32_t i = 0; i < n && ordered < n; i++)
    if (waits[i] > 0)
      fail(ErrorCode::invalid_model, "the graph has a cycle through or before node '{}' ({})", display_name(nodes[i]),
           nodes[i].op_type);
  return body;
}

}  // namespace pando::onnx
