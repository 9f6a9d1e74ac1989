#include "dist/measure.hpp"

#include "networks.hpp"
#include "plan/cost/measured.hpp"
#include "plan/simulate/simulator.hpp"

namespace pando::dist {
namespace {

using plan::Space;

plan::Cluster unequal(uint32_t devices) {
  plan::Cluster c = plan::shipped_cluster("host");
  c.devices.assign(devices, {0, 0});
  c.kinds.push_back(c.kinds[0]);
  c.kinds[1].name = "slow";
  c.kinds[1].machine.peak_gflops *= 0.37;
  for (uint32_t d = 0; d < devices; d += 3) c.devices[d].kind = 1;
  connect(c);
  return c;
}

// The times of all parts as the cost file has them, found without the cost model.
PartTimes times_of(const Space& space, const std::vector<plan::Config>& plan, const plan::CostFile& file) {
  PartTimes times;
  for (uint32_t o = 0; o < space.ops().size(); o++) {
    const plan::PlannedOp& op = space.ops()[o];
    const plan::Piece& piece = space.stages()[op.stages[0]].pieces[0];
    Extents at;
    at.rank = op.domain.rank;
    times.ns.emplace_back();
    for (uint32_t i = 0; i < plan[o].split.parts(); i++) {
      Box box = piece.box(plan[o].split, at);
      for (const plan::CostPoint& p : file.points) {
        bool same = p.op == plan::signature_of(piece.work) && p.box.rank == box.rank;
        for (int d = 0; same && d < box.rank; d++)
          same = p.box[d].size() == box[d].size() && (p.box[d].lo == 0) == (box[d].lo == 0) &&
                 (p.box[d].hi == p.domain[d]) == (box[d].hi == p.domain[d]);
        if (!same) continue;
        times.ns.back().push_back(static_cast<int64_t>(p.ns));
        break;
      }
      for (int d = at.rank - 1; d >= 0 && ++at[d] == plan[o].split.degree[static_cast<size_t>(d)]; d--) at[d] = 0;
    }
    EXPECT_EQ(times.ns.back().size(), plan[o].split.parts());
  }
  return times;
}

TEST(Measure, EmulationWithTheFilesTimesIsTheSimulation) {
  Space space(optimize(small_cnn(4)), unequal(5));
  Inputs inputs(space.graph());
  Emulator emulator(space, inputs.pointers);
  std::mt19937 random(3);
  std::vector<MeasuredPlan> plans;
  for (auto& p : sample_plans(space, 2, 2, 1)) plans.push_back({&space, &emulator, p});
  for (int i = 0; i < 3; i++) plans.push_back({&space, &emulator, wild_plan(space, random, true)});
  plan::CostFile file = plan::read_cost_file(plan::write_cost_file(measure_costs(plans, 1)));
  EXPECT_GT(file.reference_ns, 0);
  plan::MeasuredCosts costs(file);
  for (const MeasuredPlan& p : plans) {
    plan::TaskGraph graph(space, costs, {}, p.configs);
    plan::Simulator simulator(graph);
    simulator.full();
    const plan::Timeline& t = simulator.timeline();
    Clock c = emulated_clock(graph, times_of(space, p.configs, file));
    ASSERT_EQ(c.makespan, t.makespan);
    for (uint32_t b = 0; b < graph.blocks().size(); b++)
      for (uint32_t i = 0; i < graph.blocks()[b].size(); i++) {
        ASSERT_EQ(c.start[b][i], t.times[t.base[b] + i].start);
        ASSERT_EQ(c.end[b][i], t.times[t.base[b] + i].end);
      }
  }
  EXPECT_TRUE(costs.missing().empty());
}

TEST(Wall, ThreadsGiveTheBitsOfTheUnsplitRun) {
  Space space(optimize(small_cnn(4)), plan::shipped_cluster("p100x3"));
  Inputs inputs(space.graph());
  auto expected = run_unsplit(space, inputs.pointers);
  Emulator emulator(space, inputs.pointers);
  plan::Roofline costs;
  for (unsigned seed = 0; seed < 4; seed++) {
    std::mt19937 random(seed);
    std::vector<plan::Config> plan = wild_plan(space, random);
    PartProgram program = emulator.compile(plan);
    std::vector<std::vector<int64_t>> start;
    Clock predicted = wall_clock(plan::TaskGraph(space, costs, {}, plan), start);
    EXPECT_GT(predicted.makespan, 0);
    emulator.run(program, {.poison = true});
    EXPECT_GT(emulator.run_wall(program, start), 0);
    EXPECT_EQ(difference(program, emulator, expected), 0);
  }
}

TEST(Wall, CopiesTakeTheReadersTime) {
  plan::Cluster cluster = plan::shipped_cluster("host");
  cluster.devices.assign(2, {0, 0});
  cluster.network.inside = {4, 0, plan::Sharing::port, false};
  connect(cluster);
  Space space(plan::dense_chain(2, 8, 16, false), cluster);
  std::vector<plan::Config> plan = plan::single_plan(space);
  plan[1].devices = {1};
  plan::Roofline costs;
  plan::TaskGraph graph(space, costs, {}, plan);
  std::vector<std::vector<int64_t>> start;
  Clock c = wall_clock(graph, start);
  int64_t copy = 8 * 16 * 4 / 4;  // ns at 4 GB/s
  EXPECT_EQ(c.makespan, graph.blocks()[0].tasks[0].ns + graph.blocks()[1].tasks[0].ns + copy);
  EXPECT_EQ(start[1][0], graph.blocks()[0].tasks[0].ns);
}

}  // namespace
}  // namespace pando::dist
