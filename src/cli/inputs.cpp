#include "cli/inputs.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "cli/elements.hpp"
#include "cli/files.hpp"
#include "cli/npy.hpp"

namespace pando::cli {
namespace {

// splitmix64 (Steele, Lea and Flood, 2014): the same numbers on every machine.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t next() {
    uint64_t z = state_ += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
  }
  double uniform() { return static_cast<double>(next() >> 40) * 0x1p-24; }  // exact in float32

 private:
  uint64_t state_;
};

bool is_float(DType t) { return t <= DType::bf16; }

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text;
  for (int64_t d : shape) text += (text.empty() ? "" : ",") + (d < 0 ? "?" : std::to_string(d));
  return "[" + text + "]";
}

[[noreturn]] void fail_argument(const std::string& message) { throw Error(ErrorCode::invalid_argument, message); }

}  // namespace

std::string describe_port(const Port& port) {
  return fmt::format("{} {}", name_of(port.dtype), shape_text(port.shape));
}

InputSource::InputSource(const CommonOptions& options, const Model& model) : model_(model), seed_(options.seed) {
  for (const std::string& text : options.inputs) {
    // A name may hold '=' itself.
    size_t at = text.find('=');
    auto named = [&](const Port& p) { return text.compare(0, at, p.name) == 0; };
    auto none_named = [&](const std::vector<Port>& ports) { return std::none_of(ports.begin(), ports.end(), named); };
    while (at != text.npos && none_named(model.inputs()) && none_named(model.defaults())) at = text.find('=', at + 1);
    const Port& port = find(text.substr(0, at == text.npos ? text.find('=') : at));
    if (arrays_.count(port.name)) fail_argument(fmt::format("input '{}' is given twice", port.name));
    take_file(port, text.substr(at + 1));
  }
  if (!options.inputs_file.empty()) read_description(options);
  for (const std::string& text : options.shapes) {
    NamedShape given = parse_shape(text);
    take_shape(find(given.name), given.shape);
  }
}

const Port& InputSource::find(const std::string& name) const {
  std::vector<std::string> names;
  for (const Port& port : model_.inputs()) {
    if (port.name == name) return port;
    names.push_back(fmt::format("'{}'", port.name));
  }
  for (const Port& port : model_.defaults())
    if (port.name == name) return port;
  fail_argument(fmt::format("the model has no input '{}': its inputs are {}", name, fmt::join(names, ", ")));
}

bool InputSource::is_default(const Port& port) const {
  return std::any_of(model_.defaults().begin(), model_.defaults().end(),
                     [&](const Port& p) { return p.name == port.name; });
}

void InputSource::take_file(const Port& port, const std::string& path) {
  Array array = read_array(path, port.dtype);
  if (array.dtype() != port.dtype)
    fail_argument(fmt::format("input '{}' must be {}, {} holds {}", port.name, describe_port(port), path,
                              name_of(array.dtype())));
  bool fits = port.shape.size() == array.shape().size() || port.shape.empty();
  for (size_t i = 0; fits && i < port.shape.size(); i++) fits = port.shape[i] < 0 || port.shape[i] == array.shape()[i];
  if (!fits)
    fail_argument(fmt::format("input '{}' must be {}, {} holds {}", port.name, describe_port(port), path,
                              shape_text(array.shape())));
  take_shape(port, array.shape());
  arrays_[port.name] = array;
}

void InputSource::take_shape(const Port& port, const std::vector<int64_t>& shape) {
  auto [at, is_new] = shapes_.emplace(port.name, shape);
  if (!is_new && at->second != shape) {
    if (arrays_.count(port.name))
      fail_argument(fmt::format("input '{}': the file holds {}, --shape says {}", port.name, shape_text(at->second),
                                shape_text(shape)));
    at->second = shape;  // --shape overrides the description
  }
}

namespace {

using nlohmann::json;

// What a description says of one input, each part of the type that it must have.
class Entry {
 public:
  Entry(std::string where, const json& entry) : where_(std::move(where)), entry_(entry) {
    if (!entry.is_object()) bad("an object of what to feed is expected");
    for (const auto& [key, value] : entry.items())
      if (std::find(std::begin(keys), std::end(keys), key) == std::end(keys))
        bad(fmt::format("'{}' is none of {}", key, fmt::join(keys, ", ")));
  }
  bool has(const char* key) const { return entry_.contains(key); }
  std::string text(const char* key) const {
    if (!entry_[key].is_string()) bad(fmt::format("'{}' must be a string", key));
    std::string value = entry_[key].get<std::string>();
    if (value.find('\0') != value.npos) bad(fmt::format("'{}' holds a character that no path has", key));
    return value;
  }
  Number number(const char* key) const { return number_of(key, entry_[key]); }
  std::vector<Number> numbers(const char* key) const {
    if (!entry_[key].is_array()) bad(fmt::format("'{}' must be a list of numbers", key));
    std::vector<Number> list;
    for (const json& v : entry_[key]) list.push_back(number_of(key, v));
    return list;
  }
  std::vector<int64_t> extents(const char* key) const {
    std::vector<int64_t> list;
    if (!entry_[key].is_array()) bad(fmt::format("'{}' must be a list of integers", key));
    for (const json& v : entry_[key]) {
      if (!v.is_number_integer() || v.get<int64_t>() < 0) bad(fmt::format("'{}' holds {}", key, shown(v)));
      list.push_back(v.get<int64_t>());
    }
    return list;
  }
  [[noreturn]] void bad(const std::string& why) const {
    throw Error(ErrorCode::invalid_argument, fmt::format("{}: {}", where_, why));
  }

