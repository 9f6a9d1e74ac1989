// Sequential dimensions: chunks run in order and hand on their state; layers of recurrent cells share weights.
#include <gtest/gtest.h>

#include <map>

#include "networks.hpp"
#include "plan/search/baselines.hpp"
#include "plan/search/mcmc.hpp"
#include "plan/simulate/memory.hpp"

namespace pando::plan {
namespace {

Cluster counting_devices(int count) {
  return read_cluster(fmt::format(R"({{"pando_cluster":1,
    "kinds":{{"a":{{"peak_gflops":{{"f32":1000}},"memory_bytes":1000000000,"memory_gb_per_s":1000}}}},
    "devices":[{{"kind":"a","count":{}}}],"network":{{"inside":{{"gb_per_s":1,"latency_us":0}}}}}})",
                                  count));
}

Graph one_layer(bool training) {
  NetWriter n;
  ValueId x = n.input({2, 8, 15});
  n.g.outputs = {n.lstm(x, n.weight({4, 10, 15}), n.weight({4, 10, 10}))[0]};
  return training ? add_training(std::move(n.g), Loss::mean_square) : std::move(n.g);
}

Config chunks(std::vector<uint32_t> on) {
  Config c;
  c.split.degree[1] = static_cast<uint16_t>(on.size());
  c.devices = std::move(on);
  return c;
}

TEST(Sequential, ChunksRunInOrderAndHandOnTheirState) {
  // 8 * 2 * 8 * 10 * 25 = 32,000 operations: 32 ns whole, 8 ns a quarter.
  Space space(one_layer(false), counting_devices(2));
  Counting costs;
  auto makespan = [&](Config c) {
    TaskGraph graph(space, costs, {}, {std::move(c)});
    Simulator s(graph);
    s.full();
    return std::pair{s.timeline().makespan, graph.bytes_moved()};
  };
  EXPECT_EQ(makespan(single_plan(space)[0]).first, 32);
  EXPECT_EQ(makespan(chunks({0, 0, 0, 0})).first, 32);
  // The state: 2 x 10 outputs and as many cells, one transfer behind the other.
  EXPECT_EQ(makespan(chunks({0, 0, 1, 1})), (std::pair<int64_t, int64_t>{32 + 160, 160}));
  EXPECT_EQ(makespan(chunks({0, 1, 0, 1})), (std::pair<int64_t, int64_t>{32 + 480, 480}));
  Config halves = chunks({0, 0, 1, 1});  // by sample and by time: each half has its own state
  halves.split.degree = {2, 2, 1, 1, 1, 1, 1, 1};
  halves.devices = {0, 0, 1, 1};
  EXPECT_EQ(makespan(halves), (std::pair<int64_t, int64_t>{16, 0}));
}

TEST(Sequential, GradientsGoBackThroughTime) {
  Space space(one_layer(true), counting_devices(2));
  Counting costs;
  std::vector<Config> plan = single_plan(space);
  plan[0] = chunks({0, 0, 1, 1});
  TaskGraph graph(space, costs, {}, plan);
  Simulator s(graph);
  s.full();
  const Timeline& t = s.timeline();
  uint32_t forward = space.ops()[0].stages[0], backward = space.ops()[0].stages[2];
  ASSERT_EQ(space.ops()[0].stages[1], none);  // the input is not trained
  for (uint32_t i = 0; i + 1 < 4; i++) {
    EXPECT_LE(t.times[t.base[forward] + i].end, t.times[t.base[forward] + i + 1].start);
    EXPECT_LE(t.times[t.base[backward] + i + 1].end, t.times[t.base[backward] + i].start);
  }
  EXPECT_LE(t.times[t.base[backward] + 2].end + 160,
            t.times[t.base[backward] + 1].start);  // the state's gradient crosses
}

TEST(Sequential, UnitsAreNotCutBetweenSteps) {
  Space space(one_layer(false), counting_devices(2));
  Config c;
  c.split.degree[2] = 2;
  c.devices = {0, 1};
  EXPECT_THROW(check_config(c, space, 0, "plan"), Error);
}

TEST(Sequential, BackwardTakesTwiceTheWork) {
  Graph g = recurrent_network(2, 1, 4, 8, 16, true);
  std::map<std::string, double> work;
  for (NodeId n = 0; n < g.nodes.size(); n++) {
    const Node& node = g.nodes[n];
    NodeView view{g, node};
    const OpDef* op = node.op == &gradient_op ? node.as<GradientAttrs>().op : node.op;
    if (op == &recurrent_op) work[node.op->name] += node.op->operations(view, whole(node.op->domain(view)));
  }
  // Of two layers; the first one's input needs no gradient: half of each of its products goes back through time.
  EXPECT_EQ(work["gradient"], 1.5 * work["recurrent"]);
}

TEST(Sequential, SharedWeightsAreExchangedOnce) {
  Space space(recurrent_network(2, 3, 8, 4, 16, true), counting_devices(4));
  Roofline costs;
  EXPECT_EQ(space.syncs().size(), 2u);
  for (const auto& members : space.syncs()) EXPECT_EQ(members.size(), 3u);
  TaskGraph graph(space, costs, {}, data_parallel_plan(space, 4));
  uint32_t collectives = 0;
  for (const Block& b : graph.blocks())
    if (b.kind == Block::Kind::collective) collectives += b.size();
  EXPECT_EQ(collectives, 2u);
  // Weights of a layer are held once per device, whatever number of its cells is there.
  Simulator s(graph);
  s.full();
  EXPECT_EQ(memory_of(graph, s.timeline())[0].weights, resident_bytes(space, 2 * 2 * 4 * 16 * 16 * 4));
}

TEST(Expert, RecurrentNetworksByLayerAndSample) {
  Space space(recurrent_network(2, 3, 8, 4, 16, true), shipped_cluster("p100x8"));
  std::vector<Config> plan = expert_plan(space);
  for (uint32_t o = 0; o < plan.size(); o++) {
    ASSERT_EQ(plan[o].devices.size(), 2u) << space.ops()[o].name;  // two nodes of four
    EXPECT_EQ(plan[o].split.degree[0], 2);
    EXPECT_EQ(plan[o].devices[1], plan[o].devices[0] + 4);
  }
  // The cells of a layer stand together, the layers apart.
  std::vector<uint32_t> cells;
  for (uint32_t o = 0; o < plan.size(); o++)
    if (space.view(space.ops()[o].node).node.op == &recurrent_op) cells.push_back(plan[o].devices[0]);
  EXPECT_EQ(cells, (std::vector<uint32_t>{0, 0, 0, 1, 1, 1}));
}

TEST(Sequential, ProposalsEqualFullRuns) {
  Space space(recurrent_network(2, 3, 8, 4, 16, true), shipped_cluster("p100x8"));
  Roofline costs;
  for (Gradients gradients : {Gradients::overlap, Gradients::after}) {
    Chain chain(space, costs, {gradients, Collective::automatic}, data_parallel_plan(space, 8), {});
    for (int i = 0; i < 300; i++) {
      chain.step();
      Simulator full(chain.graph());
      full.full();
      ASSERT_EQ(full.timeline(), chain.simulator().timeline()) << "proposal " << i;
    }
  }
}

}  // namespace
}  // namespace pando::plan
