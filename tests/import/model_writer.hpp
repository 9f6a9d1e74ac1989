// Writes small ONNX files for tests.
#pragma once
#include <cstdint>
#include <protozero/pbf_writer.hpp>
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
  i32 = 6,
  i64 = 7,
  boolean = 9,
  f16 = 10,
  f64 = 11,
  bf16 = 16,
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
inline std::string attr_tensor(const std::string& name, const std::string& tensor) {
  std::string out;
  pbf_writer w(out);
  w.add_string(1, name);
  w.add_message(5, tensor);
  w.add_int32(20, 4);
  return out;
}

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
    std::string out;
    pbf_writer w(out);
    for (const std::string& s : inputs) w.add_string(1, s);
    for (const std::string& s : outputs) w.add_string(2, s);
    w.add_string(3, op + "_node");
    w.add_string(4, op);
    for (const std::string& a : attributes) w.add_message(5, a);
    if (!domain.empty()) w.add_string(7, domain);
    pbf_writer(graph_).add_message(1, out);
    return *this;
  }
  std::string bytes() const {
    std::string out, opset;
    pbf_writer(opset).add_int64(2, opset_);
    pbf_writer w(out);
    w.add_int64(1, 8);
    w.add_message(7, graph_);
    w.add_message(8, opset);
    return out;
  }

 private:
  std::string graph_;
  int64_t opset_;
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
