#include "dist/measure.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "base/cpu.hpp"
#include "base/median.hpp"
#include "plan/search/baselines.hpp"
#include "plan/search/mcmc.hpp"

namespace pando::dist {
namespace {

// The mean without the lowest and highest quarter.
double middle_mean(std::vector<double> v) {
  std::sort(v.begin(), v.end());
  const size_t skip = v.size() / 4;
  return std::accumulate(v.begin() + static_cast<long>(skip), v.end() - static_cast<long>(skip), 0.0) /
         static_cast<double>(v.size() - 2 * skip);
}

}  // namespace

PartTimes median_times(const std::vector<PartTimes>& runs) {
  PartTimes out = runs.front();
  for (size_t o = 0; o < out.ns.size(); o++)
    for (size_t i = 0; i < out.ns[o].size(); i++) {
      std::vector<int64_t> ns;
      ns.reserve(runs.size());
      for (const PartTimes& r : runs) ns.push_back(r.ns[o][i]);
      out.ns[o][i] = median(std::move(ns));
    }
  return out;
}

plan::CostFile measure_costs(const std::vector<MeasuredPlan>& plans, int runs, double reference_ns,
                             const std::function<bool(double)>& progress) {
  ReferenceKernel reference;
  plan::CostFile file;
  file.cpu = cpu_name();
  file.machine = Machine::host();
  file.reference_ns = reference_ns;
  struct Found {
    plan::CostPoint point;
    std::vector<double> ns;
  };
  std::map<std::string, Found> found;
  for (size_t k = 0; k < plans.size(); k++) {
    const plan::Space& space = *plans[k].space;
    PartProgram program = plans[k].emulator->compile(plans[k].configs);
    PartTimes first = plans[k].emulator->run(program, {false, &reference, 1});
    if (!(file.reference_ns > 0)) file.reference_ns = first.reference_ns;
    std::vector<PartTimes> all;
    for (int r = 0; r < runs; r++) {
      double done = (static_cast<double>(k) + static_cast<double>(r) / runs) / static_cast<double>(plans.size());
      if (progress && !progress(done)) fail(ErrorCode::cancelled, "measuring was cancelled");
      all.push_back(plans[k].emulator->run(program, {false, &reference, file.reference_ns}));
    }
    PartTimes times = median_times(all);
    for (uint32_t o = 0; o < space.ops().size(); o++) {
      const plan::PlannedOp& op = space.ops()[o];
      const plan::Piece& piece = space.stages()[op.stages[0]].pieces[0];
      const plan::Split& split = plans[k].configs[o].split;
      Extents grid = split.grid(op.domain.rank), at;
      at.rank = grid.rank;
      const std::string signature = plan::signature_of(piece.work);
      for (uint32_t i = 0; i < split.parts(); i++) {
        Box box = piece.box(split, at);
        Found& here = found[signature + "|" + plan::box_key(box, plan::extents_of(op.domain))];
        if (here.ns.empty()) here.point = plan::describe_point(piece.work, box, file.machine);
        here.ns.push_back(static_cast<double>(times.ns[o][i]));
        for (int d = grid.rank - 1; d >= 0 && ++at[d] == grid[d]; d--) at[d] = 0;
      }
    }
  }
  for (auto& [key, here] : found) {
    here.point.ns = std::round(middle_mean(here.ns));
    here.point.samples = static_cast<int64_t>(here.ns.size());
    file.points.push_back(std::move(here.point));
  }
  return file;
}

std::vector<std::vector<plan::Config>> sample_plans(const plan::Space& space, int random, int chain, uint64_t seed) {
  auto n = static_cast<uint32_t>(space.cluster().size());
  std::vector<std::vector<plan::Config>> out{plan::single_plan(space), plan::data_parallel_plan(space, std::min(2u, n)),
                                             plan::data_parallel_plan(space, std::max(1u, n / 2)),
                                             plan::data_parallel_plan(space, n), plan::expert_plan(space)};
  Random numbers(seed);
  for (int i = 0; i < random; i++) out.push_back(plan::random_plan(space, numbers));
  plan::Roofline costs;
  plan::ChainOptions options;
  options.seed = seed;
  options.memory_limit = -1;
  plan::Chain steps(space, costs, {}, out.back(), options);
  constexpr int between = 200;
  for (int i = 0; i < chain; i++) {
    for (int k = 0; k < between; k++) steps.step();
    out.push_back(steps.graph().configs());
  }
  return out;
}

}  // namespace pando::dist
