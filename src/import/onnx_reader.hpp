// ONNX's protobuf messages as light structs that point into the file: nothing is copied but lists of small items.
// Only the fields that inference needs are kept. Wire errors become invalid_model.
#pragma once
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "import/import.hpp"

namespace pando::onnx {

// TensorProto.DataType
enum class ElementType : int32_t {
  undefined = 0,
  f32 = 1,
  u8 = 2,
  i8 = 3,
  u16 = 4,
  i16 = 5,
  i32 = 6,
  i64 = 7,
  string = 8,
  boolean = 9,
  f16 = 10,
  f64 = 11,
  u32 = 12,
  u64 = 13,
  complex64 = 14,
  complex128 = 15,
  bf16 = 16,
  f8e4m3fn = 17,
  f8e4m3fnuz = 18,
  f8e5m2 = 19,
  f8e5m2fnuz = 20,
  u4 = 21,
  i4 = 22,
  f4e2m1 = 23,
};
// The type that holds such elements here (4-bit integers are widened to 8 bits). Throws not_supported, naming `what`.
DType to_dtype(int32_t element_type, std::string_view what);
bool is_supported(int32_t element_type);

// Of operators and of opset_import.
inline bool is_default_domain(std::string_view domain) { return domain.empty() || domain == "ai.onnx"; }

// A repeated number may come as any mix of packed chunks and single items.
struct NumberField {
  std::string_view packed;               // the chunk, when the field is one packed chunk and nothing else
  std::vector<std::string_view> chunks;  // everything, in file order
};

struct TensorProto {
  std::string_view name;
  int32_t type = 0;
  Shape dims;
  std::optional<std::string_view> raw;
  NumberField floats, int32s, int64s, doubles, uint64s;
  bool external = false;
  std::vector<std::pair<std::string_view, std::string_view>> external_data;  // location, offset, length, checksum
};

struct AttributeProto {
  // AttributeProto.AttributeType
  enum Type : int32_t { undefined, f, i, s, t, g, floats_type, ints_type, strings_type };
  std::string_view name;
  std::string_view reference;  // in a function: the attribute of the call that stands for this one; empty: none does
  int32_t type = undefined;    // filled from the fields present where a file leaves it out
  float float_value = 0;
  int64_t int_value = 0;
  std::string_view string_value;
  std::optional<std::string_view> tensor;  // a TensorProto, parsed when asked for
  std::optional<std::string_view> graph;   // a GraphProto, the same
  std::vector<float> floats;
  std::vector<int64_t> ints;
  std::vector<std::string_view> strings;
};

struct NodeProto {
  std::string_view name, op_type, domain, overload;
  std::vector<std::string_view> inputs, outputs;  // empty: an optional one that is absent
  std::vector<AttributeProto> attributes;
};

// What a file says of a graph input or output.
struct ValueInfo {
  std::string_view name;
  int32_t element_type = 0;  // 0: not a tensor
  bool has_shape = false;
  Shape shape;                            // -1: unknown
  std::vector<std::string_view> symbols;  // names of unknown dimensions, may be empty
};

struct GraphProto {
  std::string_view name;
  std::vector<NodeProto> nodes;
  std::vector<TensorProto> initializers;
  std::vector<ValueInfo> inputs, outputs;
  bool sparse_initializers = false;
};

// An operator that the file defines by other operators.
struct FunctionProto {
  std::string_view domain, name, overload;
  std::vector<std::string_view> inputs, outputs;
  std::vector<NodeProto> nodes;
  std::vector<AttributeProto> defaults;  // attributes that a call may leave out
  int64_t opset = 0;                     // of the default domain in its nodes; 0: not said
  int64_t bytes = 0;                     // of the message
};

struct ModelProto {
  std::string_view producer;
  int64_t ir_version = 0, opset = 0;  // opset of the default domain
  GraphProto graph;
  std::vector<FunctionProto> functions;
};

// Demands ir_version, opset_import and graph.
ModelProto read_model(std::span<const std::byte> bytes, const ImportLimits& limits);
GraphProto read_graph(std::string_view message, const ImportLimits& limits);  // of an attribute
TensorProto read_tensor(std::string_view message);  // a TensorProto by itself: attributes, test data

// The numbers of a repeated field, varints or fixed-width.
std::vector<uint64_t> read_varints(const NumberField& field, size_t at_most);
template <class T>
std::vector<T> read_fixed(const NumberField& field, size_t at_most);

}  // namespace pando::onnx
