#include "dist/measure.hpp"

#include <algorithm>
#include <chrono>
#include <map>

#include "base/cpu.hpp"
#include "graph/ops/ops.hpp"
#include "plan/search/baselines.hpp"
#include "plan/search/mcmc.hpp"

namespace pando::dist {
namespace {

double median(std::vector<double> v) {
  std::sort(v.begin(), v.end());
  size_t n = v.size();
  return n == 0 ? 0 : n % 2 ? v[n / 2] : 0.5 * (v[n / 2 - 1] + v[n / 2]);
}

}  // namespace

ReferenceKernel::ReferenceKernel() {
  constexpr int64_t rows = 256, width = 1024, wide = 4 << 20;
  Graph g;
  ValueId x = g.add_value("x", DType::f32, {rows, width}), y = g.add_value("y", DType::f32, {wide});
  g.inputs = {x, y};
  auto w = make_constant(DType::f32, {width, width}, std::vector<float>(width * width, 0.5f));
  MapAttrs relu;
  relu.program.code = {{MapOp::relu, 0}};
  g.outputs = {g.add(matmul_op, "product", {x, g.add_constant("w", w), none}, MatMulAttrs{}),
               g.add(map_op, "pass", {y}, relu)};
  program_ = bind(tile(g, Machine::host()));
  inputs_ = {std::vector<float>(rows * width, 0.25f), std::vector<float>(wide, 0.25f)};
  std::vector<const std::byte*> pointers;
  for (const auto& i : inputs_) pointers.push_back(reinterpret_cast<const std::byte*>(i.data()));
  storage_.prepare(*program_, pointers);
  scratch_ = AlignedBuffer(program_->scratch_bytes);
  ns();
}

double ReferenceKernel::ns() {
  double best = 1e18;
  for (int i = 0; i < 2; i++) {
    const auto begin = std::chrono::steady_clock::now();
    run_tiles(*program_, {0, program_->tiles}, storage_.bases(), scratch_.data());
    best = std::min(best, std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - begin).count());
  }
  return best;
}

plan::CostFile measure_costs(const std::vector<MeasuredPlan>& plans, int runs,
                             const std::function<bool(double)>& progress) {
  ReferenceKernel reference;
  plan::CostFile file;
  file.cpu = cpu_name();
  file.machine = Machine::host();
  struct Sum {
    plan::CostPoint point;
    double ns = 0;
    int64_t count = 0;
  };
  std::map<std::string, Sum> sums;
  std::vector<double> references;
  for (size_t k = 0; k < plans.size(); k++) {
    const plan::Space& space = *plans[k].space;
    PartProgram program = plans[k].emulator->compile(plans[k].configs);
    plans[k].emulator->run(program);
    std::vector<PartTimes> times;
    std::vector<double> speed;
    for (int r = 0; r < runs; r++) {
      if (progress &&
          !progress((static_cast<double>(k) + static_cast<double>(r) / runs) / static_cast<double>(plans.size())))
        fail(ErrorCode::cancelled, "measuring was cancelled");
      double before = reference.ns();
      times.push_back(plans[k].emulator->run(program));
      speed.push_back(0.5 * (before + reference.ns()));
    }
    references.insert(references.end(), speed.begin(), speed.end());
    for (uint32_t o = 0; o < space.ops().size(); o++) {
      const plan::PlannedOp& op = space.ops()[o];
      const plan::Piece& piece = space.stages()[op.stages[0]].pieces[0];
      const plan::Split& split = plans[k].configs[o].split;
      Extents grid = split.grid(op.domain.rank), at;
      at.rank = grid.rank;
      const std::string signature = plan::signature_of(piece.work);
      for (uint32_t i = 0; i < split.parts(); i++) {
        Box box = piece.box(split, at);
        Sum& sum = sums[signature + "|" + plan::box_key(box, plan::extents_of(op.domain))];
        if (sum.count == 0) sum.point = plan::describe_point(piece.work, box, file.machine);
        std::vector<double> ns;
        for (size_t r = 0; r < times.size(); r++) ns.push_back(static_cast<double>(times[r].ns[o][i]) / speed[r]);
        sum.ns += median(std::move(ns));
        sum.count++;
        for (int d = grid.rank - 1; d >= 0 && ++at[d] == grid[d]; d--) at[d] = 0;
      }
    }
  }
  file.reference_ns = median(references);
  for (auto& [key, sum] : sums) {
    sum.point.ns = sum.ns / static_cast<double>(sum.count) * file.reference_ns;
    sum.point.samples = sum.count;
    file.points.push_back(std::move(sum.point));
  }
  return file;
}

std::vector<std::vector<plan::Config>> sample_plans(const plan::Space& space, int random, int chain, uint64_t seed) {
  auto n = static_cast<uint32_t>(space.cluster().size());
  std::vector<std::vector<plan::Config>> out{plan::single_plan(space), plan::data_parallel_plan(space, std::min(2u, n)),
                                             plan::data_parallel_plan(space, std::max(1u, n / 2)),
                                             plan::data_parallel_plan(space, n), plan::expert_plan(space)};
  plan::Random numbers(seed);
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
