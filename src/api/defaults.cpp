// Runs that feed inputs which were compiled as constants, since they have a default value.
#include <algorithm>
#include <string_view>

#include "api/impl.hpp"

namespace pando {
namespace {

constexpr size_t kept = 8;  // variants: each holds an arena

bool has(const std::vector<Port>& ports, const std::string& name) {
  return std::any_of(ports.begin(), ports.end(), [&](const Port& p) { return p.name == name; });
}

std::string_view content(const Array& a) { return {static_cast<const char*>(a.data()), a.bytes()}; }

}  // namespace

std::optional<Compiled> Compiled::Impl::variant_for(std::map<std::string, Array>& given, const CancelToken* cancel) {
  std::vector<std::string> fed;
  for (const auto& [name, array] : given)
    if (has(model->defaults, name) && !has(inputs, name)) fed.push_back(name);
  if (fed.empty()) return {};
  std::lock_guard lock(variants_mutex);
  for (;;) {
    CompileOptions how = options;
    how.progress = nullptr;
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
    auto known = variants.find(key);
    if (known == variants.end()) {
      try {
        Compiled made = make(model, engine, how);
        if (variants.size() >= kept) variants.clear();
        known = variants.emplace(key, std::move(made)).first;
      } catch (const InputValueNeeded& e) {
        if (std::find(fed.begin(), fed.end(), e.input) == fed.end() || !fixed.insert(e.input).second) throw;
        continue;
      }
    }
    for (const std::string& name : fed)
      if (fixed.count(name)) given.erase(name);
    return known->second;
  }
}

}  // namespace pando
