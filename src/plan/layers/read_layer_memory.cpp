// Files of layers with work and sizes: {"batch": 64, "layers": [{"transformer": {...}, "count": 96}, {...}]}.
#include <fmt/format.h>

#include <algorithm>
#include <initializer_list>

#include "plan/layers/files.hpp"

namespace pando::plan {
namespace {

constexpr int64_t max_layers = 10'000;

void only(const Json& object, std::initializer_list<const char*> keys, const std::string& where) {
  if (!object.is_object()) fail(ErrorCode::invalid_model, "{}: expected an object", where);
  for (const auto& [key, value] : object.items()) {
    bool known = false;
    for (const char* k : keys) known = known || key == k;
    if (!known) fail(ErrorCode::invalid_model, "{}: there is no key \"{}\"", where, key.substr(0, 40));
  }
}

int64_t count_of(const Json& object, const char* key, int64_t otherwise, int64_t most, const std::string& where) {
  if (!object.contains(key)) return otherwise;
  int64_t x = whole_of(object, key, where);
  if (x < 1 || x > most) fail(ErrorCode::invalid_model, "{}: \"{}\" is {}, expected 1 to {}", where, key, x, most);
  return x;
}

double amount_or(const Json& object, const char* key, double otherwise, const std::string& where) {
  if (!object.contains(key)) return otherwise;
  double x = amount_of(object, key, where);
  if (x > 1e18) fail(ErrorCode::invalid_model, "{}: \"{}\" is {}, expected at most 1e18", where, key, x);
  return x;
}

// Attention and feed-forward block of four times the width. Activations after Korthikanti et al., "Reducing Activation
// Recomputation in Large Transformer Models" (2022): per token and unit of width 2 bytes of input, 8 whole and 24 split
// among a tensor group; 5 per head and pair of tokens. All counted for 2 bytes per value.
MemoryLayer transformer(const Json& t, double value_bytes, const std::string& where) {
  only(t, {"width", "sequence", "heads"}, where);
  constexpr int64_t most = 1 << 24;
  field(t, "width", where);
  field(t, "sequence", where);
  auto h = static_cast<double>(count_of(t, "width", 1, most, where));
  auto s = static_cast<double>(count_of(t, "sequence", 1, most, where));
  int64_t heads = count_of(t, "heads", 1, most, where);
  MemoryLayer out;
  out.flops = s * (24 * h * h + 4 * s * h);
  out.weights = 12 * h * h + 13 * h;
  out.input = value_bytes * s * h;
  out.inside = value_bytes / 2 * 8 * s * h;
  out.inside_split = value_bytes / 2 * (24 * s * h + 5 * static_cast<double>(heads) * s * s);
  out.exchanged = 2 * value_bytes * s * h;
  out.tensor_degrees = heads;
  return out;
}

MemoryLayer layer_of(const Json& l, double value_bytes, const std::string& where) {
  MemoryLayer out;
  if (l.is_object() && l.contains("transformer")) {
    only(l, {"name", "count", "transformer"}, where);
    out = transformer(l["transformer"], value_bytes, where + ", transformer");
  } else {
    only(l,
         {"name", "count", "flops", "weights", "input_bytes", "activation_bytes", "split_activation_bytes",
          "exchanged_bytes", "tensor_degrees"},
         where);
    for (const char* key : {"flops", "weights", "input_bytes", "activation_bytes"}) field(l, key, where);
    out.flops = amount_or(l, "flops", 0, where);
    out.weights = amount_or(l, "weights", 0, where);
    out.input = amount_or(l, "input_bytes", 0, where);
    out.inside = amount_or(l, "activation_bytes", 0, where);
    out.inside_split = amount_or(l, "split_activation_bytes", 0, where);
    out.exchanged = amount_or(l, "exchanged_bytes", 0, where);
    out.tensor_degrees = count_of(l, "tensor_degrees", 1, 1 << 24, where);
  }
  if (l.contains("name")) {
    if (!l["name"].is_string()) fail(ErrorCode::invalid_model, "{}: \"name\" is not a text", where);
    out.name = l["name"];
  }
  return out;
}

}  // namespace

MemoryProblem read_layer_memory(const Json& file, const PlanRequest& request, const Cluster& cluster) {
  MemoryProblem out;
  out.cluster = cluster;
  constexpr int64_t most = int64_t{1} << 40;
  only(file, {"name", "layers", "batch", "microbatches", "bytes_per_weight", "host_gb_per_s"}, "the file");
  out.batch = request.batch ? *request.batch : count_of(file, "batch", 1, most, "the file");
  out.microbatches = request.microbatches ? *request.microbatches : count_of(file, "microbatches", 1, most, "the file");
  if (out.batch % out.microbatches != 0)
    fail(ErrorCode::invalid_argument, "a batch of {} is no multiple of {} microbatches", out.batch, out.microbatches);
  out.host_gb_per_s = amount_or(file, "host_gb_per_s", out.host_gb_per_s, "the file");
  if (out.host_gb_per_s <= 0) fail(ErrorCode::invalid_model, "the file: \"host_gb_per_s\" is 0");
  if (file.contains("bytes_per_weight")) {
    const Json& bytes = file["bytes_per_weight"];
    std::string where = "the file, bytes_per_weight";
    only(bytes, {"weight", "gradient", "states"}, where);
    out.weight_bytes = amount_or(bytes, "weight", out.weight_bytes, where);
    out.gradient_bytes = amount_or(bytes, "gradient", out.gradient_bytes, where);
    out.state_bytes = amount_or(bytes, "states", out.state_bytes, where);
  }
  for (const Json& l : list_of(file, "layers", "the file")) {
    std::string where = fmt::format("layers[{}]", out.layers.size());
    MemoryLayer layer = layer_of(l, out.weight_bytes, where);
    int64_t count = count_of(l, "count", 1, max_layers, where);
    if (static_cast<int64_t>(out.layers.size()) + count > max_layers)
      fail(ErrorCode::invalid_model, "the file: more than {} layers", max_layers);
    out.layers.insert(out.layers.end(), static_cast<size_t>(count), layer);
  }
  if (out.layers.empty()) fail(ErrorCode::invalid_model, "the file: \"layers\" is empty");
  for (uint32_t d = 0; d < cluster.size(); d++)
    out.memory = std::min(out.memory, static_cast<double>(cluster.kind_of(d).memory_bytes));
  if (request.memory) out.memory = *request.memory;
  return out;
}

}  // namespace pando::plan
