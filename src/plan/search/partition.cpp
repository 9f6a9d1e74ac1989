#include "plan/search/partition.hpp"

#include <algorithm>
#include <bit>
#include <map>

#include "graph/ops/ops.hpp"
#include "plan/formulas.hpp"
#include "plan/layers/stopwatch.hpp"
#include "plan/search/elimination.hpp"

namespace pando::plan {
namespace {

constexpr int max_rounds = 4;

int find_tag(const Domain& d, Tag tag) {
  for (int i = 0; i < d.rank; i++)
    if (d[i].tag == tag && d[i].extent > 1) return i;
  return -1;
}

// Types I, II, III as dimensions. Operators without weights have no type II; their outputs' features are the last
// dimension.
std::vector<int> types_of(const Space& space, uint32_t op) {
  const PlannedOp& planned = space.ops()[op];
  const Domain& d = planned.domain;
  std::vector<int> out;
  if (int sample = find_tag(d, Tag::sample); sample >= 0) out.push_back(sample);
  bool weighted = !planned.parameters.empty() && space.graph().nodes[planned.node].op->matrix;
  if (int reduced = find_tag(d, Tag::reduction); weighted && reduced >= 0) out.push_back(reduced);
  int features = find_tag(d, Tag::parameter), last = d.rank - 1;
  if (features < 0 && last > 0 && d[last].tag == Tag::attribute && d[last].extent > 1) features = last;
  if (features >= 0) out.push_back(features);
  return out;
}

class Partition {
 public:
  Partition(const Space& space, const CostModel& costs, const TaskOptions& tasks, const PartitionOptions& options,
            const SearchControl& control)
      : space_(space), costs_(costs), tasks_(tasks), options_(options), watch_(control) {
    auto devices = static_cast<uint32_t>(space.cluster().size());
    levels_ = static_cast<uint32_t>(std::bit_width(devices)) - 1;
    const auto& all = space.cluster().devices;
    solve_ =
        options.ratios && std::any_of(all.begin(), all.end(), [&](const Device& d) { return d.kind != all[0].kind; });
    for (uint32_t l = 0; l < levels_; l++) shares_.push_back(solve_ ? share_of_speed(l) : 0.5);
    for (uint32_t o = 0; o < space.ops().size(); o++) types_.push_back(types_of(space, o));
    for (uint32_t f = 0; f < space.flows().size(); f++) {
      uint32_t a = space.stages()[space.flows()[f].from].op, b = space.stages()[space.flows()[f].to].op;
      if (a != b) edges_[{std::min(a, b), std::max(a, b)}].push_back(f);
    }
  }

  PartitionPlan run() {
    PartitionPlan out;
    for (int round = 0; round < max_rounds; round++) {
      std::vector<std::vector<int>> before = dims_;
      dims_.assign(space_.ops().size(), {});
      exact_ = true;
      for (uint32_t l = 0; l < levels_; l++) choose_types();
      if (round > 0 && dims_ == before) break;
      out = {configs(levels_), shares_, formula_ns_, exact_};
      if (!solve_ || watch_.ended()) break;
      std::vector<double> old = shares_;
      solve_shares();
      std::vector<Config> now = configs(levels_);
      if (now.empty()) {
        shares_ = old;
        break;
      }
      out = {std::move(now), shares_, formula_ns_, exact_};
      if (watch_.ended()) break;
    }
    return out;
  }

 private:
  bool first_half(uint32_t device, uint32_t level) const { return (device >> (levels_ - 1 - level) & 1) == 0; }
  double share_of_speed(uint32_t level) const {
    double first = 0, all = 0;
    for (uint32_t d = 0; d < 1u << levels_; d++) {
      double speed = space_.cluster().kind_of(d).machine.peak_gflops;
      all += speed;
      if (first_half(d, level)) first += speed;
    }
    return first / all;
  }
  std::optional<Config> config(uint32_t op, const std::vector<int>& dims) const {
    return halved(space_, op, dims, shares_, levels_);
  }
  // Of all operators as they are cut by the first levels; empty: some piece is.
  std::vector<Config> configs(uint32_t levels) const {
    std::vector<Config> out;
    for (uint32_t o = 0; o < dims_.size(); o++) {
      std::vector<int> dims(dims_[o].begin(), dims_[o].begin() + levels);
      std::optional<Config> c = config(o, dims);
      if (!c) return {};
      out.push_back(std::move(*c));
    }
    return out;
  }

