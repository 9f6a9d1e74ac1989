// Cluster files: read, checked, written.
#include <xxhash.h>

#include <algorithm>

#include "plan/cluster/cluster.hpp"
#include "plan/json_place.hpp"

namespace pando::plan {
namespace {

using nlohmann::json;

constexpr const char* sharing_names[] = {"pair", "port", "bus"};
constexpr int64_t max_memory = int64_t{1} << 50;

DeviceKind read_kind(const std::string& name, const JsonPlace& at) {
  at.object({"peak_gflops", "memory_bytes", "memory_gb_per_s", "host_gb_per_s", "efficiency", "task_overhead_us"});
  DeviceKind k;
  k.name = name;
  JsonPlace peak = at.at("peak_gflops");
  peak.object({"f32", "f16"});
  k.machine.peak_gflops = peak.at("f32").positive();
  k.peak_gflops_16 = peak.positive("f16", 0);
  k.memory_bytes = at.at("memory_bytes").integer(1, max_memory);
  k.machine.memory_gb_per_s = at.at("memory_gb_per_s").positive();
  k.host_gb_per_s = at.not_negative("host_gb_per_s", 0);
  if (at.has("efficiency")) {
    JsonPlace e = at.at("efficiency");
    e.object({"matrix", "vector"});
    k.matrix_efficiency = e.positive("matrix", 1);
    k.vector_efficiency = e.positive("vector", 1);
  }
  k.task_overhead_us = std::min(at.not_negative("task_overhead_us", 0), 1e9);
  return k;
}

void read_devices(const JsonPlace& at, Cluster& c) {
  at.array();
  for (size_t i = 0; i < at.size(); i++) {
    JsonPlace row = at.at(i);
    row.object({"kind", "count", "node"});
    std::string kind = row.at("kind").text();
    auto found = std::find_if(c.kinds.begin(), c.kinds.end(), [&](const DeviceKind& k) { return k.name == kind; });
    if (found == c.kinds.end()) row.at("kind").wrong(fmt::format("there is no device kind '{}'", kind));
    int64_t count = row.has("count") ? row.at("count").integer(1, static_cast<int64_t>(max_devices)) : 1;
    int64_t node = row.has("node") ? row.at("node").integer(0, static_cast<int64_t>(max_devices) - 1) : 0;
    if (c.devices.size() + static_cast<size_t>(count) > max_devices)
      row.wrong(fmt::format("more than {} devices", max_devices));
    c.devices.insert(c.devices.end(), static_cast<size_t>(count),
                     {static_cast<uint32_t>(found - c.kinds.begin()), static_cast<uint32_t>(node)});
  }
  if (c.devices.empty()) at.wrong("a cluster needs at least one device");
}

Network::Level read_level(const JsonPlace& at) {
  at.object({"gb_per_s", "latency_us", "sharing", "per_device"});
  Network::Level level;
  level.gb_per_s = at.at("gb_per_s").positive();
  level.latency_us = at.not_negative("latency_us", 0);
  if (at.has("sharing")) {
    std::string s = at.at("sharing").text();
    auto found = std::find(std::begin(sharing_names), std::end(sharing_names), s);
    if (found == std::end(sharing_names)) at.at("sharing").bad("pair, port or bus");
    level.sharing = static_cast<Sharing>(found - std::begin(sharing_names));
  }
  if (at.has("per_device")) level.per_device = at.at("per_device").boolean();
  return level;
}

std::vector<std::vector<double>> read_matrix(const JsonPlace& at, size_t n, bool zero_allowed) {
  at.array();
  if (at.size() != n) at.wrong(fmt::format("expected {} rows, one per device, got {}", n, at.size()));
  std::vector<std::vector<double>> m(n, std::vector<double>(n, 0));
  for (size_t i = 0; i < n; i++) {
    JsonPlace row = at.at(i);
    row.array();
    if (row.size() != n) row.wrong(fmt::format("expected {} numbers, one per device, got {}", n, row.size()));
    for (size_t j = 0; j < n; j++)
      if (i != j) m[i][j] = zero_allowed ? row.at(j).not_negative() : row.at(j).positive();
  }
  return m;
}

void read_routes(const JsonPlace& at, Cluster& c) {
  JsonPlace links = at.at("links"), routes = at.at("routes");
  links.array();
  for (size_t i = 0; i < links.size(); i++) {
    JsonPlace row = links.at(i);
    row.object({"name", "gb_per_s", "latency_us"});
    Link link;
    link.name = row.at("name").text();
    link.gb_per_s = row.at("gb_per_s").positive();
    link.latency_ns = static_cast<int64_t>(std::min(row.not_negative("latency_us", 0), 1e9) * 1e3 + 0.5);
    for (const Link& other : c.links)
      if (other.name == link.name) row.at("name").wrong(fmt::format("a second link '{}'", link.name));
    c.links.push_back(link);
  }
  routes.array();
  std::vector<bool> known(c.size() * c.size(), false);
  for (size_t i = 0; i < routes.size(); i++) {
    JsonPlace row = routes.at(i), list = row.at("links");
    row.object({"from", "to", "links"});
    auto last = static_cast<int64_t>(c.size()) - 1;
    Network::Route route;
    route.from = static_cast<uint32_t>(row.at("from").integer(0, last));
    route.to = static_cast<uint32_t>(row.at("to").integer(0, last));
    list.array();
    for (size_t k = 0; k < list.size(); k++) {
      std::string name = list.at(k).text();
      auto found = std::find_if(c.links.begin(), c.links.end(), [&](const Link& l) { return l.name == name; });
      if (found == c.links.end()) list.at(k).wrong(fmt::format("there is no link '{}'", name));
      route.links.push_back(static_cast<uint32_t>(found - c.links.begin()));
    }
    if (route.links.empty()) list.wrong("a route needs at least one link");
    if (route.from == route.to) row.wrong("a route from a device to itself");
    if (known[route.from * c.size() + route.to])
      row.wrong(fmt::format("a second route from device {} to {}", route.from, route.to));
    known[route.from * c.size() + route.to] = true;
    c.network.routes.push_back(std::move(route));
  }
}

void read_network(const JsonPlace& at, Cluster& c) {
  at.any_object();
  Network& n = c.network;
  if (at.has("inside") || at.has("between")) {
    at.object({"inside", "between"});
    n.form = Network::Form::nodes;
    bool several =
        std::any_of(c.devices.begin(), c.devices.end(), [&](const Device& d) { return d.node != c.devices[0].node; });
    if (at.has("inside") || c.size() > 1) n.inside = read_level(at.at("inside"));
    if (at.has("between") || several) n.between = read_level(at.at("between"));
  } else if (at.has("links")) {
    at.object({"links", "routes"});
    n.form = Network::Form::routes;
    read_routes(at, c);
  } else if (at.has("gb_per_s")) {
    at.object({"gb_per_s", "latency_us"});
    n.form = Network::Form::matrices;
    n.gb_per_s = read_matrix(at.at("gb_per_s"), c.size(), false);
    n.latency_us = at.has("latency_us") ? read_matrix(at.at("latency_us"), c.size(), true)
                                        : std::vector(c.size(), std::vector<double>(c.size(), 0));
  } else {
    at.wrong("expected inside and between, or matrices gb_per_s and latency_us, or links and routes");
  }
}

json level_json(const Network::Level& l, bool between) {
  json out = {
      {"gb_per_s", l.gb_per_s}, {"latency_us", l.latency_us}, {"sharing", sharing_names[static_cast<int>(l.sharing)]}};
  if (between) out["per_device"] = l.per_device;
  return out;
}

json network_json(const Cluster& c) {
  const Network& n = c.network;
  if (n.form == Network::Form::nodes)
    return {{"inside", level_json(n.inside, false)}, {"between", level_json(n.between, true)}};
  if (n.form == Network::Form::matrices) return {{"gb_per_s", n.gb_per_s}, {"latency_us", n.latency_us}};
  json links = json::array(), routes = json::array();
  for (const Link& l : c.links)
    links.push_back(
        {{"name", l.name}, {"gb_per_s", l.gb_per_s}, {"latency_us", static_cast<double>(l.latency_ns) * 1e-3}});
  for (const Network::Route& r : n.routes) {
    json names = json::array();
    for (uint32_t l : r.links) names.push_back(c.links[l].name);
    routes.push_back({{"from", r.from}, {"to", r.to}, {"links", names}});
  }
  return {{"links", links}, {"routes", routes}};
}

json devices_json(const Cluster& c) {
  json rows = json::array();
  for (size_t i = 0; i < c.size();) {
    size_t j = i;
    while (j < c.size() && c.devices[j].kind == c.devices[i].kind && c.devices[j].node == c.devices[i].node) j++;
    rows.push_back({{"kind", c.kind_of(static_cast<uint32_t>(i)).name}, {"count", j - i}, {"node", c.devices[i].node}});
    i = j;
  }
  return rows;
}

json to_json(const Cluster& c) {
  json kinds = json::object();
  for (const DeviceKind& k : c.kinds) {
    json peak = {{"f32", k.machine.peak_gflops}};
    if (k.peak_gflops_16 > 0) peak["f16"] = k.peak_gflops_16;
    kinds[k.name] = {{"peak_gflops", peak},
                     {"memory_bytes", k.memory_bytes},
                     {"host_gb_per_s", k.host_gb_per_s},
                     {"memory_gb_per_s", k.machine.memory_gb_per_s},
                     {"efficiency", {{"matrix", k.matrix_efficiency}, {"vector", k.vector_efficiency}}},
                     {"task_overhead_us", k.task_overhead_us}};
  }
  return {{"pando_cluster", 1},         {"name", c.name},
          {"source", c.source},         {"kinds", kinds},
          {"devices", devices_json(c)}, {"network", network_json(c)}};
}

}  // namespace

Cluster read_cluster(std::string_view text) {
  json parsed = JsonPlace::parse(text, "cluster file");
  JsonPlace root(parsed, "cluster file: ");
  root.object({"pando_cluster", "name", "source", "kinds", "devices", "network"});
  root.at("pando_cluster").integer(1, 1);
  Cluster c;
  if (root.has("name")) c.name = root.at("name").text();
  if (root.has("source")) c.source = root.at("source").text();
  JsonPlace kinds = root.at("kinds");
  kinds.any_object();
  for (const auto& [name, unused] : kinds.json().items()) c.kinds.push_back(read_kind(name, kinds.member(name)));
  read_devices(root.at("devices"), c);
  if (c.size() > 1 || root.has("network")) read_network(root.at("network"), c);
  connect(c);
  return c;
}

std::string write_cluster(const Cluster& c) {
  return to_json(c).dump(1, ' ', false, json::error_handler_t::replace) + "\n";
}

std::string Cluster::hash() const {
  json all = to_json(*this);
  all.erase("name");
  all.erase("source");
  std::string text = all.dump(-1, ' ', false, json::error_handler_t::replace);
  return fmt::format("{:016x}", XXH64(text.data(), text.size(), 0));
}

}  // namespace pando::plan
