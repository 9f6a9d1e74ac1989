// Typed fields of JSON objects; every error is one line that names the place.
#pragma once
#include <cmath>
#include <nlohmann/json.hpp>
#include <string>

#include "base/error.hpp"

namespace pando::plan {

using Json = nlohmann::json;

inline const Json& field(const Json& object, const char* key, const std::string& where) {
  if (!object.is_object()) fail(ErrorCode::invalid_model, "{}: expected an object", where);
  auto at = object.find(key);
  if (at == object.end()) fail(ErrorCode::invalid_model, "{}: the key \"{}\" is missing", where, key);
  return *at;
}

// A number that is finite and not negative.
inline double amount(const Json& value, const char* key, const std::string& where) {
  if (!value.is_number())
    fail(ErrorCode::invalid_model, "{}: \"{}\" is {}, expected a number", where, key, value.type_name());
  double x = value.get<double>();
  if (!(x >= 0 && x <= 1e100))  // so that sums of them are finite, too
    fail(ErrorCode::invalid_model, "{}: \"{}\" is {}, expected a number from 0 to 1e100", where, key, x);
  return x;
}
inline double amount_of(const Json& object, const char* key, const std::string& where) {
  return amount(field(object, key, where), key, where);
}

// A whole number, however it is written (4 or 4.0), within plus or minus 2^53.
inline int64_t whole(const Json& value, const char* key, const std::string& where) {
  double x = value.is_number() ? value.get<double>() : std::nan("");
  if (!(std::abs(x) <= 9007199254740992.0) || x != std::floor(x))
    fail(ErrorCode::invalid_model, "{}: \"{}\" is not a whole number", where, key);
  return static_cast<int64_t>(x);
}
inline int64_t whole_of(const Json& object, const char* key, const std::string& where) {
  return whole(field(object, key, where), key, where);
}

// true, false, 0 or 1.
inline bool flag_of(const Json& object, const char* key, const std::string& where) {
  const Json& value = field(object, key, where);
  if (value.is_boolean()) return value.get<bool>();
  int64_t x = whole(value, key, where);
  if (x != 0 && x != 1) fail(ErrorCode::invalid_model, "{}: \"{}\" is {}, expected true, false, 0 or 1", where, key, x);
  return x == 1;
}

inline const Json& list_of(const Json& object, const char* key, const std::string& where) {
  const Json& value = field(object, key, where);
  if (!value.is_array()) fail(ErrorCode::invalid_model, "{}: \"{}\" is not a list", where, key);
  return value;
}

}  // namespace pando::plan
