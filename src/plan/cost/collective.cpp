#include "plan/cost/collective.hpp"

#include <algorithm>
#include <map>

#include "plan/cost/cost_model.hpp"

namespace pando::plan {
namespace {

// Rings that run at the same time, each `share` of the bytes: links that several of them use are shared.
struct Phase {
  std::map<uint32_t, double> load;  // ns per byte of the whole, by link
  int64_t latency = 0;              // of the slowest hop
  size_t longest = 1;

  void ring(const Cluster& c, const std::vector<uint32_t>& devices, double share) {
    size_t k = devices.size();
    longest = std::max(longest, k);
    if (k < 2) return;
    for (size_t i = 0; i < k; i++) {
      uint32_t from = devices[i], to = devices[(i + 1) % k];
      latency = std::max(latency, static_cast<int64_t>(c.route_cost(from, to).latency_ns));
      for (uint32_t l : c.route(from, to))
        load[l] += share * static_cast<double>(k - 1) / static_cast<double>(k) / c.links[l].gb_per_s;
    }
  }
  // Adds `passes` (reduce-scatter, all-gather) of this phase.
  void add_to(CollectiveCost& cost, int passes) const {
    double worst = 0;
    for (const auto& [link, ns] : load) {
      worst = std::max(worst, ns);
      cost.links.push_back(link);
    }
    cost.ns_per_byte += passes * worst;
    cost.fixed_ns += passes * static_cast<int64_t>(longest - 1) * latency;
  }
};

CollectiveCost finished(CollectiveCost cost) {
  std::sort(cost.links.begin(), cost.links.end());
  cost.links.erase(std::unique(cost.links.begin(), cost.links.end()), cost.links.end());
  return cost;
}

CollectiveCost ring(const Cluster& c, const std::vector<uint32_t>& devices) {
  CollectiveCost cost;
  Phase phase;
  phase.ring(c, devices, 1);
  phase.add_to(cost, 2);
  return finished(std::move(cost));
}

bool by_node(const Cluster& c, const std::vector<uint32_t>& devices, std::vector<std::vector<uint32_t>>& nodes) {
  std::map<uint32_t, std::vector<uint32_t>> members;
  for (uint32_t d : devices) members[c.devices[d].node].push_back(d);
  for (auto& [node, list] : members) nodes.push_back(std::move(list));
  return nodes.size() > 1 && nodes[0].size() > 1 &&
         std::all_of(nodes.begin(), nodes.end(), [&](const auto& n) { return n.size() == nodes[0].size(); });
}

}  // namespace

int64_t CollectiveCost::ns(int64_t bytes) const {
  return to_task_ns(static_cast<double>(fixed_ns) + static_cast<double>(bytes) * ns_per_byte);
}

CollectiveCost collective_cost(const Cluster& c, const std::vector<uint32_t>& devices, Collective kind, int64_t bytes) {
  std::vector<std::vector<uint32_t>> nodes;
  CollectiveCost flat = ring(c, devices);
  flat.members = static_cast<uint32_t>(devices.size());
  if (kind == Collective::ring || !by_node(c, devices, nodes)) return flat;
  CollectiveCost cost;
  Phase inside, between;
  for (const auto& n : nodes) inside.ring(c, n, 1);
  size_t per_node = nodes[0].size();
  for (size_t i = 0; i < per_node; i++) {
    std::vector<uint32_t> same_rank;
    for (const auto& n : nodes) same_rank.push_back(n[i]);
    between.ring(c, same_rank, 1 / static_cast<double>(per_node));
  }
  inside.add_to(cost, 2);
  between.add_to(cost, 2);
  cost = finished(std::move(cost));
  cost.members = flat.members;
  return kind == Collective::hierarchical || cost.ns(bytes) <= flat.ns(bytes) ? cost : flat;
}

}  // namespace pando::plan
