#include "plan/search/baselines.hpp"

#include <algorithm>
#include <numeric>
#include <set>

#include "graph/ops/ops.hpp"

namespace pando::plan {
namespace {

int find_tag(const Domain& d, Tag tag) {
  for (int i = 0; i < d.rank; i++)
    if (d[i].tag == tag && d[i].extent > 1) return i;
  return -1;
}

Config split_along(const Space& space, uint32_t op, int dim, uint32_t devices) {
  Config c;
  const Domain& domain = space.ops()[op].domain;
  uint32_t parts = dim < 0 ? 1 : static_cast<uint32_t>(std::min<int64_t>(domain[dim].extent, devices));
  if (dim >= 0) c.split.degree[static_cast<size_t>(dim)] = static_cast<uint16_t>(parts);
  for (uint32_t i = 0; i < parts; i++) c.devices.push_back(i * devices / parts);
  if (dim >= 0) balance(c, space, op, dim);
  return c;
}

bool is_dense(const Space& space, uint32_t op) {
  NodeView v = space.view(space.ops()[op].node);
  return v.node.op == &matmul_op && v.graph.is_constant(v.node.inputs[1]) && v.out_shape().size() == 2;
}

double speed(const Space& space, uint32_t device) { return space.cluster().kind_of(device).machine.peak_gflops; }

}  // namespace

void balance(Config& c, const Space& space, uint32_t op, int dim) {
  const Cluster& cluster = space.cluster();
  bool equal = std::all_of(c.devices.begin(), c.devices.end(),
                           [&](uint32_t d) { return cluster.devices[d].kind == cluster.devices[c.devices[0]].kind; });
  if (equal) return;
  c.split.ratios.assign(max_rank, {});
  for (uint32_t d : c.devices) c.split.ratios[static_cast<size_t>(dim)].push_back(speed(space, d));
  int64_t extent = space.ops()[op].domain[dim].extent;
  for (size_t i = 0; i < c.devices.size(); i++)
    if (c.split.piece(dim, extent, static_cast<int64_t>(i)).empty()) return c.split.ratios.clear();
}

std::vector<uint32_t> device_range(uint32_t first, uint32_t parts) {
  std::vector<uint32_t> d(parts);
  std::iota(d.begin(), d.end(), first);
  return d;
}

std::vector<Config> single_plan(const Space& space) {
  uint32_t best = 0;
  for (uint32_t d = 1; d < space.cluster().size(); d++)
    if (speed(space, d) > speed(space, best)) best = d;
  Config c;
  c.devices = {best};
  return std::vector<Config>(space.ops().size(), c);
}

std::vector<Config> data_parallel_plan(const Space& space, uint32_t devices) {
  std::vector<Config> plan;
  for (uint32_t o = 0; o < space.ops().size(); o++)
    plan.push_back(split_along(space, o, find_tag(space.ops()[o].domain, Tag::sample), devices));
  return plan;
}

std::vector<Config> expert_plan(const Space& space) {
  auto n = static_cast<uint32_t>(space.cluster().size());
  std::vector<Config> plan = data_parallel_plan(space, n);
  uint32_t layer = 0;
  for (uint32_t o = 0; o < space.ops().size(); o++) {
    const Domain& d = space.ops()[o].domain;
    int parameter = find_tag(d, Tag::parameter);
    if (is_dense(space, o) && parameter >= 0) plan[o] = split_along(space, o, parameter, n);
    // A recurrent layer: nodes take turns, the node's devices share the samples.
    int sample = find_tag(d, Tag::sample);
    if (find_tag(d, Tag::sequential) < 0 || space.ops()[o].parameters.empty()) continue;
    uint32_t node = space.cluster().devices[layer % n].node;
    std::vector<uint32_t> members;
    uint32_t nodes = 0;
    for (const Device& x : space.cluster().devices) nodes = std::max(nodes, x.node + 1);
    node = layer++ % nodes;
    for (uint32_t x = 0; x < n; x++)
      if (space.cluster().devices[x].node == node) members.push_back(x);
    if (members.empty()) continue;
    plan[o] = split_along(space, o, sample, static_cast<uint32_t>(members.size()));
    for (uint32_t& x : plan[o].devices) x = members[x];
  }
  return plan;
}

std::vector<Config> random_plan(const Space& space, Random& random) {
  std::vector<Config> plan;
  auto n = static_cast<uint32_t>(space.cluster().size());
  for (uint32_t o = 0; o < space.ops().size(); o++) {
    std::vector<Split> splits = candidate_splits(space, o);
    Config c;
    c.split = splits[random.below(splits.size())];
    uint32_t parts = c.split.parts();
    c.devices = device_range(static_cast<uint32_t>(random.below(n / parts)) * parts, parts);
    plan.push_back(std::move(c));
  }
  return plan;
}

std::vector<Split> candidate_splits(const Space& space, uint32_t op) {
  const Domain& domain = space.ops()[op].domain;
  auto n = static_cast<uint32_t>(space.cluster().size());
  std::set<uint32_t> degrees{1};
  for (uint32_t d = 2; d <= n; d *= 2) degrees.insert(d);
  for (uint32_t d = 2; d <= n; d++)
    if (n % d == 0) degrees.insert(d);
  std::vector<Split> out{Split{}};
  for (int i = 0; i < domain.rank; i++) {
    Tag tag = domain[i].tag;
    if (tag == Tag::whole || tag == Tag::reduction) continue;
    size_t known = out.size();
    for (uint32_t degree : degrees) {
      if (degree == 1 || degree > domain[i].extent) continue;
      for (size_t k = 0; k < known; k++) {
        if (out[k].parts() * degree > n) continue;
        Split s = out[k];
        s.degree[static_cast<size_t>(i)] = static_cast<uint16_t>(degree);
        out.push_back(std::move(s));
      }
    }
  }
  return out;
}

}  // namespace pando::plan
