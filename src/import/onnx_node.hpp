// One ONNX node while it is converted: its operands and attributes with the checks that every converter needs.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "import/builder.hpp"
#include "import/onnx_reader.hpp"

namespace pando::onnx {

class OnnxNode {
 public:
  // Where converters find tensors of attributes.
  using DecodeTensor = TensorPtr (*)(void* context, std::string_view message);

  OnnxNode(const NodeProto& proto, Values inputs, int64_t opset, const Builder& builder, DecodeTensor decode,
           void* context)
      : proto_(proto), inputs_(std::move(inputs)), opset_(opset), b_(builder), decode_(decode), context_(context) {}

  std::string_view op() const { return proto_.op_type; }
  int64_t opset() const { return opset_; }
  int inputs() const { return static_cast<int>(inputs_.size()); }
  int outputs() const { return static_cast<int>(proto_.outputs.size()); }
  bool wants(int output) const { return output < outputs() && !proto_.outputs[output].empty(); }
  bool has(int i) const { return i < inputs() && inputs_[i] != none; }
  ValueId in(int i) const;  // throws invalid_model when absent
  ValueId optional(int i) const { return has(i) ? inputs_[i] : none; }
  const Values& all_inputs() const;  // each must be present; at least one

  bool has_attr(std::string_view name) const { return find(name) != nullptr; }
  int64_t i(std::string_view name, int64_t otherwise) const;
  bool flag(std::string_view name, bool otherwise) const { return i(name, otherwise) != 0; }
  float f(std::string_view name, float otherwise) const;
  std::string_view s(std::string_view name, std::string_view otherwise) const;
  std::vector<int64_t> ints(std::string_view name) const;  // empty when absent
  std::vector<float> floats(std::string_view name) const;
  std::vector<std::string_view> strings(std::string_view name) const;  // empty when absent
  TensorPtr tensor(std::string_view name) const;                       // null when absent
  // An attribute of `n` integers, each in lo..2^31: strides, kernels, pads. `otherwise` fills an absent one.
  std::vector<int64_t> window_ints(std::string_view name, size_t n, int64_t otherwise, int64_t lo) const;
  std::string_view attr_name(size_t k) const { return proto_.attributes[k].name; }
  size_t attr_count() const { return proto_.attributes.size(); }

  // Constant operands. Throw NeedsInputValue or not_supported when the value is not known.
  TensorPtr constant(int i, const char* what) const;
  std::vector<int64_t> constant_ints(int i, const char* what) const;
  std::vector<float> constant_floats(int i, const char* what) const;
  int64_t constant_int(int i, const char* what) const;  // exactly one element

  // 0 <= axis < rank from -rank <= axis < rank; `end` admits rank itself.
  int axis(int64_t axis, int rank, bool end = false) const;
  std::vector<int64_t> axes(std::vector<int64_t> axes, int rank) const;  // sorted, without doubles

  template <class... Args>
  [[noreturn]] void invalid(fmt::format_string<Args...> format, Args&&... args) const {
    fail(ErrorCode::invalid_model, "node '{}' ({}): {}", b_.node(), op(),
         fmt::format(format, std::forward<Args>(args)...));
  }
  template <class... Args>
  [[noreturn]] void unsupported(fmt::format_string<Args...> format, Args&&... args) const {
    fail(ErrorCode::not_supported, "node '{}' ({}): {} not supported", b_.node(), op(),
         fmt::format(format, std::forward<Args>(args)...));
  }

 private:
  const AttributeProto* find(std::string_view name) const;
  const AttributeProto* find(std::string_view name, AttributeProto::Type type) const;

  const NodeProto& proto_;
  Values inputs_;
  int64_t opset_;
  const Builder& b_;
  DecodeTensor decode_;
  void* context_;
};

}  // namespace pando::onnx