  // Decides one more level for all operators.
  void choose_types() {
    size_t count = space_.ops().size();
    std::vector<std::vector<Config>> choice(count);
    std::vector<std::vector<int>> dim(count);
    std::vector<int> states(count);
    for (uint32_t o = 0; o < count; o++) {
      std::vector<int> dims = dims_[o];
      dims.push_back(-1);
      for (int d : types_[o]) {
        dims.back() = d;
        if (std::optional<Config> c = config(o, dims)) {
          choice[o].push_back(std::move(*c));
          dim[o].push_back(d);
        }
      }
      if (choice[o].empty()) {
        dims.back() = -1;
        choice[o].push_back(*config(o, dims));
        dim[o].push_back(-1);
      }
      states[o] = static_cast<int>(choice[o].size());
    }
    std::vector<Config> start;
    start.reserve(count);
    for (const auto& c : choice) start.push_back(c[0]);
    TaskGraph graph(space_, costs_, tasks_, start);
    std::vector<Factor> factors;
    for (uint32_t o = 0; o < count; o++) {
      Factor f{{o}, {}};
      for (const Config& c : choice[o]) {
        graph.change({{o, c}});
        f.value.push_back(own_ns(graph, o));
      }
      graph.change({{o, choice[o][0]}});
      factors.push_back(std::move(f));
    }
    std::map<std::string, std::vector<double>> known;  // blocks repeat
    for (const auto& [ends, flows] : edges_) {
      auto [a, b] = ends;
      std::vector<double>& value = known[edge_key(a, b, flows)];
      if (value.empty()) {
        for (const Config& x : choice[a])
          for (const Config& y : choice[b]) {
            if (!watch_.ended()) graph.change({{a, x}, {b, y}});
            value.push_back(watch_.spend(1, 0) ? 0 : moved_ns(graph, flows));
          }
        graph.change({{a, choice[a][0]}, {b, choice[b][0]}});
      }
      factors.push_back({{a, b}, value});
    }
    Assignment best = minimize(states, std::move(factors));
    formula_ns_ = best.value;
    exact_ = exact_ && best.exact && !watch_.ended();
    for (uint32_t o = 0; o < count; o++) dims_[o].push_back(dim[o][static_cast<size_t>(best.state[o])]);
  }

  // The slower half's work, and the exchange of gradients.
  double own_ns(const TaskGraph& g, uint32_t op) const {
    const PlannedOp& planned = space_.ops()[op];
    double sum = 0;
    auto slowest = [](const Block& b) { return static_cast<double>(slowest_ns(b)); };
    for (uint32_t stage : planned.stages)
      if (stage != none) sum += slowest(g.blocks()[stage]);
    if (planned.sync == none || space_.syncs()[planned.sync][0] != op) return sum;
    size_t at = space_.stages().size() + space_.flows().size() + 2 * size_t{planned.sync};
    return sum + options_.exchange_share * slowest(g.blocks()[at]) + slowest(g.blocks()[at + 1]);
  }

  double moved_ns(const TaskGraph& g, const std::vector<uint32_t>& flows) {
    double sum = 0;
    for (uint32_t f : flows) sum += static_cast<double>(busiest_link_ns(g, f));
    return sum;
  }

  std::string edge_key(uint32_t a, uint32_t b, const std::vector<uint32_t>& flows) const {
    std::string key = fmt::format("{} {}|", space_.ops()[a].alike, space_.ops()[b].alike);
    for (uint32_t o : {a, b}) {
      for (int d : dims_[o]) key += fmt::format("{},", d);
      key += '|';
    }
    for (uint32_t f : flows) {
      const Flow& flow = space_.flows()[f];
      key += fmt::format("{}{}{}{}{} ", space_.stages()[flow.from].op == a,
                         static_cast<int>(space_.stages()[flow.from].role),
                         static_cast<int>(space_.stages()[flow.to].role), flow.from_piece, to_string(flow.shape));
    }
    return key;
  }

