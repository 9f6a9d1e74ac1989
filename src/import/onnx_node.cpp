#include "import/onnx_node.hpp"

#include <algorithm>

namespace pando::onnx {

ValueId OnnxNode::in(int i) const {
  if (!has(i)) invalid("input {} is missing", i);
  return inputs_[i];
}

const Values& OnnxNode::all_inputs() const {
  if (inputs_.empty()) invalid("it has no inputs");
  for (int i = 0; i < inputs(); i++) in(i);
  return inputs_;
}

const AttributeProto* OnnxNode::find(std::string_view name) const {
  for (const AttributeProto& a : proto_.attributes)
    if (a.name == name) return &a;
  return nullptr;
}

const AttributeProto* OnnxNode::find(std::string_view name, AttributeProto::Type type) const {
  const AttributeProto* a = find(name);
  // A list without elements carries no field that tells its type in files that leave the type out.
  if (a && a->type != type && a->type != AttributeProto::undefined)
    invalid("attribute '{}' has type {}, expected {}", name, a->type, static_cast<int>(type));
  return a;
}

int64_t OnnxNode::i(std::string_view name, int64_t otherwise) const {
  const AttributeProto* a = find(name, AttributeProto::i);
  return a ? a->int_value : otherwise;
}

float OnnxNode::f(std::string_view name, float otherwise) const {
  const AttributeProto* a = find(name, AttributeProto::f);
  return a ? a->float_value : otherwise;
}

std::string_view OnnxNode::s(std::string_view name, std::string_view otherwise) const {
  const AttributeProto* a = find(name, AttributeProto::s);
  return a ? a->string_value : otherwise;
}

std::vector<int64_t> OnnxNode::ints(std::string_view name) const {
  const AttributeProto* a = find(name, AttributeProto::ints_type);
  return a ? a->ints : std::vector<int64_t>();
}

std::vector<std::string_view> OnnxNode::strings(std::string_view name) const {
  const AttributeProto* a = find(name, AttributeProto::strings_type);
  return a ? a->strings : std::vector<std::string_view>();
}

std::vector<float> OnnxNode::floats(std::string_view name) const {
  const AttributeProto* a = find(name, AttributeProto::floats_type);
  return a ? a->floats : std::vector<float>();
}

TensorPtr OnnxNode::tensor(std::string_view name) const {
  const AttributeProto* a = find(name, AttributeProto::t);
  if (!a) return nullptr;
  if (!a->tensor) invalid("attribute '{}' has no tensor", name);
  return decode_(context_, *a->tensor);
}

std::vector<int64_t> OnnxNode::window_ints(std::string_view name, size_t n, int64_t otherwise, int64_t lo) const {
  std::vector<int64_t> v = ints(name);
  if (v.empty()) return std::vector<int64_t>(n, otherwise);
  if (v.size() != n) invalid("attribute '{}' has {} elements, expected {}", name, v.size(), n);
  for (int64_t x : v)
    if (x < lo || x > INT32_MAX) invalid("attribute '{}' holds {}", name, x);
  return v;
}

TensorPtr OnnxNode::constant(int i, const char* what) const {
  ValueId v = in(i);
  const TensorPtr& t = b_.constant_of(v);
  if (!t) b_.need_value(v, fmt::format("{} ({})", what, op()));
  return t;
}

std::vector<int64_t> OnnxNode::constant_ints(int i, const char* what) const {
  return elements<int64_t>(*constant(i, what));
}

std::vector<float> OnnxNode::constant_floats(int i, const char* what) const {
  return elements<float>(*constant(i, what));
}

int64_t OnnxNode::constant_int(int i, const char* what) const {
  std::vector<int64_t> v = constant_ints(i, what);
  if (v.size() != 1) invalid("{} has {} elements, expected 1", what, v.size());
  return v[0];
}

int OnnxNode::axis(int64_t axis, int rank, bool end) const {
  if (axis < -rank || axis >= rank + end) invalid("axis {} is out of range for {} dimensions", axis, rank);
  return static_cast<int>(axis < 0 ? axis + rank : axis);
}

std::vector<int64_t> OnnxNode::axes(std::vector<int64_t> list, int rank) const {
  for (int64_t& a : list) a = axis(a, rank);
  std::sort(list.begin(), list.end());
  if (std::adjacent_find(list.begin(), list.end()) != list.end()) invalid("an axis is given twice");
  return list;
}

}  // namespace pando::onnx
