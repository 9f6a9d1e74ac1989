#include "graph/text.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <iterator>

#include "base/dtype.hpp"

namespace pando {
namespace {

bool is_plain(char c) {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
         (c != '\0' && std::strchr("_./:-", c));
}

std::string one_line(std::string name) {
  std::replace_if(
      name.begin(), name.end(), [](unsigned char c) { return c < ' ' || c == 0x7f; }, ' ');
  return name;
}

std::string value_name(const Graph& graph, ValueId v) {
  const std::string& name = graph.values[v].name;
  if (name.empty()) return fmt::format("%{}", v);
  if (name != "-" && std::all_of(name.begin(), name.end(), is_plain)) return name;
  return fmt::format("'{}'", one_line(name));
}

std::string type_text(const Value& value) { return name_of(value.dtype) + to_string(value.shape); }

std::string definition(const Graph& graph, ValueId v) {
  return fmt::format("{}: {}", value_name(graph, v), type_text(graph.values[v]));
}

// Of a constant with one element.
std::string element_text(const Tensor& tensor) {
  return dispatch(tensor.dtype, [&](auto zero) {
    using T = decltype(zero);
    T element;
    std::memcpy(&element, tensor.data, sizeof element);  // bytes of a file may be unaligned
    if constexpr (std::is_arithmetic_v<T>) return fmt::format("{}", element);
    else return fmt::format("{}", to_float(element));  // of a type that is only stored
  });
}

std::string operand(const Graph& graph, ValueId v) {
  if (v == none) return "-";
  const Value& value = graph.values[v];
  if (!value.constant) return value_name(graph, v);
  std::string text = "constant " + type_text(value);
  if (!value.name.empty()) text = value_name(graph, v) + ": " + text;
  if (value.constant->data && element_count(value.shape) == 1) text += " " + element_text(*value.constant);
  return text;
}

template <class F>
void append_list(std::string& text, const std::vector<ValueId>& list, F&& describe) {
  for (size_t i = 0; i < list.size(); i++) {
    if (i > 0) text += ", ";
    text += describe(list[i]);
  }
}

void append_node(std::string& text, const Graph& graph, const Node& node) {
  append_list(text, node.outputs, [&](ValueId v) { return definition(graph, v); });
  text += fmt::format(" = {}(", node.op->name);
  append_list(text, node.inputs, [&](ValueId v) { return operand(graph, v); });
  text += ")";
  if (std::string attributes = node.attrs.text(); !attributes.empty()) text += " {" + attributes + "}";
  if (!node.name.empty()) text += "  # " + one_line(node.name);
  text += "\n";
}

}  // namespace

std::string to_text(const Graph& graph) {
  std::string text = fmt::format("graph {}\n", one_line(graph.name));
  for (ValueId v : graph.inputs) text += fmt::format("input {}\n", definition(graph, v));
  for (const Node& node : graph.nodes) append_node(text, graph, node);
  for (ValueId v : graph.outputs)
    text += fmt::format("output {}{}\n", definition(graph, v), graph.is_constant(v) ? " constant" : "");
  return text;
}

}  // namespace pando
