#include "plan/json_place.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>

namespace pando::plan {
namespace {

constexpr size_t max_listed_devices = size_t{1} << 20;

std::string shortened(const nlohmann::json& value) {
  std::string text = value.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
  if (text.size() > 40) text = text.substr(0, 37) + "...";
  return text;
}

// nlohmann's parser recurses no deeper than its own stack of states, but its values are destroyed level by level.
bool too_deep(std::string_view text) {
  int depth = 0;
  bool quoted = false;
  for (size_t i = 0; i < text.size(); i++) {
    char c = text[i];
    if (quoted) {
      if (c == '\\') i++;
      else if (c == '"') quoted = false;
    } else if (c == '"') {
      quoted = true;
    } else if (c == '[' || c == '{') {
      if (++depth > 64) return true;
    } else if (c == ']' || c == '}') {
      depth--;
    }
  }
  return false;
}

}  // namespace

nlohmann::json JsonPlace::parse(std::string_view text, const std::string& what, ErrorCode code) {
  if (too_deep(text)) fail(code, "{}: nested more than 64 levels deep", what);
  try {
    return nlohmann::json::parse(text);
  } catch (const nlohmann::json::parse_error& e) {
    size_t end = std::min<size_t>(e.byte > 0 ? e.byte - 1 : 0, text.size());
    auto lines = std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(end), '\n');
    fail(code, "{}: not valid JSON at byte {}, line {}", what, e.byte, lines + 1);
  } catch (const nlohmann::json::exception&) {  // a number that does not fit into a double
    fail(code, "{}: not valid JSON: a number out of range", what);
  }
}

bool JsonPlace::has(const char* key) const { return value_->is_object() && value_->contains(key); }

JsonPlace JsonPlace::at(const char* key) const {
  if (!value_->is_object()) bad("an object");
  auto found = value_->find(key);
  if (found == value_->end()) wrong(fmt::format("'{}' is missing", key));
  return {*found, path_ + (path_.ends_with(": ") ? "" : ".") + key};
}

JsonPlace JsonPlace::member(const std::string& key) const { return at(key.c_str()); }

JsonPlace JsonPlace::at(size_t index) const {
  array();
  if (index >= value_->size()) wrong(fmt::format("expected at least {} elements, got {}", index + 1, value_->size()));
  return {(*value_)[index], fmt::format("{}[{}]", path_, index)};
}

void JsonPlace::any_object() const {
  if (!value_->is_object()) bad("an object");
}

void JsonPlace::object(std::initializer_list<const char*> keys) const {
  any_object();
  for (const auto& [key, unused] : value_->items())
    if (std::none_of(keys.begin(), keys.end(), [&key = key](const char* k) { return key == k; }))
      wrong(fmt::format("unknown key '{}'", key));
}

void JsonPlace::array() const {
  if (!value_->is_array()) bad("an array");
}

std::string JsonPlace::text() const {
  if (!value_->is_string()) bad("a string");
  return value_->get<std::string>();
}

bool JsonPlace::boolean() const {
  if (!value_->is_boolean()) bad("true or false");
  return value_->get<bool>();
}

double JsonPlace::number() const {
  if (!value_->is_number()) bad("a number");
  double v = value_->get<double>();
  if (!std::isfinite(v)) bad("a finite number");
  return v;
}

double JsonPlace::positive() const {
  double v = number();
  if (!(v > 0)) bad("a number above 0");
  return v;
}

double JsonPlace::not_negative() const {
  double v = number();
  if (!(v >= 0)) bad("a number of 0 or more");
  return v;
}

int64_t JsonPlace::integer(int64_t least, int64_t most) const {
  auto expected = [&] { return fmt::format("an integer from {} to {}", least, most); };
  if (!value_->is_number_integer()) bad(expected());
  if (value_->is_number_unsigned() && value_->get<uint64_t>() > static_cast<uint64_t>(INT64_MAX)) bad(expected());
  auto v = value_->get<int64_t>();
  if (v < least || v > most) bad(expected());
  return v;
}

std::vector<uint32_t> JsonPlace::device_list(size_t devices) const {
  if (value_->is_string()) return parse_device_list(value_->get<std::string>(), devices, path_);
  if (!value_->is_array()) bad("device ids: an array or a text like \"0-3,8\"");
  std::vector<uint32_t> list;
  for (size_t i = 0; i < size(); i++) {
    JsonPlace id = at(i);
    if (!id.json().is_number_integer() || !id.json().is_number_unsigned() || id.json().get<uint64_t>() >= devices)
      id.wrong(fmt::format("there is no device {}: the cluster has {}", shortened(id.json()), devices));
    list.push_back(id.json().get<uint32_t>());
  }
  return list;
}

void JsonPlace::bad(const std::string& expected) const {
  wrong(fmt::format("expected {}, got {}", expected, shortened(*value_)));
}

void JsonPlace::wrong(const std::string& message) const {
  bool root = path_.ends_with(": ");
  fail(ErrorCode::invalid_argument, "{}{}{}", path_, root ? "" : ": ", message);
}

std::vector<uint32_t> parse_device_list(std::string_view text, size_t devices, const std::string& place) {
  auto bad = [&] {
    fail(ErrorCode::invalid_argument, "{}: expected device ids like \"0-3,8\", got \"{}\"", place, text.substr(0, 40));
  };
  std::vector<uint32_t> list;
  const char *at = text.data(), *end = text.data() + text.size();
  while (true) {
    uint32_t first = 0, last = 0;
    auto read = std::from_chars(at, end, first);
    if (read.ec != std::errc()) bad();
    last = first;
    if (read.ptr != end && *read.ptr == '-') {
      read = std::from_chars(read.ptr + 1, end, last);
      if (read.ec != std::errc() || last < first) bad();
    }
    if (last >= devices)
      fail(ErrorCode::invalid_argument, "{}: there is no device {}: the cluster has {}", place, last, devices);
    if (list.size() + (last - first) >= max_listed_devices) bad();
    for (uint32_t d = first; d <= last; d++) list.push_back(d);
    if (read.ptr == end) return list;
    if (*read.ptr != ',') bad();
    at = read.ptr + 1;
  }
}

std::string device_list_text(const std::vector<uint32_t>& devices) {
  std::string text;
  for (size_t i = 0; i < devices.size();) {
    size_t j = i + 1;
    while (j < devices.size() && devices[j] == devices[j - 1] + 1) j++;
    if (i > 0) text += ',';
    text += j - i > 1 ? fmt::format("{}-{}", devices[i], devices[j - 1]) : fmt::format("{}", devices[i]);
    i = j;
  }
  return text;
}

}  // namespace pando::plan
