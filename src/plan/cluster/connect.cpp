// Links and routes from the description of a network.
#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "base/error.hpp"
#include "plan/cluster/cluster.hpp"

namespace pando::plan {
namespace {

constexpr size_t max_pairs = 512;  // members of a level with links of their own for every pair

int64_t to_ns(double us) { return std::llround(std::min(us, 1e9) * 1e3); }

// The links that one level of a network gives to `count` members, and which of them a pair uses.
class LevelLinks {
 public:
  LevelLinks(Cluster& cluster, const Network::Level& level, size_t count, std::string name)
      : cluster_(cluster), level_(level), count_(count), first_(static_cast<uint32_t>(cluster.links.size())) {
    auto add = [&](std::string what) {
      cluster_.links.push_back({std::move(what), level_.gb_per_s, to_ns(level_.latency_us)});
    };
    if (count < 2) return;
    if (level.sharing == Sharing::bus) add(name + "bus");
    if (level.sharing == Sharing::port)
      for (size_t i = 0; i < count; i++) add(fmt::format("{}{}.out", name, i)), add(fmt::format("{}{}.in", name, i));
    if (level.sharing == Sharing::pair && count > max_pairs)
      fail(ErrorCode::invalid_argument, "cluster file: network: a link for every pair of {} is too many", count);
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

// Calls route(from, to, out) for all pairs in order; what it appends to `out` are the pair's links.
template <class F>
void each_route(Cluster& c, F&& route) {
  auto n = static_cast<uint32_t>(c.size());
  c.route_begin.assign(1, 0);
  c.route_begin.reserve(size_t{n} * n + 1);
  c.route_links.clear();
  for (uint32_t i = 0; i < n; i++)
    for (uint32_t j = 0; j < n; j++) {
      if (i != j) route(i, j, c.route_links);
      c.route_begin.push_back(static_cast<uint32_t>(c.route_links.size()));
    }
}

void connect_nodes(Cluster& c) {
  size_t n = c.size();
  std::map<uint32_t, uint32_t> numbers;  // of the nodes that there are
  for (const Device& d : c.devices) numbers.emplace(d.node, 0);
  uint32_t nodes = 0;
  for (auto& [node, number] : numbers) number = nodes++;
  std::vector<uint32_t> node(n), rank(n), members(nodes, 0);
  for (size_t d = 0; d < n; d++) {
    node[d] = numbers[c.devices[d].node];
    rank[d] = members[node[d]]++;
  }
  std::vector<LevelLinks> inside;
  inside.reserve(nodes);
  for (uint32_t k = 0; k < nodes; k++) inside.emplace_back(c, c.network.inside, members[k], fmt::format("node{}/", k));
  const Network::Level& b = c.network.between;
  // A bus between nodes is each node's own wire, used in both directions.
  bool wire = b.sharing == Sharing::bus;
  auto wires = static_cast<uint32_t>(c.links.size());
  if (wire && nodes > 1)
    for (uint32_t k = 0; k < nodes; k++) c.links.push_back({fmt::format("net/{}", k), b.gb_per_s, to_ns(b.latency_us)});
  LevelLinks between(c, b, wire || nodes < 2 ? 0 : b.per_device ? n : nodes, "net/");
  each_route(c, [&](uint32_t i, uint32_t j, std::vector<uint32_t>& out) {
    uint32_t from = node[i], to = node[j];
    if (from == to) inside[from].route(rank[i], rank[j], out);
    else if (wire) out.insert(out.end(), {wires + from, wires + to});
    else if (b.per_device) between.route(i, j, out);
    else between.route(from, to, out);
  });
}

void find_route_costs(Cluster& c) {
  std::map<Cluster::RouteCost, uint32_t> known;
  c.route_costs.clear();
  c.route_cost_index.clear();
  for (uint32_t pair = 0; pair < c.size() * c.size(); pair++) {
    double slowest = std::numeric_limits<double>::infinity(), latency = 0;
    for (uint32_t l : c.route(pair)) {
      slowest = std::min(slowest, c.links[l].gb_per_s);
      latency += static_cast<double>(c.links[l].latency_ns);
    }
    Cluster::RouteCost cost{latency, 1 / slowest};
    auto [found, fresh] = known.try_emplace(cost, static_cast<uint32_t>(known.size()));
    if (fresh) c.route_costs.push_back(cost);
    c.route_cost_index.push_back(found->second);
  }
}

}  // namespace

void connect(Cluster& c) {
  size_t n = c.size();
  if (c.network.form == Network::Form::nodes) {
    c.links.clear();
    connect_nodes(c);
  } else if (c.network.form == Network::Form::matrices) {
    c.links.clear();
    each_route(c, [&](uint32_t i, uint32_t j, std::vector<uint32_t>& out) {
      out.push_back(static_cast<uint32_t>(c.links.size()));
      c.links.push_back({fmt::format("{}>{}", i, j), c.network.gb_per_s[i][j], to_ns(c.network.latency_us[i][j])});
    });
  } else {
    std::vector<const Network::Route*> given(n * n, nullptr);
    for (const Network::Route& r : c.network.routes) given[r.from * n + r.to] = &r;
    each_route(c, [&](uint32_t i, uint32_t j, std::vector<uint32_t>& out) {
      const Network::Route* r = given[i * n + j];
      if (!r)
        fail(ErrorCode::invalid_argument, "cluster file: network.routes: there is no route from device {} to {}", i, j);
      out.insert(out.end(), r->links.begin(), r->links.end());
    });
  }
  find_route_costs(c);
}

}  // namespace pando::plan
