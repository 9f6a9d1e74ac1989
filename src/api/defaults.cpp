// Runs that feed inputs which were compiled as constants, since they have a default value.
#include <algorithm>
#include <string_view>
#include <utility>

#include "api/impl.hpp"

namespace pando {
namespace {

constexpr size_t max_variants = 8;  // each holds an arena

bool has(const std::vector<Port>& ports, const std::string& name) {
  return std::any_of(ports.begin(), ports.end(), [&](const Port& p) { return p.name == name; });
}

std::string_view content(const Array& a) { return {static_cast<const char*>(a.data()), a.bytes()}; }

}  // namespace

std::optional<Compiled> Variants::find(const std::string& key) {
  std::lock_guard lock(mutex_);
  const auto known = variants_.find(key);
  if (known == variants_.end()) return {};
  known->second.used = ++uses_;
  return known->second.compiled;
}

Compiled Variants::keep(const std::string& key, Compiled made) {
  std::map<std::string, Variant>::node_type dropped;  // destroyed after the lock: that takes other locks
  std::lock_guard lock(mutex_);
  const auto [known, is_new] = variants_.try_emplace(key, Variant{std::move(made), 0});
  known->second.used = ++uses_;
  if (variants_.size() > max_variants)
    dropped = variants_.extract(std::min_element(variants_.begin(), variants_.end(), [](const auto& a, const auto& b) {
      return a.second.used < b.second.used;
    }));
  return known->second.compiled;
}

std::set<std::string> Variants::fixed() const {
  std::lock_guard lock(mutex_);
  return fixed_;
}

void Variants::fix(const std::string& name) {
  std::lock_guard lock(mutex_);
  fixed_.insert(name);
}

std::optional<Compiled> Compiled::Impl::variant_for(std::map<std::string, Array>& given, const CancelToken* cancel) {
  std::vector<std::string> fed;
  for (const auto& [name, array] : given)
    if (has(model->defaults, name) && !has(inputs, name)) fed.push_back(name);
  if (fed.empty()) return {};
  for (;;) {
    const std::set<std::string> fixed = variants.fixed();
    CompileOptions how = options;
    how.progress = nullptr;
    how.graph_text = nullptr;
    how.cancel = cancel;
    std::string key;
    for (const std::string& name : fed) {
      const Array& array = given.at(name);
      key += fmt::format("{} {} {}\n", name, name_of(array.dtype()), to_string(array.shape()));
      how.values.erase(name);
      how.shapes.erase(name);
      if (fixed.count(name)) {
        how.values[name] = array;
        key += content(array);
      } else {
        how.shapes[name] = array.shape();
      }
    }
    std::optional<Compiled> variant = variants.find(key);
    if (!variant) {
      try {
        variant = variants.keep(key, make(model, engine, how));
      } catch (const InputValueNeeded& e) {
        if (std::find(fed.begin(), fed.end(), e.input) == fed.end() || fixed.count(e.input)) throw;
        variants.fix(e.input);
        continue;
      }
    }
    for (const std::string& name : fed)
      if (fixed.count(name)) given.erase(name);
    return variant;
  }
}

}  // namespace pando
