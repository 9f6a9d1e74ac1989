// Where names of nodes' operands are looked for: a graph, a call of a function, a branch.
#pragma once
#include <unordered_map>

#include "graph/graph.hpp"
#include "import/node_order.hpp"

namespace pando::onnx {

struct Scope {
  enum class State : uint8_t { waiting, started, done };

  const Body* body = nullptr;
  Scope* outer = nullptr;                                // of a branch: the graph around it, whose names it sees
  size_t depth = 0;                                      // branches around this one
  int64_t opset = 0;                                     // of the default domain
  std::string prefix;                                    // of names of nodes and values, in calls
  const FunctionProto* function = nullptr;               // in a call, also in its branches
  std::vector<AttributeProto> arguments;                 // of the call; in its branches `outer` has them
  std::unordered_map<std::string_view, ValueId> values;  // `none`: an optional one that is absent
  std::unordered_map<std::string_view, const TensorProto*> initializers;  // constants when first asked for
  std::vector<State> states;                                              // by node

  Scope(const Body& nodes, int64_t version)
      : body(&nodes), opset(version), states(nodes.nodes.size(), State::waiting) {}
  void add_initializers(const GraphProto& graph) {
    if (graph.sparse_initializers) fail(ErrorCode::not_supported, "sparse initializers are not supported");
    for (const TensorProto& t : graph.initializers)
      if (!initializers.emplace(t.name, &t).second)
        fail(ErrorCode::invalid_model, "initializer '{}' is given twice", t.name);
  }
};

}  // namespace pando::onnx
