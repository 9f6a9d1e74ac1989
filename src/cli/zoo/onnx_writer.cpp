#include "cli/zoo/onnx_writer.hpp"

#include <fmt/format.h>

#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <memory>
#include <protozero/pbf_writer.hpp>

#include "pando/types.hpp"

namespace pando::zoo {
namespace {

// SplitMix64 (Steele, Lea, Flood 2014): a hash of the counter, so that any part of a weight can be drawn on its own.
uint64_t hash(uint64_t x) {
  x += 0x9e3779b97f4a7c15ull;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

class File {
 public:
  explicit File(const std::string& path) : path_(path), file_(std::fopen(path.c_str(), "wb"), std::fclose) {
    if (!file_) failed();
  }
  void write(const void* data, size_t bytes) {
    if (bytes > 0 && std::fwrite(data, 1, bytes, file_.get()) != bytes) failed();
  }
  void write(const std::string& s) { write(s.data(), s.size()); }
  void close() {
    std::FILE* f = file_.release();
    if (std::fclose(f) != 0) failed();
  }

 private:
  [[noreturn]] void failed() const {
    throw Error(ErrorCode::io, fmt::format("cannot write '{}': {}", path_, std::strerror(errno)));
  }
  std::string path_;
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file_;
};

std::string varint(uint64_t v) {
  std::string s;
  for (; v >= 128; v >>= 7) s += static_cast<char>(v | 128);
  return s + static_cast<char>(v);
}

std::string length_prefix(int field, uint64_t bytes) {
  return varint(static_cast<uint64_t>(field) << 3 | 2) + varint(bytes);
}

}  // namespace

std::string OnnxWriter::port(int field, const std::string& name, Type type, const Dims& shape) {
  std::string out;
  protozero::pbf_writer graph(out);
  protozero::pbf_writer info(graph, static_cast<protozero::pbf_tag_type>(field));
  info.add_string(1, name);
  protozero::pbf_writer type_proto(info, 2), tensor(type_proto, 1);
  tensor.add_int32(1, static_cast<int>(type));
  protozero::pbf_writer dims(tensor, 2);
  for (int64_t d : shape) protozero::pbf_writer(dims, 1).add_int64(1, d);
  dims.commit();
  tensor.commit();
  type_proto.commit();
  info.commit();
  return out;
}

std::string OnnxWriter::add(const std::string& name, Type type, const Dims& shape, Initializer init) {
  protozero::pbf_writer tensor(init.header);
  uint64_t count = 1;
  for (int64_t d : shape) {
    tensor.add_int64(1, d);
    count *= static_cast<uint64_t>(d);
  }
  tensor.add_int32(2, static_cast<int>(type));
  tensor.add_string(8, name);
  init.bytes = init.data.empty() ? count * 4 : init.data.size();
  initializers_.push_back(std::move(init));
  return name;
}

std::string OnnxWriter::random(const std::string& name, const Dims& shape, float spread, float mean) {
  return add(name, Type::f32, shape, {{}, 0, {}, spread, mean, hash(seed_ * 1000003 + initializers_.size())});
}

std::string OnnxWriter::floats(const std::string& name, const Dims& shape, const std::vector<float>& values) {
  std::string data(reinterpret_cast<const char*>(values.data()), values.size() * 4);
  return add(name, Type::f32, shape, {{}, 0, std::move(data)});
}

std::string OnnxWriter::ints(const std::string& name, const Dims& shape, const std::vector<int64_t>& values) {
  std::string data(reinterpret_cast<const char*>(values.data()), values.size() * 8);
  return add(name, Type::i64, shape, {{}, 0, std::move(data)});
}

std::string OnnxWriter::lower_triangle(const std::string& name, int64_t size) {
  std::string data(static_cast<size_t>(size * size), 0);
  for (int64_t i = 0; i < size; i++)
    for (int64_t j = 0; j <= i; j++) data[static_cast<size_t>(i * size + j)] = 1;
  return add(name, Type::boolean, {1, 1, size, size}, {{}, 0, std::move(data)});
}

void OnnxWriter::nodes(const std::string& op, const std::vector<std::string>& inputs,
                       const std::vector<std::string>& outputs, const std::vector<Attribute>& attributes) {
  protozero::pbf_writer graph(nodes_);
  protozero::pbf_writer node(graph, 1);
  for (const auto& s : inputs) node.add_string(1, s);
  for (const auto& s : outputs) node.add_string(2, s);
  node.add_string(3, fmt::format("/{}_{}", op, next_++));
  node.add_string(4, op);
  for (const Attribute& a : attributes) {
    protozero::pbf_writer w(node, 5);
    w.add_string(1, a.name);
    constexpr int types[] = {2, 7, 1, 3};  // AttributeProto's INT, INTS, FLOAT, STRING
    if (a.kind == Attribute::real) w.add_float(2, a.f);
    if (a.kind == Attribute::integer) w.add_int64(3, a.i[0]);
    if (a.kind == Attribute::text) w.add_bytes(4, a.s);
    if (a.kind == Attribute::integers)
      for (int64_t v : a.i) w.add_int64(8, v);
    w.add_int32(20, types[a.kind]);
  }
}

std::string OnnxWriter::node(const std::string& op, const std::vector<std::string>& inputs,
                             const std::vector<Attribute>& attributes, const std::string& output) {
  std::string name = output.empty() ? fmt::format("/{}_{}_output", op, next_) : output;
  nodes(op, inputs, {name}, attributes);
  return name;
}

void OnnxWriter::write(const std::string& path) const {
  std::string tail;  // graph name, inputs, outputs
  protozero::pbf_writer(tail).add_string(2, name_);
  tail += inputs_ + outputs_;
  std::vector<std::string> heads;
  uint64_t graph_bytes = nodes_.size() + tail.size();
  for (const Initializer& i : initializers_) {
    uint64_t bytes = has_data(i) ? i.bytes : 0;
    std::string body = i.header + (has_data(i) ? length_prefix(9, bytes) : std::string());
    heads.push_back(length_prefix(5, body.size() + bytes) + body);
    graph_bytes += heads.back().size() + bytes;
  }
  std::string model;
  protozero::pbf_writer m(model);
  m.add_int64(1, 7);  // ir_version
  m.add_string(2, "pando zoo");
  {
    protozero::pbf_writer opset(m, 8);
    opset.add_string(1, "");
    opset.add_int64(2, 13);
  }
  File file(path);
  file.write(model);
  file.write(length_prefix(7, graph_bytes));
  file.write(nodes_);
  std::vector<float> chunk(1 << 16);
  for (size_t n = 0; n < initializers_.size(); n++) {
    const Initializer& init = initializers_[n];
    file.write(heads[n]);
    if (!init.data.empty()) {
      file.write(init.data);
      continue;
    }
    if (!weights_) continue;
    float scale = init.spread * std::sqrt(3.0f) * 0x1p-31f;
    for (uint64_t at = 0, count = init.bytes / 4; at < count; at += chunk.size()) {
      size_t some = static_cast<size_t>(std::min<uint64_t>(chunk.size(), count - at));
      for (size_t i = 0; i < some; i++)
        chunk[i] = init.mean + scale * static_cast<float>(static_cast<int32_t>(hash(init.seed + at + i) >> 32));
      file.write(chunk.data(), some * 4);
    }
  }
  file.write(tail);
  file.close();
}

}  // namespace pando::zoo
