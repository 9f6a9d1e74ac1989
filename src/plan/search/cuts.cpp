#include "plan/search/cuts.hpp"

#include <algorithm>

#include "plan/search/baselines.hpp"

namespace pando::plan {
namespace {

constexpr size_t max_points = 24;

// The dimension that cuts the largest weights, where those are larger than what the operator makes; else -1.
int weight_dimension(const Space& space, uint32_t op) {
  const PlannedOp& planned = space.ops()[op];
  NodeView view = space.view(planned.node);
  if (planned.parameters.empty()) return -1;
  const Parameter& p = planned.parameters[0];
  if (element_count(space.graph().shape(p.value)) <= element_count(view.out_shape())) return -1;
  int found = -1;
  for (int i = 0; i < p.rule.rank; i++) {
    int d = p.rule.axis[static_cast<size_t>(i)].dim;
    if (d < 0 || (planned.domain[d].tag != Tag::parameter && planned.domain[d].tag != Tag::attribute)) continue;
    if (found < 0 || planned.domain[d].extent > planned.domain[found].extent) found = d;
  }
  return found;
}

// Borders between operators that do not look alike (cells of one layer stay together): all of them, or those nearest to
// equal steps of the arithmetic where there are very many.
std::vector<uint32_t> cut_points(const Space& space, const CostModel& costs) {
  const auto& ops = space.ops();
  std::vector<double> before;  // arithmetic in front of a border
  std::vector<uint32_t> borders, points;
  double sum = 0;
  for (uint32_t o = 0; o < ops.size(); o++) {
    if (o > 0 && ops[o].alike != ops[o - 1].alike) {
      borders.push_back(o);
      before.push_back(sum);
    }
    const Piece& piece = space.stages()[ops[o].stages[0]].pieces[0];
    sum += static_cast<double>(costs.compute_ns(piece.work, whole(piece.domain), space.cluster().kind_of(0)));
  }
  if (borders.size() <= max_points) return borders;
  for (size_t k = 1; k <= max_points; k++) {
    double at = sum * static_cast<double>(k) / (max_points + 1);
    size_t i = static_cast<size_t>(std::lower_bound(before.begin(), before.end(), at) - before.begin());
    if (i == before.size() || (i > 0 && at - before[i - 1] < before[i] - at)) i--;
    if (points.empty() || points.back() != borders[i]) points.push_back(borders[i]);
  }
  return points;
}

}  // namespace

std::vector<std::vector<Config>> best_cuts(const Space& space, const CostModel& costs, const TaskOptions& tasks,
                                           size_t count, const std::function<bool()>& go_on) {
  auto n = static_cast<uint32_t>(space.cluster().size()), ops = static_cast<uint32_t>(space.ops().size());
  if (n < 2) return {};
  std::vector<uint32_t> points = cut_points(space, costs);
  std::vector<int> sample, weights;
  for (uint32_t o = 0; o < ops; o++) {
    sample.push_back(find_dimension(space.ops()[o].domain, Tag::sample));
    weights.push_back(weight_dimension(space, o));
  }
  uint32_t half = n / 2, quarter = std::max(n / 4, 1u), most = n - quarter;
  const std::pair<uint32_t, uint32_t> shares[] = {{half, n - half}, {most, quarter}, {quarter, most}, {n, quarter},
                                                  {n, half},        {quarter, n},    {half, n},       {n, n}};
  TaskGraph graph(space, costs, tasks, data_parallel_plan(space, n));
  std::vector<std::pair<int64_t, std::vector<Config>>> best;
  std::vector<std::pair<uint32_t, Config>> change(ops);
  for (uint32_t at : points)
    for (const auto& [front, back] : shares)
      for (bool features : {false, true}) {
        if (!go_on()) break;
        for (uint32_t o = 0; o < ops; o++) {
          int dim = features && weights[o] >= 0 ? weights[o] : sample[o];
          change[o] = {o, o < at ? split_along(space, o, dim, 0, front) : split_along(space, o, dim, n - back, back)};
        }
        graph.change(change);
        Simulator simulator(graph);
        simulator.full();
        int64_t ns = simulator.timeline().makespan;
        if (best.size() == count && ns >= best.back().first) continue;
        best.emplace_back(ns, graph.configs());
        std::stable_sort(best.begin(), best.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
        if (best.size() > count) best.pop_back();
      }
  std::vector<std::vector<Config>> plans;
  for (auto& [ns, configs] : best) plans.push_back(std::move(configs));
  return plans;
}

}  // namespace pando::plan
