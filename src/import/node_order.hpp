// Nodes of a graph or of a function's body: which of them makes a name, and an order in which producers come first.
#pragma once
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "import/onnx_reader.hpp"

namespace pando::onnx {

struct Body {
  std::span<const NodeProto> nodes;
  std::unordered_map<std::string_view, uint32_t> producers;  // by name, as ONNX links nodes
  std::vector<uint32_t> rank;  // by node: its place in the order, which is the file's where that is possible
};

// Throws invalid_model when a name is made twice or nodes wait for each other.
Body make_body(std::span<const NodeProto> nodes);

// A name for messages: the node's, else its first output's, else its operator's.
std::string display_name(const NodeProto& node);

}  // namespace pando::onnx
