#include "plan/layers/memory_costs.hpp"

#include <algorithm>

namespace pando::plan {

SymmetricCosts::SymmetricCosts(const MemoryProblem& p) : cluster_(p.cluster), host_bytes_per_s_(p.host_gb_per_s * 1e9) {
  flops_ = memory_bytes_per_s_ = std::numeric_limits<double>::infinity();
  for (const Device& d : p.cluster.devices) {
    const DeviceKind& kind = p.cluster.kinds[d.kind];
    double gflops = p.weight_bytes <= 2 && kind.peak_gflops_16 > 0 ? kind.peak_gflops_16 : kind.machine.peak_gflops;
    flops_ = std::min(flops_, gflops * 1e9 * kind.matrix_efficiency);
    memory_bytes_per_s_ = std::min(memory_bytes_per_s_, kind.machine.memory_gb_per_s * 1e9 * kind.vector_efficiency);
  }
}

double SymmetricCosts::compute_seconds(double flops, double bytes) const {
  return std::max(flops / flops_, bytes / memory_bytes_per_s_);
}

SymmetricCosts::Rate SymmetricCosts::rate(int64_t members, int64_t stride, int64_t bytes) const {
  auto devices = static_cast<uint32_t>(cluster_.size());
  std::map<uint32_t, int> users;
  std::vector<CollectiveCost> groups;
  for (uint32_t first = 0; first < devices; first++) {
    if (first / stride % members != 0) continue;
    std::vector<uint32_t> group;
    for (int64_t i = 0; i < members; i++) group.push_back(first + static_cast<uint32_t>(i * stride));
    groups.push_back(collective_cost(cluster_, group, Collective::automatic, bytes));
    for (uint32_t l : groups.back().links) users[l]++;
  }
  Rate slowest;
  for (const CollectiveCost& g : groups) {
    int sharing = 1;
    for (uint32_t l : g.links) sharing = std::max(sharing, users[l]);
    slowest.fixed_s = std::max(slowest.fixed_s, static_cast<double>(g.fixed_ns) * 0.5e-9);
    slowest.s_per_byte = std::max(slowest.s_per_byte, g.ns_per_byte * 0.5e-9 * sharing);
  }
  return slowest;
}

double SymmetricCosts::gather_seconds(int64_t members, int64_t stride, double bytes) const {
  if (members < 2 || bytes <= 0) return 0;
  auto whole = static_cast<int64_t>(std::min(bytes, 1e18));
  auto [at, fresh] = known_.try_emplace({members, stride, whole});
  if (fresh) at->second = rate(members, stride, whole);
  const Rate& r = at->second;
  return r.fixed_s + r.s_per_byte * bytes;
}

}  // namespace pando::plan
