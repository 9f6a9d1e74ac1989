// Writes small ONNX files for tests.
#pragma once
#include <cstdint>
#include <protozero/pbf_writer.hpp>
#include <random>
#include <string>
#include <vector>

#include "import/import.hpp"

namespace pando::testing_onnx {

using protozero::pbf_writer;

// ONNX's numbers of element types.
enum : int32_t {
  f32 = 1,
  u8 = 2,
  i8 = 3,
  u16 = 4,
  i16 = 5,
  i32 = 6,
  i64 = 7,
  boolean = 9,
  f16 = 10,
  f64 = 11,
  bf16 = 16,
  f8e4m3fn = 17,
  f8e5m2 = 19,
  u4 = 21,
  i4 = 22
};

inline std::string tensor_header(const std::string& name, int32_t type, const Shape& dims) {
  std::string out;
  pbf_writer w(out);
  for (int64_t d : dims) w.add_int64(1, d);
  w.add_int32(2, type);
  w.add_string(8, name);
  return out;
}

inline const std::string microsoft = "com.microsoft";  // a domain

inline std::vector<uint8_t> random_bytes(int64_t n, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<uint8_t> list(static_cast<size_t>(n));
  for (uint8_t& x : list) x = static_cast<uint8_t>(random());
  return list;
}
inline std::vector<float> random_floats(int64_t n, uint32_t seed, float lo = -1, float hi = 1) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> uniform(lo, hi);
  std::vector<float> list(static_cast<size_t>(n));
  for (float& x : list) x = uniform(random);
  return list;
}

