// Plan files.
#include <algorithm>

#include "plan/json_place.hpp"
#include "plan/space.hpp"

namespace pando::plan {
namespace {

using nlohmann::json;

int dim_of(const Domain& d, const std::string& name) {
  for (int i = 0; i < d.rank; i++)
    if (name == d[i].name) return i;
  return -1;
}

std::string dims_text(const Domain& d) {
  std::string text;
  for (int i = 0; i < d.rank; i++) text += fmt::format("{}{}", i ? ", " : "", d[i].name);
  return text;
}

Config read_config(const JsonPlace& at, const Space& space, uint32_t op) {
  at.object({"degrees", "ratios", "devices", "memory"});
  const Domain& domain = space.ops()[op].domain;
  Config c;
  auto dimension = [&](const JsonPlace& list, const std::string& name) {
    int d = dim_of(domain, name);
    if (d < 0) list.wrong(fmt::format("there is no dimension '{}': choose from {}", name, dims_text(domain)));
    return static_cast<size_t>(d);
  };
  if (at.has("degrees")) {
    JsonPlace degrees = at.at("degrees");
    degrees.any_object();
    for (const auto& [name, unused] : degrees.json().items()) {
      size_t d = dimension(degrees, name);
      c.split.degree[d] = static_cast<uint16_t>(degrees.member(name).integer(1, UINT16_MAX));
    }
  }
  if (at.has("ratios")) {
    JsonPlace ratios = at.at("ratios");
    ratios.any_object();
    c.split.ratios.resize(max_rank);
    for (const auto& [name, unused] : ratios.json().items()) {
      size_t d = dimension(ratios, name);
      JsonPlace list = ratios.member(name);
      list.array();
      if (list.size() == 0 || list.size() > UINT16_MAX) list.wrong("expected one number per piece");
      for (size_t i = 0; i < list.size(); i++) c.split.ratios[d].push_back(list.at(i).positive());
      if (c.split.degree[d] != 1 && c.split.degree[d] != list.size())
        list.wrong(fmt::format("{} ratios for a degree of {}", list.size(), c.split.degree[d]));
      c.split.degree[d] = static_cast<uint16_t>(list.size());
    }
  }
  c.devices = at.at("devices").device_list(space.cluster().size());
  if (at.has("memory")) {
    std::string name = at.at("memory").text();
    int found = -1;
    for (int k = 0; k < 3; k++)
      if (name == name_of(static_cast<Keep>(k))) found = k;
    if (found < 0) at.at("memory").bad("keep, recompute or offload");
    c.keep = static_cast<Keep>(found);
  }
  check_config(c, space, op, at.path());
  return c;
}

}  // namespace

void check_config(const Config& c, const Space& space, uint32_t op, const std::string& place) {
  const Domain& domain = space.ops()[op].domain;
  uint64_t parts = 1;
  for (int d = 0; d < max_rank; d++) {
    auto i = static_cast<size_t>(d);
    int64_t degree = c.split.degree[i];
    if (d >= domain.rank) {
      if (degree != 1) fail(ErrorCode::invalid_argument, "{}: a degree beyond the last dimension", place);
      continue;
    }
    parts *= static_cast<uint64_t>(degree);
    if (parts > max_devices) fail(ErrorCode::invalid_argument, "{}: more than {} parts", place, max_devices);
    if (degree == 1) continue;
    if (degree > domain[d].extent)
      fail(ErrorCode::invalid_argument, "{}: degree {} of dimension {}, which has {} elements", place, degree,
           domain[d].name, domain[d].extent);
    if (domain[d].tag == Tag::whole)
      fail(ErrorCode::invalid_argument, "{}: dimension {} cannot be cut", place, domain[d].name);
    for (int64_t at = 0; at < degree; at++)
      if (c.split.piece(d, domain[d].extent, at).empty())
        fail(ErrorCode::invalid_argument, "{}: piece {} of dimension {} is empty", place, at, domain[d].name);
  }
  if (c.devices.size() != parts)
    fail(ErrorCode::invalid_argument, "{}: {} devices for {} parts", place, c.devices.size(), parts);
  for (uint32_t d : c.devices) {
    if (d >= space.cluster().size())
      fail(ErrorCode::invalid_argument, "{}: there is no device {}: the cluster has {}", place, d,
           space.cluster().size());
    if (c.keep == Keep::offload && !(space.cluster().kind_of(d).host_gb_per_s > 0))
      fail(ErrorCode::invalid_argument, "{}: device {} cannot offload: its kind has no host_gb_per_s", place, d);
  }
}

std::optional<PipelineOptions> read_pipeline_options(std::string_view text) {
  json parsed = JsonPlace::parse(text, "plan file");
  JsonPlace root(parsed, "plan file: ");
  root.any_object();
  if (!root.has("pipeline")) return {};
  JsonPlace at = root.at("pipeline");
  at.object({"schedule", "micro_batches", "chunks"});
  PipelineOptions o;
  if (!parse(at.at("schedule").text(), o.schedule))
    at.at("schedule").bad("fill-drain, 1f1b, interleaved, two-buffered or delayed-gradients");
  o.micro_batches = static_cast<uint32_t>(at.at("micro_batches").integer(1, 1 << 20));
  if (at.has("chunks")) o.chunks = static_cast<uint32_t>(at.at("chunks").integer(1, 1 << 10));
  return o;
}

Plan read_plan(std::string_view text, const Space& space) {
  json parsed = JsonPlace::parse(text, "plan file");
  JsonPlace root(parsed, "plan file: ");
  root.object({"pando_plan", "model", "cluster", "gradients", "collective", "sharded_states", "pipeline", "operators"});
  root.at("pando_plan").integer(1, 1);
  Plan plan;
  auto identity = [&](const char* key, std::string& name, std::string& hash, const std::string& expected) {
    if (!root.has(key)) return;
    JsonPlace at = root.at(key);
    at.object({"name", "hash"});
    if (at.has("name")) name = at.at("name").text();
    if (!at.has("hash")) return;
    hash = at.at("hash").text();
    if (hash != expected)
      at.wrong(fmt::format("the plan is for another {} (hash {}, not {})",
                           std::string_view(key) == "model" ? "model, batch or number of micro-batches" : key,
                           hash.substr(0, 16), expected));
  };
  identity("model", plan.model, plan.model_hash, space.model_hash());
  identity("cluster", plan.cluster, plan.cluster_hash, space.cluster().hash());
  if (root.has("gradients") && !parse(root.at("gradients").text(), plan.gradients))
    root.at("gradients").bad("overlap or after");
  if (root.has("collective") && !parse(root.at("collective").text(), plan.collective))
    root.at("collective").bad("ring, hierarchical or auto");
  if (root.has("sharded_states")) plan.sharded_states = static_cast<uint8_t>(root.at("sharded_states").integer(0, 3));
  plan.pipeline = read_pipeline_options(text);
  JsonPlace operators = root.at("operators");
  operators.any_object();
  for (const auto& [name, unused] : operators.json().items())
    if (space.find_op(name) == none) operators.wrong(fmt::format("the model has no operator '{}'", name));
  for (uint32_t op = 0; op < space.ops().size(); op++)
    plan.configs.push_back(read_config(operators.member(space.ops()[op].name), space, op));
  return plan;
}

std::string write_plan(const Plan& plan, const Space& space) {
  json operators = json::object();
  for (uint32_t op = 0; op < space.ops().size(); op++) {
    const Config& c = plan.configs.at(op);
    const Domain& domain = space.ops()[op].domain;
    json degrees = json::object(), ratios = json::object();
    for (int d = 0; d < domain.rank; d++) {
      auto i = static_cast<size_t>(d);
      if (c.split.degree[i] > 1) degrees[domain[d].name] = c.split.degree[i];
      if (!c.split.ratios.empty() && !c.split.ratios[i].empty()) ratios[domain[d].name] = c.split.ratios[i];
    }
    json row = {{"degrees", degrees}, {"devices", device_list_text(c.devices)}, {"memory", name_of(c.keep)}};
    if (!ratios.empty()) row["ratios"] = ratios;
    operators[space.ops()[op].name] = row;
  }
  json out = {{"pando_plan", 1},
              {"model", {{"name", space.graph().name}, {"hash", space.model_hash()}}},
              {"cluster", {{"name", space.cluster().name}, {"hash", space.cluster().hash()}}},
              {"gradients", name_of(plan.gradients)},
              {"collective", name_of(plan.collective)},
              {"sharded_states", plan.sharded_states},
              {"operators", operators}};
  if (plan.pipeline)
    out["pipeline"] = {{"schedule", name_of(plan.pipeline->schedule)},
                       {"micro_batches", plan.pipeline->micro_batches},
                       {"chunks", plan.pipeline->chunks}};
  return out.dump(1, ' ', false, json::error_handler_t::replace) + "\n";
}

}  // namespace pando::plan
