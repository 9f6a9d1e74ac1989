// Reading JSON that people write: every value knows where it stands, so that errors name the place.
#pragma once
#include <cstdint>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"

namespace pando::plan {

// A value of a parsed file and its path in it ("cluster file: kinds.p100.memory_bytes"). Getters throw
// invalid_argument with one line that names the place, what was expected and what is there.
class JsonPlace {
 public:
  // Parses `text`; `what` names the file in messages ("cluster file"). Throws `code` with the position.
  static nlohmann::json parse(std::string_view text, const std::string& what,
                              ErrorCode code = ErrorCode::invalid_argument);
  JsonPlace(const nlohmann::json& value, std::string path) : value_(&value), path_(std::move(path)) {}

  const nlohmann::json& json() const { return *value_; }
  const std::string& path() const { return path_; }
  bool has(const char* key) const;
  JsonPlace at(const char* key) const;             // a member of an object; throws when it is missing
  JsonPlace at(size_t index) const;                // an element of an array
  JsonPlace member(const std::string& key) const;  // a member that is there
  size_t size() const { return value_->size(); }
  // Throws unless the value is an object and all its keys are among these.
  void object(std::initializer_list<const char*> keys) const;
  void any_object() const;  // an object whose keys are names
  void array() const;

  std::string text() const;
  bool boolean() const;
  double positive() const;      // a finite number > 0
  double not_negative() const;  // a finite number >= 0
  int64_t integer(int64_t least, int64_t most) const;
  // The member, or `otherwise` where it is missing.
  double positive(const char* key, double otherwise) const { return has(key) ? at(key).positive() : otherwise; }
  double not_negative(const char* key, double otherwise) const { return has(key) ? at(key).not_negative() : otherwise; }
  // Device ids: [0, 1, 2] or "0-3,8"; each below `devices`.
  std::vector<uint32_t> device_list(size_t devices) const;

  [[noreturn]] void bad(const std::string& expected) const;   // "PATH: expected E, got V"
  [[noreturn]] void wrong(const std::string& message) const;  // "PATH: MESSAGE"

 private:
  double number() const;
  const nlohmann::json* value_;
  std::string path_;
};

// "0-3,8"; throws invalid_argument naming `place` unless these are ids below `devices`, at most 2^20 of them.
std::vector<uint32_t> parse_device_list(std::string_view text, size_t devices, const std::string& place);
// The inverse: consecutive rising ids become ranges.
std::string device_list_text(const std::vector<uint32_t>& devices);

}  // namespace pando::plan
