// What a model is fed: files, a JSON description, or seeded random numbers.
#pragma once
#include <map>
#include <optional>

#include "cli/elements.hpp"
#include "cli/options.hpp"

namespace pando::cli {

class InputSource {
 public:
  // Opens the files that the flags name. Throws Error when they do not fit the model's inputs.
  InputSource(const CommonOptions& options, const Model& model);

  // Shapes that the flags settle.
  const std::map<std::string, std::vector<int64_t>>& shapes() const { return shapes_; }
  // Throws Error that lists the inputs that no flag gives a value to.
  void require_all() const;
  // The input's array: given, or drawn; all of `shape` must be known.
  Array make(const Port& port) const;

 private:
  struct Spec {  // an entry of --inputs
    std::optional<std::vector<Number>> values;
    std::optional<Number> fill;
    double low = 0, high = 1;  // floats
    int64_t max = 2;           // integers 0..max-1
  };
  const Port& find(const std::string& name) const;  // among those with a default value, too
  bool is_default(const Port& port) const;
  void take_file(const Port& port, const std::string& path);
  void take_shape(const Port& port, const std::vector<int64_t>& shape);
  void read_description(const CommonOptions& options);

  const Model& model_;
  uint64_t seed_;
  std::map<std::string, Array> arrays_;
  std::map<std::string, std::vector<int64_t>> shapes_;
  std::map<std::string, Spec> specs_;
};

// "float32 [1,3,?,?]"
std::string describe_port(const Port& port);

}  // namespace pando::cli