 private:
  static constexpr const char* keys[] = {"file", "shape", "values", "fill", "uniform", "max"};
  // What is no number may be long and nested deeper than a stack is.
  static std::string shown(const json& v) { return v.is_number() ? v.dump() : v.type_name(); }
  Number number_of(const char* key, const json& v) const {
    if (!v.is_number() && !v.is_boolean()) bad(fmt::format("'{}' holds {}", key, shown(v)));
    if (v.is_boolean()) return int64_t{v.get<bool>()};
    if (v.is_number_unsigned()) return v.get<uint64_t>();
    return v.is_number_integer() ? Number(v.get<int64_t>()) : Number(v.get<double>());
  }
  std::string where_;
  const json& entry_;
};

// The description of the model's inputs, if the file has one.
json description_of(const std::string& path, const std::string& model) {
  const auto bad = [&](const std::string& why) { throw Error(ErrorCode::io, fmt::format("{}: {}", path, why)); };
  json all = json::parse(read_file(path), nullptr, false);
  if (all.is_discarded()) bad("not valid JSON");
  if (!all.is_object()) bad("an object from models to their inputs is expected");
  auto entry = all.find(model);
  if (entry == all.end()) return json::object();
  if (!entry->is_object()) bad(fmt::format("'{}' must be an object from inputs to what to feed", model));
  return std::move(*entry);  // a copy would recurse
}

}  // namespace

void InputSource::read_description(const CommonOptions& options) {
  const std::filesystem::path folder = std::filesystem::path(options.inputs_file).parent_path();
  const json all = description_of(options.inputs_file, std::filesystem::path(options.model).filename().string());
  for (const auto& [name, what] : all.items()) {
    const Port& port = find(name);
    if (arrays_.count(name)) continue;  // --input comes first
    const Entry entry(fmt::format("{}: input '{}'", options.inputs_file, name), what);
    if (entry.has("file")) {
      take_file(port, (folder / entry.text("file")).string());
      continue;
    }
    if (entry.has("shape")) {
      take_shape(port, entry.extents("shape"));
    } else if (is_default(port)) {  // a shape is what makes it an input
      if (std::count(port.shape.begin(), port.shape.end(), -1) > 0)
        entry.bad(fmt::format("'shape' is missing: the model says {}", describe_port(port)));
      take_shape(port, port.shape);
    }
    Spec spec;
    if (entry.has("values")) spec.values = entry.numbers("values");
    if (entry.has("fill")) spec.fill = entry.number("fill");
    if (entry.has("uniform")) {
      const std::vector<Number> range = entry.numbers("uniform");
      if (range.size() != 2) entry.bad("'uniform' must be two numbers");
      spec.low = rounded<double>(range[0]);
      spec.high = rounded<double>(range[1]);
    }
    if (entry.has("max")) spec.max = std::max<int64_t>(1, nearest<int64_t>(entry.number("max")));
    specs_[name] = spec;
  }
}

void InputSource::require_all() const {
  std::vector<std::string> missing;
  std::vector<Port> needed = model_.inputs();
  for (const Port& port : model_.defaults())
    if (shapes_.count(port.name)) needed.push_back(port);
  for (const Port& port : needed)
    if (!arrays_.count(port.name) && !specs_.count(port.name))
      missing.push_back(fmt::format("'{}' {}", port.name, describe_port(port)));
  if (!missing.empty())
    fail_argument(
        fmt::format("not given: {} (use --input NAME=FILE.npy or --random-inputs)", fmt::join(missing, ", ")));
}

Array InputSource::make(const Port& port) const {
  auto given = arrays_.find(port.name);
  if (given != arrays_.end()) return given->second;
  auto at = specs_.find(port.name);
  Spec spec = at == specs_.end() ? Spec{} : at->second;
  Array array(port.dtype, port.shape);
  if (spec.values && spec.values->size() != array.count())
    fail_argument(fmt::format("input '{}' {} has {} elements, {} 'values' are given", port.name, describe_port(port),
                              array.count(), spec.values->size()));
  // The stream depends on the input's name, not on its place: a missing file must not change what others are fed.
  uint64_t seed = seed_;
  for (char c : port.name) seed = (seed ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  Random random(seed);
  for (size_t i = 0; i < array.count(); i++) {
    if (spec.values) set(array, i, (*spec.values)[i]);
    else if (spec.fill) set(array, i, *spec.fill);
    else if (is_float(port.dtype)) set(array, i, spec.low + (spec.high - spec.low) * random.uniform());
    else if (port.dtype == DType::boolean) set(array, i, 1.0);
    else set(array, i, std::floor(random.uniform() * static_cast<double>(spec.max)));
  }
  return array;
}

}  // namespace pando::cli
