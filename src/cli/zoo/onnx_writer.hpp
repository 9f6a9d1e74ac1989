// Builds an ONNX model node by node and streams it to a file; weights are drawn while they are written, so that a model
// of a gigabyte needs no memory of its own.
#pragma once
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace pando::zoo {

using Dims = std::vector<int64_t>;

class OnnxWriter {
 public:
  // weights = false: tensors of random() have type and shape, but no data.
  OnnxWriter(std::string name, uint64_t seed, bool weights = true)
      : name_(std::move(name)), seed_(seed), weights_(weights) {}

  enum class Type { f32 = 1, i64 = 7, boolean = 9 };
  void input(const std::string& name, Type type, const Dims& shape) { inputs_ += port(11, name, type, shape); }
  void output(const std::string& name, Type type, const Dims& shape) { outputs_ += port(12, name, type, shape); }

  // ---- initializers; each returns the tensor's name ----
  // Floats uniform in mean +- spread * sqrt(3): standard deviation `spread`.
  std::string random(const std::string& name, const Dims& shape, float spread, float mean = 0);
  std::string floats(const std::string& name, const Dims& shape, const std::vector<float>& values);
  std::string ints(const std::string& name, const Dims& shape, const std::vector<int64_t>& values);
  std::string lower_triangle(const std::string& name, int64_t size);  // bool [1, 1, size, size]

  struct Attribute {
    std::string name;
    enum Kind { integer, integers, real, text } kind;
    std::vector<int64_t> i;
    float f = 0;
    std::string s;
    Attribute(std::string n, int64_t v) : name(std::move(n)), kind(integer), i{v} {}
    Attribute(std::string n, int v) : name(std::move(n)), kind(integer), i{v} {}
    Attribute(std::string n, Dims v) : name(std::move(n)), kind(integers), i(std::move(v)) {}
    Attribute(std::string n, float v) : name(std::move(n)), kind(real), f(v) {}
    Attribute(std::string n, const char* v) : name(std::move(n)), kind(text), s(v) {}
  };
  // Adds a node with one output, whose name it returns: `output`, or a made-up one.
  std::string node(const std::string& op, const std::vector<std::string>& inputs,
                   const std::vector<Attribute>& attributes = {}, const std::string& output = {});
  // The same for several outputs, named by the caller.
  void nodes(const std::string& op, const std::vector<std::string>& inputs, const std::vector<std::string>& outputs,
             const std::vector<Attribute>& attributes = {});

  // Throws Error io with path and reason.
  void write(const std::string& path) const;

 private:
  struct Initializer {
    std::string header;  // TensorProto without raw_data
    uint64_t bytes;
    std::string data;  // empty: random
    float spread = 0, mean = 0;
    uint64_t seed = 0;
  };
  bool has_data(const Initializer& i) const { return weights_ || !i.data.empty(); }
  std::string add(const std::string& name, Type type, const Dims& shape, Initializer init);
  static std::string port(int field, const std::string& name, Type type, const Dims& shape);

  std::string name_;
  uint64_t seed_;
  bool weights_;
  std::string nodes_, inputs_, outputs_;
  std::vector<Initializer> initializers_;
  int next_ = 0;
};

}  // namespace pando::zoo
