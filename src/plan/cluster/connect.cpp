// Links and routes from the description of a network.
#include <algorithm>
#include <limits>

#include "base/error.hpp"
#include "plan/cluster/cluster.hpp"

namespace pando::plan {
namespace {

int64_t to_ns(double us) { return static_cast<int64_t>(us * 1e3 + 0.5); }

// The links that one level of a network gives to `count` members, and which of them a pair uses.
class Level {
 public:
  Level(Cluster& cluster, const Network::Level& level, size_t count, std::string name)
      : cluster_(cluster), level_(level), count_(count), first_(static_cast<uint32_t>(cluster.links.size())) {
    auto add = [&](std::string what) {
      cluster_.links.push_back({std::move(what), level_.gb_per_s, to_ns(level_.latency_us)});
    };
    if (count < 2) return;
    if (level.sharing == Sharing::bus) add(name + "bus");
    if (level.sharing == Sharing::port)
      for (size_t i = 0; i < count; i++) add(fmt::format("{}{}.out", name, i)), add(fmt::format("{}{}.in", name, i));
    if (level.sharing == Sharing::pair)
      for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < count; j++)
          if (i != j) add(fmt::format("{}{}>{}", name, i, j));
  }
  void route(size_t from, size_t to, std::vector<uint32_t>& out) const {
    auto id = [&](size_t i) { return first_ + static_cast<uint32_t>(i); };
    if (level_.sharing == Sharing::bus) out.push_back(id(0));
    if (level_.sharing == Sharing::port) out.insert(out.end(), {id(2 * from), id(2 * to + 1)});
    if (level_.sharing == Sharing::pair) out.push_back(id(from * (count_ - 1) + to - (to > from ? 1 : 0)));
  }

 private:
  Cluster& cluster_;
  const Network::Level& level_;
  size_t count_;
  uint32_t first_;
};

void connect_nodes(Cluster& c, std::vector<std::vector<uint32_t>>& routes) {
  size_t n = c.size();
  uint32_t nodes = 0;
  for (const Device& d : c.devices) nodes = std::max(nodes, d.node + 1);
  std::vector<size_t> rank(n), members(nodes, 0);
  for (size_t d = 0; d < n; d++) rank[d] = members[c.devices[d].node]++;
  std::vector<Level> inside;
  inside.reserve(nodes);
  for (uint32_t k = 0; k < nodes; k++) inside.emplace_back(c, c.network.inside, members[k], fmt::format("node{}/", k));
  const Network::Level& b = c.network.between;
  // A bus between nodes is each node's own wire, used in both directions.
  bool wire = b.sharing == Sharing::bus;
  auto wires = static_cast<uint32_t>(c.links.size());
  if (wire && nodes > 1)
    for (uint32_t k = 0; k < nodes; k++) c.links.push_back({fmt::format("net/{}", k), b.gb_per_s, to_ns(b.latency_us)});
  Level between(c, b, wire || nodes < 2 ? 0 : b.per_device ? n : nodes, "net/");
  for (size_t i = 0; i < n; i++)
    for (size_t j = 0; j < n; j++) {
      if (i == j) continue;
      uint32_t a = c.devices[i].node, z = c.devices[j].node;
      std::vector<uint32_t>& out = routes[i * n + j];
      if (a == z) inside[a].route(rank[i], rank[j], out);
      else if (wire) out = {wires + a, wires + z};
      else if (b.per_device) between.route(i, j, out);
      else between.route(a, z, out);
    }
}

}  // namespace

void connect(Cluster& c) {
  size_t n = c.size();
  std::vector<std::vector<uint32_t>> routes(n * n);
  switch (c.network.form) {
    case Network::Form::nodes:
      c.links.clear();
      connect_nodes(c, routes);
      break;
    case Network::Form::matrices:
      c.links.clear();
      for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++) {
          if (i == j) continue;
          routes[i * n + j] = {static_cast<uint32_t>(c.links.size())};
          c.links.push_back({fmt::format("{}>{}", i, j), c.network.gb_per_s[i][j], to_ns(c.network.latency_us[i][j])});
        }
      break;
    case Network::Form::routes:
      for (const Network::Route& r : c.network.routes) routes[r.from * n + r.to] = r.links;
      for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++)
          if (i != j && routes[i * n + j].empty())
            fail(ErrorCode::invalid_argument, "cluster file: network.routes: there is no route from device {} to {}", i,
                 j);
      break;
  }
  c.route_begin.assign(1, 0);
  c.route_links.clear();
  for (const auto& r : routes) {
    c.route_links.insert(c.route_links.end(), r.begin(), r.end());
    c.route_begin.push_back(static_cast<uint32_t>(c.route_links.size()));
  }
}

int64_t Cluster::latency_ns(uint32_t from, uint32_t to) const {
  int64_t sum = 0;
  for (uint32_t l : route(from, to)) sum += links[l].latency_ns;
  return sum;
}

double Cluster::ns_per_byte(uint32_t from, uint32_t to) const {
  double worst = 0;
  for (uint32_t l : route(from, to)) worst = std::max(worst, 1 / links[l].gb_per_s);
  return worst;
}

}  // namespace pando::plan
