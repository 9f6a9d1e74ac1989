#include "plan/edit.hpp"

#include <algorithm>
#include <charconv>

#include "plan/json_place.hpp"

namespace pando::plan {
namespace {

constexpr const char* tag_names[] = {"sample", "attribute", "parameter", "reduction", "sequential"};

int dimension_named(const Domain& d, std::string_view key) {
  for (int i = 0; i < d.rank; i++)
    if (key == d[i].name) return i;
  for (int t = 0; t < 5; t++)
    for (int i = 0; key == tag_names[t] && i < d.rank; i++)
      if (d[i].tag == static_cast<Tag>(t) && d[i].extent > 1) return i;
  return -1;
}

std::string_view trimmed(std::string_view s) {
  while (!s.empty() && s.front() == ' ') s.remove_prefix(1);
  while (!s.empty() && s.back() == ' ') s.remove_suffix(1);
  return s;
}

// "a=1, devices=0-3,8" as pairs: a piece without '=' goes on with the value before it.
std::vector<std::pair<std::string, std::string>> settings(std::string_view text, const std::string& place) {
  std::vector<std::pair<std::string, std::string>> list;
  while (!text.empty()) {
    size_t comma = std::min(text.find(','), text.size());
    std::string_view one = trimmed(text.substr(0, comma));
    text.remove_prefix(std::min(comma + 1, text.size()));
    size_t equal = one.find('=');
    if (equal != one.npos) list.emplace_back(trimmed(one.substr(0, equal)), trimmed(one.substr(equal + 1)));
    else if (!list.empty()) list.back().second += "," + std::string(one);
    else fail(ErrorCode::invalid_argument, "{}: expected KEY=VALUE, got '{}'", place, one);
  }
  return list;
}

}  // namespace

std::pair<uint32_t, Config> read_edit(std::string_view text, const Space& space, const std::vector<Config>& configs,
                                      const std::string& where) {
  std::string place = fmt::format("{} '{}'", where, text.substr(0, 200));
  size_t colon = text.rfind(':');
  if (colon == text.npos) fail(ErrorCode::invalid_argument, "{}: expected OPERATOR: KEY=VALUE, ...", place);
  std::string name(trimmed(text.substr(0, colon)));
  uint32_t op = space.find_op(name);
  if (op == none) fail(ErrorCode::invalid_argument, "{}: the model has no operator '{}'", place, name);
  const Domain& domain = space.ops()[op].domain;
  Config c = configs.at(op);
  bool degrees = false, devices = false;
  for (const auto& [key, value] : settings(text.substr(colon + 1), place)) {
    if (key == "devices") {
      c.devices = parse_device_list(value, space.cluster().size(), place);
      devices = true;
      continue;
    }
    if (key == "memory") {
      bool known = false;
      for (Keep k : {Keep::keep, Keep::recompute, Keep::offload})
        if (value == name_of(k)) c.keep = k, known = true;
      if (!known) fail(ErrorCode::invalid_argument, "{}: memory is keep, recompute or offload", place);
      continue;
    }
    int d = dimension_named(domain, key);
    if (d < 0) fail(ErrorCode::invalid_argument, "{}: operator '{}' has no dimension '{}' to cut", place, name, key);
    if (!degrees) c.split = Split{};
    degrees = true;
    uint16_t degree = 0;
    auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), degree);
    if (error != std::errc() || end != value.data() + value.size() || degree < 1)
      fail(ErrorCode::invalid_argument, "{}: expected a degree of 1 or more, got '{}'", place, value);
    c.split.degree[static_cast<size_t>(d)] = degree;
  }
  uint64_t parts = 1;
  for (uint16_t d : c.split.degree) parts = std::min<uint64_t>(parts * d, max_devices + 1);
  if (!devices && c.devices.size() != parts && parts <= max_devices) {
    uint32_t first = c.devices.empty() ? 0 : c.devices[0];
    c.devices.clear();
    for (uint32_t i = 0; i < parts; i++)
      c.devices.push_back((first + i) % static_cast<uint32_t>(space.cluster().size()));
  }
  check_config(c, space, op, place);
  return {op, std::move(c)};
}

}  // namespace pando::plan
