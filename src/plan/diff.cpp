#include "plan/diff.hpp"

#include <set>

#include "plan/json_place.hpp"

namespace pando::plan {
namespace {

using nlohmann::json;

// Calls f(key, value or null, value or null) for all keys of either object.
template <class F>
void both(const json& a, const json& b, F&& f) {
  std::set<std::string> keys;
  for (const json* side : {&a, &b})
    for (const auto& [key, unused] : side->items()) keys.insert(key);
  for (const std::string& key : keys) f(key, a.contains(key) ? a[key] : json(), b.contains(key) ? b[key] : json());
}

json changes(const json& a, const json& b, const char* apart) {
  json list = json::array();
  both(a, b, [&](const std::string& key, const json& from, const json& to) {
    if (from == to) return;
    if (!apart || key != apart || !from.is_object() || !to.is_object())
      return list.push_back({{"key", key}, {"from", from}, {"to", to}});
    both(from, to, [&](const std::string& dim, const json& x, const json& y) {
      if (x != y) list.push_back({{"key", key + "." + dim}, {"from", x}, {"to", y}});
    });
  });
  return list;
}

json read(std::string_view text, const char* which) {
  json parsed = JsonPlace::parse(text, fmt::format("{} plan file", which));
  JsonPlace root(parsed, fmt::format("{} plan file: ", which));
  root.any_object();
  root.at("pando_plan").integer(1, 1);
  JsonPlace operators = root.at("operators");
  operators.any_object();
  for (const auto& [name, unused] : operators.json().items()) operators.member(name).any_object();
  return parsed;
}

}  // namespace

json diff_plans(std::string_view first, std::string_view second) {
  json a = read(first, "first"), b = read(second, "second"), operators = json::array();
  both(a["operators"], b["operators"], [&](const std::string& name, const json& from, const json& to) {
    json list = from.is_null() || to.is_null() ? json({{{"key", "operator"}, {"from", from}, {"to", to}}})
                                               : changes(from, to, "degrees");
    if (!list.empty()) operators.push_back({{"op", name}, {"changes", list}});
  });
  a.erase("operators");
  b.erase("operators");
  json settings = changes(a, b, nullptr);
  return {{"same", settings.empty() && operators.empty()}, {"settings", settings}, {"operators", operators}};
}

}  // namespace pando::plan