  // Per level: the share of the first half at which the busiest device of either half computes equally long.
  void solve_shares() {
    TaskGraph graph(space_, costs_, tasks_, configs(levels_));
    for (uint32_t l = 0; l < levels_; l++) {
      double low = 0, high = 1, best = shares_[l];
      for (int step = 0; step < 12 && !watch_.spend(1, 0); step++) {
        shares_[l] = (low + high) / 2;
        std::vector<int64_t> work(space_.cluster().size(), 0);
        bool empty = false;
        for (uint32_t o = 0; o < dims_.size() && !empty; o++) {
          std::optional<Config> c = config(o, dims_[o]);
          empty = !c;
          if (c) graph.add_compute_work(o, *c, 1, work);
        }
        int64_t first = 0, second = 0;
        for (uint32_t d = 0; d < 1u << levels_; d++) {
          int64_t& side = first_half(d, l) ? first : second;
          side = std::max(side, work[d]);
        }
        if (empty) {  // too uneven for some operator
          (shares_[l] < 0.5 ? low : high) = shares_[l];
          continue;
        }
        best = shares_[l];
        (first < second ? low : high) = shares_[l];
      }
      shares_[l] = best;
    }
  }

  const Space& space_;
  const CostModel& costs_;
  const TaskOptions& tasks_;
  const PartitionOptions& options_;
  Stopwatch watch_;
  uint32_t levels_ = 0;
  std::vector<double> shares_;
  std::vector<std::vector<int>> types_, dims_;  // per operator: dimensions to choose from; those chosen, by level
  std::map<std::pair<uint32_t, uint32_t>, std::vector<uint32_t>> edges_;  // operators that exchange values: flows
  double formula_ns_ = 0;
  bool solve_ = false, exact_ = true;
};

}  // namespace

std::optional<Config> halved(const Space& space, uint32_t op, const std::vector<int>& dims,
                             const std::vector<double>& shares, uint32_t levels) {
  const Domain& domain = space.ops()[op].domain;
  Config c;
  std::vector<std::vector<double>> ratios(max_rank, std::vector<double>{1});
  bool equal = true;
  for (size_t l = 0; l < dims.size(); l++) {
    if (dims[l] < 0) continue;
    auto d = static_cast<size_t>(dims[l]);
    c.split.degree[d] *= 2;
    equal = equal && shares[l] == 0.5;
    std::vector<double> pieces;
    for (double r : ratios[d])
      for (double half : {shares[l], 1 - shares[l]}) pieces.push_back(r * half);
    ratios[d] = std::move(pieces);
  }
  if (!equal) {
    for (auto& r : ratios)
      if (r.size() == 1) r.clear();
    c.split.ratios = std::move(ratios);
  }
  for (int d = 0; d < domain.rank; d++)
    for (int64_t at = 0, n = c.split.degree[static_cast<size_t>(d)]; n > 1 && at < n; at++)
      if (n > domain[d].extent || c.split.piece(d, domain[d].extent, at).empty()) return std::nullopt;
  // A part's coordinate in a dimension holds the halves of the levels that cut it, the first level highest.
  for_each_part(c.split, domain.rank, [&](uint32_t, Extents at) {
    uint32_t device = 0;
    for (size_t l = dims.size(); l-- > 0;) {
      if (dims[l] < 0) continue;
      int64_t& bits = at[dims[l]];
      device |= static_cast<uint32_t>(bits & 1) << (levels - 1 - static_cast<uint32_t>(l));
      bits >>= 1;
    }
    c.devices.push_back(device);
  });
  return c;
}

PartitionPlan partition(const Space& space, const CostModel& costs, const TaskOptions& tasks,
                        const PartitionOptions& options, const SearchControl& control) {
  return Partition(space, costs, tasks, options, control).run();
}

}  // namespace pando::plan
