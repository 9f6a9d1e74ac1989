// An ONNX model under construction by a random generator: its values with their shapes, the file's bytes, and a text of
// one line per node for people who must understand a failure.
#pragma once
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "base/random.hpp"
#include "import/model_writer.hpp"

namespace pando::test {

// What random models are drawn with, the same for a seed everywhere.
class Random : public pando::Random {
 public:
  using pando::Random::Random;
  int64_t below(int64_t n) { return static_cast<int64_t>(next() % static_cast<uint64_t>(n)); }
  int64_t between(int64_t lo, int64_t hi) { return lo + below(hi - lo + 1); }  // both inclusive
  bool chance(double p) { return unit() < p; }
  float uniform() { return static_cast<float>(static_cast<int64_t>(next() >> 40)) * 0x1p-23f - 1; }  // [-1, 1)
  template <class T>
  const T& of(const std::vector<T>& list) {
    return list[static_cast<size_t>(below(static_cast<int64_t>(list.size())))];
  }
  int64_t of(std::initializer_list<int64_t> list) { return list.begin()[below(static_cast<int64_t>(list.size()))]; }
};

inline int64_t count_of(const Shape& shape) {
  int64_t count = 1;
  for (int64_t extent : shape) count *= extent;
  return count;
}

class Sketch {
 public:
  struct Value {
    std::string name;
    Shape shape;
    float size = 1;  // typical magnitude of an element, roughly
    int uses = 0;
    bool is_input = false;
    int rank() const { return static_cast<int>(shape.size()); }
    int64_t last() const { return shape.back(); }
    int64_t count() const { return count_of(shape); }
  };
  using Id = size_t;
  struct Attribute {
    std::string bytes, text;
    Attribute(const std::string& name, int64_t v)
        : bytes(testing_onnx::attr(name, v)), text(fmt::format("{}={}", name, v)) {}
    Attribute(const std::string& name, float v)
        : bytes(testing_onnx::attr(name, v)), text(fmt::format("{}={}", name, v)) {}
    Attribute(const std::string& name, const char* v)
        : bytes(testing_onnx::attr(name, v)), text(fmt::format("{}={}", name, v)) {}
    Attribute(const std::string& name, const std::vector<int64_t>& v)
        : bytes(testing_onnx::attr(name, v)), text(fmt::format("{}=[{}]", name, fmt::join(v, ","))) {}
  };

  explicit Sketch(uint64_t seed) : random(seed) {}

  Random random;
  std::vector<Value> values;
  std::string text;

  Id input(Shape shape) {
    std::string name = fmt::format("x{}", values.size());
    writer_.input(name, testing_onnx::f32, shape);
    text += fmt::format("input {} {}\n", name, shape_text(shape));
    values.push_back({name, std::move(shape), 0.6f, 0, true});
    return values.size() - 1;
  }
  void output(Id v) {
    writer_.output(values[v].name, testing_onnx::f32, values[v].shape);
    text += fmt::format("output {}\n", values[v].name);
    values[v].uses++;
  }

  // ---- initializers; each returns its name ----
  std::string floats(const Shape& shape, float spread, float mean = 0) {
    std::vector<float> data(static_cast<size_t>(count_of(shape)));
    for (float& x : data) x = mean + spread * random.uniform();
    std::string name = fmt::format("w{}", constants_++);
    writer_.floats(name, shape, data);
    text += fmt::format("{} = random {} +-{} about {}\n", name, shape_text(shape), spread, mean);
    return name;
  }
  std::string number(float value) { return floats({}, 0, value); }
  std::string ints(const std::vector<int64_t>& data) {
    std::string name = fmt::format("i{}", constants_++);
    writer_.ints(name, data);
    text += fmt::format("{} = [{}]\n", name, fmt::join(data, ","));
    return name;
  }
  std::string int_scalar(int64_t value) {
    std::string name = fmt::format("i{}", constants_++);
    writer_.initializer(testing_onnx::raw_tensor<int64_t>(name, testing_onnx::i64, {}, {value}));
    text += fmt::format("{} = {}\n", name, value);
    return name;
  }
  std::string bools(const Shape& shape) {
    std::vector<uint8_t> data(static_cast<size_t>(count_of(shape)));
    for (uint8_t& x : data) x = random.chance(0.5);
    std::string name = fmt::format("b{}", constants_++);
    writer_.initializer(testing_onnx::raw_tensor(name, testing_onnx::boolean, shape, data));
    text += fmt::format("{} = random bool {}\n", name, shape_text(shape));
    return name;
  }

  // ---- nodes ----
  // Several outputs, all of type float32.
  std::vector<Id> nodes(const std::string& op, const std::vector<std::string>& inputs,
                        const std::vector<Attribute>& attributes, const std::vector<Shape>& shapes, float size) {
    for (Value& v : values) v.uses += static_cast<int>(std::count(inputs.begin(), inputs.end(), v.name));
    std::vector<std::string> names, bytes, shown = inputs, made;
    std::vector<Id> ids;
    for (const Attribute& a : attributes) {
      bytes.push_back(a.bytes);
      shown.push_back(a.text);
    }
    for (const Shape& s : shapes) {
      ids.push_back(values.size());
      names.push_back(fmt::format("v{}", values.size()));
      made.push_back(names.back() + " " + shape_text(s));
      values.push_back({names.back(), s, size});
    }
    writer_.node(op, inputs, names, bytes);
    text += fmt::format("{} = {}({})\n", fmt::join(made, ", "), op, fmt::join(shown, ", "));
    nodes_++;
    return ids;
  }
  Id node(const std::string& op, const std::vector<std::string>& inputs, const std::vector<Attribute>& attributes,
          const Shape& shape, float size) {
    return nodes(op, inputs, attributes, {shape}, size)[0];
  }
  int node_count() const { return nodes_; }
  std::string bytes() const { return writer_.bytes(); }
  static std::string shape_text(const Shape& shape) { return fmt::format("[{}]", fmt::join(shape, ",")); }

 private:
  testing_onnx::ModelWriter writer_{17};
  int constants_ = 0, nodes_ = 0;
};

}  // namespace pando::test