template <class T>
std::string raw_tensor(const std::string& name, int32_t type, const Shape& dims, const std::vector<T>& values) {
  std::string out = tensor_header(name, type, dims);
  pbf_writer(out).add_bytes(9, reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
  return out;
}

// A tensor whose elements lie in another file.
inline std::string external_tensor(const std::string& name, int32_t type, const Shape& dims,
                                   const std::string& location) {
  std::string out = tensor_header(name, type, dims), entry;
  pbf_writer e(entry);
  e.add_string(1, "location");
  e.add_string(2, location);
  pbf_writer w(out);
  w.add_message(13, entry);
  w.add_int32(14, 1);
  return out;
}

// Dimensions below 0 are open; their symbol is "d<-n>", none for -1.
inline std::string value_info(const std::string& name, int32_t type, const Shape& dims) {
  std::string out, type_proto, tensor_type, shape;
  for (int64_t d : dims) {
    std::string dim;
    if (d >= 0) pbf_writer(dim).add_int64(1, d);
    else if (d < -1) pbf_writer(dim).add_string(2, "d" + std::to_string(-d));
    pbf_writer(shape).add_message(1, dim);
  }
  pbf_writer t(tensor_type);
  t.add_int32(1, type);
  t.add_message(2, shape);
  pbf_writer(type_proto).add_message(1, tensor_type);
  pbf_writer w(out);
  w.add_string(1, name);
  w.add_message(2, type_proto);
  return out;
}

// Attributes.
inline std::string attr(const std::string& name, int64_t value) {
  std::string out;
  pbf_writer w(out);
  w.add_string(1, name);
  w.add_int64(3, value);
  w.add_int32(20, 2);
  return out;
}
inline std::string attr(const std::string& name, float value) {
  std::string out;
  pbf_writer w(out);
  w.add_string(1, name);
  w.add_float(2, value);
  w.add_int32(20, 1);
  return out;
}
inline std::string attr(const std::string& name, const char* value) {
  std::string out;
  pbf_writer w(out);
  w.add_string(1, name);
  w.add_bytes(4, value);
  w.add_int32(20, 3);
  return out;
}
inline std::string attr(const std::string& name, const std::vector<int64_t>& values) {
  std::string out;
  pbf_writer w(out);
  w.add_string(1, name);
  for (int64_t v : values) w.add_int64(8, v);
  w.add_int32(20, 7);
  return out;
}
inline std::string attr(const std::string& name, const std::vector<std::string>& values) {
  std::string out;
  pbf_writer w(out);
  w.add_string(1, name);
  for (const std::string& v : values) w.add_bytes(9, v);
  w.add_int32(20, 8);
  return out;
}
inline std::string attr(const std::string& name, const std::vector<float>& values) {
  std::string out;
  pbf_writer w(out);
  w.add_string(1, name);
  for (float v : values) w.add_float(7, v);
  w.add_int32(20, 6);
  return out;
}
inline std::string attr_tensor(const std::string& name, const std::string& tensor) {
  std::string out;
  pbf_writer w(out);
  w.add_string(1, name);
  w.add_message(5, tensor);
  w.add_int32(20, 4);
  return out;
}

// Given by the caller of the function that the node is in.
inline std::string attr_ref(const std::string& name, const std::string& of_function, int32_t type) {
  std::string out;
  pbf_writer w(out);
  w.add_string(1, name);
  w.add_int32(20, type);
  w.add_string(21, of_function);
  return out;
}

inline std::string node_proto(const std::string& op, const std::vector<std::string>& inputs,
                              const std::vector<std::string>& outputs, const std::vector<std::string>& attributes = {},
                              const std::string& domain = "", const std::string& overload = "") {
  std::string out;
  pbf_writer w(out);
  for (const std::string& s : inputs) w.add_string(1, s);
  for (const std::string& s : outputs) w.add_string(2, s);
  w.add_string(3, op + "_node");
  w.add_string(4, op);
  for (const std::string& a : attributes) w.add_message(5, a);
  if (!domain.empty()) w.add_string(7, domain);
  if (!overload.empty()) w.add_string(8, overload);
  return out;
}

inline std::string opset_proto(const std::string& domain, int64_t version) {
  std::string out;
  pbf_writer w(out);
  if (!domain.empty()) w.add_string(1, domain);
  w.add_int64(2, version);
  return out;
}

struct FunctionWriter {
  std::string domain, name;
  std::vector<std::string> inputs, outputs, nodes;
  std::vector<std::string> attributes = {}, defaults = {};  // names; whole attributes
  int64_t opset = 17;
  std::string overload = {};
  std::string bytes() const {
    std::string out;
    pbf_writer w(out);
    w.add_string(1, name);
    for (const std::string& s : inputs) w.add_string(4, s);
    for (const std::string& s : outputs) w.add_string(5, s);
    for (const std::string& s : attributes) w.add_string(6, s);
    for (const std::string& s : nodes) w.add_message(7, s);
    w.add_message(9, opset_proto("", opset));
    w.add_string(10, domain);
    for (const std::string& s : defaults) w.add_message(11, s);
    if (!overload.empty()) w.add_string(13, overload);
    return out;
  }
};

class ModelWriter {
 public:
  explicit ModelWriter(int64_t opset = 17) : opset_(opset) {}
  ModelWriter& input(const std::string& name, int32_t type, const Shape& dims) {
    pbf_writer(graph_).add_message(11, value_info(name, type, dims));
    return *this;
  }
  ModelWriter& output(const std::string& name, int32_t type = f32, const Shape& dims = {}) {
    pbf_writer(graph_).add_message(12, value_info(name, type, dims));
    return *this;
  }
  ModelWriter& initializer(const std::string& tensor) {
    pbf_writer(graph_).add_message(5, tensor);
    return *this;
  }
  ModelWriter& ints(const std::string& name, const std::vector<int64_t>& values) {
    return initializer(raw_tensor(name, i64, {static_cast<int64_t>(values.size())}, values));
  }
  ModelWriter& floats(const std::string& name, const Shape& dims, const std::vector<float>& values) {
    return initializer(raw_tensor(name, f32, dims, values));
  }
  ModelWriter& node(const std::string& op, const std::vector<std::string>& inputs,
                    const std::vector<std::string>& outputs, const std::vector<std::string>& attributes = {},
                    const std::string& domain = "") {
    return node(node_proto(op, inputs, outputs, attributes, domain));
  }
  ModelWriter& node(const std::string& proto) {
    pbf_writer(graph_).add_message(1, proto);
    return *this;
  }
  ModelWriter& function(const FunctionWriter& f) {
    pbf_writer(functions_).add_message(25, f.bytes());
    return *this;
  }
  ModelWriter& ir(int64_t version) {
    ir_ = version;
    return *this;
  }
  // The graph by itself, as an attribute.
  std::string as_attr(const std::string& name) const {
    std::string out;
    pbf_writer w(out);
    w.add_string(1, name);
    w.add_message(6, graph_);
    w.add_int32(20, 5);
    return out;
  }
  std::string bytes() const {
    std::string out;
    pbf_writer w(out);
    w.add_int64(1, ir_);
    w.add_message(7, graph_);
    w.add_message(8, opset_proto("", opset_));
    return out + functions_;
  }

 private:
  std::string graph_, functions_;
  int64_t opset_, ir_ = 8;
};

inline std::span<const std::byte> as_span(const std::string& s) {
  return {reinterpret_cast<const std::byte*>(s.data()), s.size()};
}
// Owns the file's bytes for the graph.
inline Graph import_model(const std::string& bytes, const ImportOptions& options = {}) {
  auto owner = std::make_shared<const std::string>(bytes);
  return OnnxModel(as_span(*owner), owner).graph(options);
}
inline Graph import_model(const ModelWriter& model, const ImportOptions& options = {}) {
  return import_model(model.bytes(), options);
}

}  // namespace pando::testing_onnx
