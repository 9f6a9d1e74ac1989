#include "dist/emulator.hpp"

#include "networks.hpp"
#include "plan/simulate/simulator.hpp"

namespace pando::dist {
namespace {

using plan::Config;
using plan::Space;

plan::Cluster machine(uint32_t devices) { return plan::shipped_cluster("p100x" + std::to_string(devices)); }

double run_and_compare(const Space& space, const std::vector<Config>& plan, const Inputs& inputs,
                       const std::vector<std::vector<std::byte>>& expected) {
  Emulator emulator(space, inputs.pointers);
  PartProgram program = emulator.compile(plan);
  emulator.run(program, {.poison = true});
  return difference(program, emulator, expected);
}

class Networks : public ::testing::TestWithParam<int> {
 protected:
  static Graph make(int which) {
    return optimize(which == 0 ? small_cnn(4) : which == 1 ? small_cnn(1) : small_attention(3));
  }
};

TEST_P(Networks, BaselinesHaveTheBitsOfTheUnsplitRun) {
  Space space(make(GetParam()), machine(4));
  Inputs inputs(space.graph());
  auto expected = run_unsplit(space, inputs.pointers);
  EXPECT_EQ(run_and_compare(space, plan::single_plan(space), inputs, expected), 0);
  EXPECT_EQ(run_and_compare(space, plan::data_parallel_plan(space, 4), inputs, expected), 0);
  EXPECT_EQ(run_and_compare(space, plan::expert_plan(space), inputs, expected), 0);
}

TEST_P(Networks, RandomPlansHaveTheBitsOfTheUnsplitRun) {
  Space space(make(GetParam()), machine(5));
  Inputs inputs(space.graph());
  auto expected = run_unsplit(space, inputs.pointers);
  for (unsigned seed = 0; seed < 20; seed++) {
    std::mt19937 random(seed);
    EXPECT_EQ(run_and_compare(space, wild_plan(space, random), inputs, expected), 0) << "seed " << seed;
  }
}

TEST_P(Networks, CutReductionsAreWithinRounding) {
  Space space(make(GetParam()), machine(5));
  Inputs inputs(space.graph());
  auto expected = run_unsplit(space, inputs.pointers);
  double worst = 0;
  for (unsigned seed = 0; seed < 10; seed++) {
    std::mt19937 random(100 + seed);
    worst = std::max(worst, run_and_compare(space, wild_plan(space, random, true), inputs, expected));
  }
  EXPECT_GT(worst, 0);  // something was cut
  EXPECT_LT(worst, 1e-5);
}

INSTANTIATE_TEST_SUITE_P(All, Networks, ::testing::Range(0, 3));

// What is copied are the bytes that the task graph moves, as long as no part ends within a kernel's block.
TEST(Emulator, CopiesWhatTheTaskGraphSays) {
  Space space(optimize(small_attention(8)), machine(4));
  Inputs inputs(space.graph());
  Emulator emulator(space, inputs.pointers);
  plan::Roofline costs;
  for (auto plan : {plan::data_parallel_plan(space, 4), plan::data_parallel_plan(space, 2), plan::single_plan(space)}) {
    for (Config& c : plan)  // two operators in turn on other devices
      if (&c - plan.data() == 2)
        for (uint32_t& d : c.devices) d = (d + 1) % 4;
    PartProgram program = emulator.compile(plan);
    PartTimes times = emulator.run(program);
    EXPECT_EQ(times.bytes_moved, plan::TaskGraph(space, costs, {}, plan).bytes_moved());
  }
}

TEST(Emulator, FindsMissingBoxes) {  // the poison is seen
  Space space(optimize(small_cnn(2)), machine(2));
  Inputs inputs(space.graph());
  auto expected = run_unsplit(space, inputs.pointers);
  Emulator emulator(space, inputs.pointers);
  std::vector<Config> plan = plan::single_plan(space);
  plan[3].devices = {1};
  PartProgram program = emulator.compile(plan);
  PartProgram broken = program;
  const_cast<std::vector<Move>&>(broken.tasks()[3].moves).clear();
  emulator.run(broken, {.poison = true});
  EXPECT_GT(difference(broken, emulator, expected), 1);
  emulator.run(program, {.poison = true});
  EXPECT_EQ(difference(program, emulator, expected), 0);
}

TEST(Emulator, RefusesTrainingAndReductionsItCannotCut) {
  Space training(plan::small_network(4), machine(2));
  EXPECT_THROW(PartProgram(training, plan::single_plan(training)), Error);
  Space space(optimize(small_attention(2)), machine(2));
  std::vector<Config> plan = plan::single_plan(space);
  uint32_t attention = space.find_op("attention");
  ASSERT_NE(attention, none);
  plan[attention].split.degree[4] = 2;
  plan[attention].devices = {0, 1};
  try {
    PartProgram program(space, plan);
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::not_supported);
    EXPECT_NE(std::string(e.what()).find("attention"), std::string::npos);
  }
}

// The clock against the simulator, which shares no code with it: same timeline for the same times.
void expect_same_timeline(const Space& space, const std::vector<Config>& plan, plan::TaskOptions options) {
  plan::Roofline costs;
  plan::TaskGraph graph(space, costs, options, plan);
  plan::Simulator simulator(graph);
  simulator.full();
  const plan::Timeline& t = simulator.timeline();
  TaskTimes compute;
  for (const plan::Block& b : graph.blocks()) {
    compute.emplace_back();
    if (b.kind == plan::Block::Kind::compute)
      for (const plan::Block::Task& task : b.tasks) compute.back().push_back(task.ns);
  }
  Clock c = run_clock(graph, compute);
  EXPECT_EQ(c.makespan, t.makespan);
  for (uint32_t b = 0; b < graph.blocks().size(); b++)
    for (uint32_t i = 0; i < graph.blocks()[b].size(); i++) {
      ASSERT_EQ(c.ready[b][i], t.times[t.base[b] + i].ready) << b << " " << i;
      ASSERT_EQ(c.start[b][i], t.times[t.base[b] + i].start) << b << " " << i;
      ASSERT_EQ(c.end[b][i], t.times[t.base[b] + i].end) << b << " " << i;
    }
}

TEST(Clock, AgreesWithTheSimulator) {
  std::mt19937 random(1);
  for (const char* name : {"p100x4", "p100x8", "k80x8", "host"}) {
    Space inference(optimize(small_cnn(8)), plan::shipped_cluster(name));
    Space training(plan::small_network(8), plan::shipped_cluster(name));
    for (int i = 0; i < 10; i++) {
      expect_same_timeline(inference, wild_plan(inference, random, true), {});
      expect_same_timeline(training, wild_plan(training, random), {plan::Gradients::overlap, plan::Collective::ring});
      expect_same_timeline(training, wild_plan(training, random),
                           {plan::Gradients::after, plan::Collective::automatic});
    }
  }
}

TEST(Clock, SlowDevicesTakeLonger) {
  plan::Cluster cluster = machine(2);
  cluster.kinds[0].machine.peak_gflops = Machine::host().peak_gflops;
  cluster.kinds.push_back(cluster.kinds[0]);
  cluster.kinds[1].machine.peak_gflops /= 2;
  cluster.devices[1].kind = 1;
  Space space(plan::dense_chain(1, 4, 8, false), cluster);
  plan::Roofline costs;
  std::vector<Config> fast = plan::single_plan(space), slow = fast;
  slow[0].devices = {1};
  PartTimes times{{{1000}}, 0};
  EXPECT_EQ(emulated_clock(plan::TaskGraph(space, costs, {}, fast), times).makespan, 1000);
  EXPECT_EQ(emulated_clock(plan::TaskGraph(space, costs, {}, slow), times).makespan, 2000);
}

}  // namespace
}  // namespace pando::dist
