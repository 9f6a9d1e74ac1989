#include "plan/search/baselines.hpp"

#include <algorithm>
#include <numeric>
#include <set>

namespace pando::plan {
namespace {

bool is_dense(const Space& space, uint32_t op) {
  NodeView v = space.view(space.ops()[op].node);
  return v.node.op->matrix && v.graph.is_constant(v.node.inputs[1]) && v.out_shape().size() == 2;
}

double speed(const Space& space, uint32_t device) { return space.cluster().kind_of(device).machine.peak_gflops; }

}  // namespace

int find_dimension(const Domain& d, Tag tag) {
  for (int i = 0; i < d.rank; i++)
    if (d[i].tag == tag && d[i].extent > 1) return i;
  return -1;
}

Config split_along(const Space& space, uint32_t op, int dim, uint32_t first, uint32_t devices) {
  Config c;
  const Domain& domain = space.ops()[op].domain;
  uint32_t parts = dim < 0 ? 1 : static_cast<uint32_t>(std::min<int64_t>(domain[dim].extent, devices));
  if (dim >= 0) c.split.degree[static_cast<size_t>(dim)] = static_cast<uint16_t>(parts);
  for (uint32_t i = 0; i < parts; i++) c.devices.push_back(first + i * devices / parts);
  if (dim >= 0) balance(c, space, op, dim);
  return c;
}

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
    plan.push_back(split_along(space, o, find_dimension(space.ops()[o].domain, Tag::sample), 0, devices));
  return plan;
}

namespace {

// How many recurrent layers a value has passed before an operator; empty when there are none. A layer is a set of
// weights: its cells count once.
std::vector<uint32_t> recurrent_depths(const Space& space) {
  const auto& ops = space.ops();
  std::vector<ValueId> layer(ops.size(), none);
  for (uint32_t o = 0; o < ops.size(); o++)
    if (space.view(ops[o].node).node.op->carries && !ops[o].parameters.empty()) layer[o] = ops[o].parameters[0].value;
  if (std::all_of(layer.begin(), layer.end(), [](ValueId v) { return v == none; })) return {};
  std::vector<std::vector<uint32_t>> before(ops.size());
  for (const Flow& f : space.flows())
    if (space.stages()[f.from].role == Role::forward && space.stages()[f.to].role == Role::forward)
      before[space.stages()[f.to].op].push_back(space.stages()[f.from].op);
  std::vector<uint32_t> depth(ops.size(), 0);
  for (uint32_t o = 0; o < ops.size(); o++)  // producers stand before their readers
    for (uint32_t p : before[o]) depth[o] = std::max(depth[o], depth[p] + (layer[p] != none && layer[p] != layer[o]));
  return depth;
}

// Every node has all layers, one device each in turn; the nodes share the samples.
std::vector<Config> by_layer_and_sample(const Space& space, const std::vector<uint32_t>& depths) {
  std::vector<std::vector<uint32_t>> nodes;
  for (uint32_t d = 0; d < space.cluster().size(); d++) {
    nodes.resize(std::max<size_t>(nodes.size(), space.cluster().devices[d].node + 1));
    nodes[space.cluster().devices[d].node].push_back(d);
  }
  std::erase_if(nodes, [](const auto& members) { return members.empty(); });
  std::vector<Config> plan;
  for (uint32_t o = 0; o < space.ops().size(); o++) {
    const Domain& domain = space.ops()[o].domain;
    int sample = find_dimension(domain, Tag::sample);
    size_t parts = sample < 0 ? 1 : std::min(nodes.size(), static_cast<size_t>(domain[sample].extent));
    Config c;
    if (sample >= 0) c.split.degree[static_cast<size_t>(sample)] = static_cast<uint16_t>(parts);
    for (size_t i = 0; i < parts; i++) {
      const std::vector<uint32_t>& members = nodes[i * nodes.size() / parts];
      c.devices.push_back(members[depths[o] % members.size()]);
    }
    if (sample >= 0) balance(c, space, o, sample);
    plan.push_back(std::move(c));
  }
  return plan;
}

}  // namespace

std::vector<Config> expert_plan(const Space& space) {
  if (std::vector<uint32_t> depths = recurrent_depths(space); !depths.empty())
    return by_layer_and_sample(space, depths);
  auto n = static_cast<uint32_t>(space.cluster().size());
  std::vector<Config> plan = data_parallel_plan(space, n);
  for (uint32_t o = 0; o < space.ops().size(); o++) {
    int parameter = find_dimension(space.ops()[o].domain, Tag::parameter);
    if (is_dense(space, o) && parameter >= 0) plan[o] = split_along(space, o, parameter, 0, n);
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
