// The simulator against hand-computed timelines, and proposals against full runs, bit for bit.
#include "plan/simulate/simulator.hpp"

#include <gtest/gtest.h>

#include "networks.hpp"
#include "plan/search/baselines.hpp"
#include "plan/search/mcmc.hpp"
#include "plan/search/search.hpp"
#include "plan/simulate/fair_links.hpp"
#include "plan/simulate/memory.hpp"

namespace pando::plan {
namespace {

Cluster two_devices(double gb_per_s, double latency_us) {
  return read_cluster(fmt::format(R"({{"pando_cluster":1,
    "kinds":{{"a":{{"peak_gflops":{{"f32":1000}},"memory_bytes":1000000000,"memory_gb_per_s":1000}}}},
    "devices":[{{"kind":"a","count":2}}],"network":{{"inside":{{"gb_per_s":{},"latency_us":{}}}}}}})",
                                  gb_per_s, latency_us));
}

TEST(Simulator, ByHandOnTwoDevices) {
  // dense 8x100x100: 2 * 8 * 100 * 100 = 160,000 operations: 160 ns whole, 80 ns by halves.
  Space space(dense_chain(2, 8, 100, false), two_devices(1, 0.05));
  Counting costs;
  std::vector<Config> plan = single_plan(space);
  {
    TaskGraph graph(space, costs, {}, plan);
    Simulator s(graph);
    s.full();
    EXPECT_EQ(s.timeline().makespan, 320);
    EXPECT_EQ(graph.bytes_moved(), 0);
  }
  plan[1].devices = {1};  // 3200 bytes at 1 GB/s, 50 ns of latency on each of the two ports
  {
    TaskGraph graph(space, costs, {}, plan);
    Simulator s(graph);
    s.full();
    EXPECT_EQ(s.timeline().makespan, 160 + 100 + 3200 + 160);
    EXPECT_EQ(graph.bytes_moved(), 3200);
  }
  plan = data_parallel_plan(space, 2);
  {
    TaskGraph graph(space, costs, {}, plan);
    Simulator s(graph);
    s.full();
    EXPECT_EQ(s.timeline().makespan, 160);
    EXPECT_EQ(graph.bytes_moved(), 0);
  }
  // Second operator by features: each half needs the other's half of the rows: 1600 bytes each way, in parallel.
  plan[1].split.degree = {1, 2, 1, 1, 1, 1, 1, 1};
  {
    TaskGraph graph(space, costs, {}, plan);
    Simulator s(graph);
    s.full();
    EXPECT_EQ(s.timeline().makespan, 80 + 100 + 1600 + 80);
    EXPECT_EQ(graph.bytes_moved(), 3200);
  }
  // By the reduction: each needs half of the columns of the other's rows.
  plan[1].split.degree = {1, 1, 2, 1, 1, 1, 1, 1};
  plan[1].devices = {0, 1};
  EXPECT_EQ(TaskGraph(space, costs, {}, plan).bytes_moved(), 1600);
  // Who reads partial sums reads them all: here the other's, of both halves of the rows.
  plan[0].split.degree = {1, 1, 2, 1, 1, 1, 1, 1};
  plan[1].split.degree = {2, 1, 1, 1, 1, 1, 1, 1};
  EXPECT_EQ(TaskGraph(space, costs, {}, plan).bytes_moved(), 3200);
}

TEST(Simulator, GradientsAreExchangedAndUpdated) {
  Space space(dense_chain(1, 8, 100, true), two_devices(1, 0));
  Counting costs;
  TaskGraph graph(space, costs, {}, data_parallel_plan(space, 2));
  Simulator s(graph);
  s.full();
  // forward 80, loss 0 (400 differences), gradient of weights 80 + of bias 0.4 -> 0; ring of two over 40,400 bytes:
  // each sends half twice: 40,400 ns; update 2 * 10,000 operations: 20.
  EXPECT_EQ(s.timeline().makespan, 80 + 80 + 40400 + 20);
  TaskOptions after;
  after.gradients = Gradients::after;
  TaskGraph graph2(space, costs, after, data_parallel_plan(space, 2));
  Simulator s2(graph2);
  s2.full();
  EXPECT_EQ(s2.timeline().makespan, s.timeline().makespan);
  // By features nothing is exchanged but the prediction for the loss, which is by sample.
  std::vector<Config> plan = data_parallel_plan(space, 2);
  plan[0].split.degree = {1, 2, 1, 1, 1, 1, 1, 1};
  TaskGraph graph3(space, costs, {}, plan);
  for (const Block& b : graph3.blocks()) EXPECT_TRUE(b.kind != Block::Kind::collective || b.size() == 0);
}

void check_timeline(const TaskGraph& graph, const Timeline& t) {
  // Every task follows those it waits for, and no device or link does two things at once.
  std::vector<std::vector<std::pair<int64_t, int64_t>>> busy(graph.resources());
  const Cluster& cluster = graph.space().cluster();
  EXPECT_EQ(t.order.size(), graph.tasks());
  for (uint32_t b = 0; b < graph.blocks().size(); b++) {
    const Block& block = graph.blocks()[b];
    for (uint32_t i = 0; i < block.size(); i++) {
      uint32_t at = t.base[b] + i;
      ASSERT_LE(t.times[at].ready, t.times[at].start);
      ASSERT_EQ(t.times[at].start + block.tasks[i].ns, t.times[at].end);
      auto use = [&](uint32_t r) {
        if (block.tasks[i].ns > 0) busy[r].emplace_back(t.times[at].start, t.times[at].end);
      };
      if (block.kind == Block::Kind::transfer)
        for (uint32_t l : cluster.route(block.tasks[i].where)) use(graph.devices() + l);
      else if (block.kind == Block::Kind::collective)
        for (uint32_t l : graph.groups()[block.tasks[i].where].links) use(graph.devices() + l);
      else if (block.kind != Block::Kind::barrier) use(block.tasks[i].where);
    }
  }
  for (const Wire& w : graph.wires())
    for (uint32_t i = 0; i + 1 < w.begin.size(); i++)
      for (uint32_t k = w.begin[i]; k < w.begin[i + 1]; k++) {
        uint32_t from = t.base[w.from] + i, to = t.base[w.to] + w.next[k].reader;
        if (w.next[k].transfer != none) {
          uint32_t transfer = t.base[w.transfers] + w.next[k].transfer;
          ASSERT_EQ(t.times[transfer].ready, t.times[from].end);
          from = transfer;
        }
        ASSERT_LE(t.times[from].end, t.times[to].ready);
      }
  for (auto& list : busy) {
    std::sort(list.begin(), list.end());
    for (size_t i = 1; i < list.size(); i++) ASSERT_LE(list[i - 1].second, list[i].first);
  }
}

TEST(Simulator, TimelinesAreConsistent) {
  Roofline costs;
  for (const char* machine : {"p100x8", "k80x8", "p100x8-10g"})
    for (Gradients g : {Gradients::overlap, Gradients::after}) {
      Space space(small_network(), shipped_cluster(machine));
      Random random(3);
      for (int i = 0; i < 5; i++) {
        TaskOptions options;
        options.gradients = g;
        TaskGraph graph(space, costs, options, i == 0 ? expert_plan(space) : random_plan(space, random));
        Simulator s(graph);
        s.full();
        check_timeline(graph, s.timeline());
      }
    }
}

// Line by line the same as a simulation of a task graph that was built anew; rejected proposals leave no trace.
void check_chain(const Space& space, Gradients gradients, int proposals, bool delta) {
  Roofline costs;
  TaskOptions tasks;
  tasks.gradients = gradients;
  ChainOptions options;
  options.temperature = 0.02;
  options.early = delta;
  options.delta = delta;
  Random random(11);
  Chain chain(space, costs, tasks, random_plan(space, random), options);
  int accepted = 0;
  for (int i = 0; i < proposals; i++) {
    Timeline before = chain.simulator().timeline();
    std::vector<int64_t> work = chain.graph().work();
    if (chain.step()) {
      accepted++;
      TaskGraph fresh(space, costs, tasks, chain.graph().configs());
      Simulator s(fresh);
      s.full();
      ASSERT_TRUE(s.timeline() == chain.simulator().timeline()) << "proposal " << i;
      ASSERT_EQ(fresh.work(), chain.graph().work());
      if (accepted % 16 == 0) check_timeline(chain.graph(), chain.simulator().timeline());
    } else {
      ASSERT_TRUE(before == chain.simulator().timeline()) << "proposal " << i;
      ASSERT_EQ(work, chain.graph().work());
    }
  }
  EXPECT_GT(accepted, proposals / 200);
}

TEST(Simulator, ProposalsEqualFullRuns) {
  for (const char* machine : {"p100x8", "k80x16"})
    for (Gradients g : {Gradients::overlap, Gradients::after}) {
      Space space(small_network(64), shipped_cluster(machine));
      check_chain(space, g, 400, true);
    }
  Space inference(small_network(64, false), shipped_cluster("p100x8"));
  check_chain(inference, Gradients::overlap, 400, true);
}

// Operators that share parameters exchange their gradients together, also where two such sets meet.
TEST(Simulator, SharedParameters) {
  NetWriter n;
  ValueId x = n.input({32, 64});
  ValueId w1 = n.weight({64, 64}), w2 = n.weight({64, 64}), b1 = n.weight({64}), b2 = n.weight({64});
  x = n.g.add(matmul_op, "a", {x, w1, b1}, MatMulAttrs{}, "a");
  x = n.g.add(matmul_op, "b", {x, w1, b2}, MatMulAttrs{}, "b");
  n.g.outputs = {n.g.add(matmul_op, "c", {x, w2, b2}, MatMulAttrs{}, "c")};
  Space space(add_training(std::move(n.g)), shipped_cluster("p100x4"));
  EXPECT_EQ(space.syncs()[space.ops()[0].sync], (std::vector<uint32_t>{0, 1, 2}));
  for (Gradients g : {Gradients::overlap, Gradients::after}) check_chain(space, g, 300, true);
}

TEST(Simulator, EarlyRejectionKeepsEveryDecision) {
  Roofline costs;
  Space space(small_network(64), shipped_cluster("p100x8"));
  std::vector<int64_t> reference;
  for (int mode = 0; mode < 4; mode++) {
    ChainOptions options;
    options.temperature = 0.01;
    options.delta = mode & 1;
    options.early = mode & 2;
    Chain chain(space, costs, {}, data_parallel_plan(space, 8), options);
    std::vector<int64_t> seen;
    for (int i = 0; i < 600; i++) {
      chain.step();
      seen.push_back(chain.makespan());
    }
    if (mode == 0) reference = seen;
    EXPECT_EQ(seen, reference) << mode;
  }
  EXPECT_LT(reference.back(), reference.front());
}

TEST(Memory, CountsWeightsAndKeptActivations) {
  Counting costs;
  {
    Space space(dense_chain(2, 8, 100, false), two_devices(1, 0));
    TaskGraph graph(space, costs, {}, single_plan(space));
    Simulator s(graph);
    s.full();
    std::vector<DeviceMemory> m = memory_of(graph, s.timeline());
    EXPECT_EQ(m[0].weights, 2 * 40400);
    EXPECT_EQ(m[0].activations, 2 * 3200);  // the second's result while the first's is read
    EXPECT_EQ(m[1].peak, 0);
    EXPECT_EQ(memory_reason(space, m), "");
    EXPECT_EQ(memory_reason(space, m, 50000).find("device 0: "), 0u);
    EXPECT_NE(memory_reason(space, m, 50000).find(" > 50000 bytes: weights"), std::string::npos);
  }
  Space space(dense_chain(3, 8, 100, true), two_devices(1, 0));
  TaskGraph graph(space, costs, {}, single_plan(space));
  Simulator s(graph);
  s.full();
  std::vector<DeviceMemory> m = memory_of(graph, s.timeline());
  EXPECT_EQ(m[0].weights, 3 * 2 * 40400);  // with gradients
  // Three results are kept for the backward pass, and the loss's difference is made from the third.
  EXPECT_EQ(m[0].activations, 4 * 3200);
}

TEST(Memory, OptionsTradeTimeForRoom) {
  Space space(dense_chain(6, 4096, 256, true), shipped_cluster("p100x4"));
  Roofline costs;
  std::vector<Config> plan = data_parallel_plan(space, 4);
  auto predicted = [&](Keep keep, uint8_t sharded) {
    for (Config& c : plan) c.keep = keep;
    return predict(space, costs, {Gradients::after, Collective::ring, sharded}, plan);
  };
  Prediction kept = predicted(Keep::keep, 0), again = predicted(Keep::recompute, 0), away = predicted(Keep::offload, 0);
  EXPECT_LT(again.memory[0].activations, kept.memory[0].activations);
  EXPECT_EQ(again.memory[0].activations, away.memory[0].activations);
  EXPECT_GT(again.makespan_ns, kept.makespan_ns);
  EXPECT_GT(away.makespan_ns, kept.makespan_ns);
  // Weights, gradients, no states (SGD): 6 layers of 256 x 256 and 256 floats.
  int64_t weights = 6 * (256 * 256 + 256) * 4;
  EXPECT_EQ(kept.memory[0].weights, 2 * weights);
  EXPECT_EQ(predicted(Keep::keep, 1).memory[0].weights, 2 * weights);
  EXPECT_EQ(predicted(Keep::keep, 2).memory[0].weights, weights + weights / 4);
  EXPECT_EQ(predicted(Keep::keep, 3).memory[0].weights, 2 * weights / 4 + 2 * 256 * 256 * 4);
  EXPECT_GT(predicted(Keep::keep, 3).makespan_ns, predicted(Keep::keep, 2).makespan_ns);
  // A device kind without a way to its host.
  Space nowhere(dense_chain(1, 8, 8, true), two_devices(1, 0));
  std::vector<Config> one = single_plan(nowhere);
  one[0].keep = Keep::offload;
  EXPECT_THROW(TaskGraph(nowhere, costs, {}, one), Error);
}

TEST(FairLinks, ShareUntilTheFirstEnds) {
  FairLinks one(1);
  one.add(7, 100, {{0, 1}}, 0);
  one.add(8, 300, {{0, 1}}, 0);
  EXPECT_EQ(one.next_end(), 200);  // at half the rate
  EXPECT_EQ(one.pop(), 7u);
  EXPECT_EQ(one.next_end(), 400);
  one.add(9, 50, {{0, 1}}, 300);  // 100 left of the other
  EXPECT_EQ(one.next_end(), 400);
  EXPECT_EQ(one.pop(), 9u);
  EXPECT_EQ(one.next_end(), 450);
  EXPECT_EQ(one.pop(), 8u);
  // a over both links, b over the first, c and d over the second: a, c, d get a third, b what is left of the first.
  FairLinks two(2);
  two.add(1, 100, {{0, 1}, {1, 1}}, 0);
  two.add(2, 200, {{0, 1}}, 0);
  two.add(3, 100, {{1, 1}}, 0);
  two.add(4, 100, {{1, 1}}, 0);
  EXPECT_EQ(two.next_end(), 300);
  for (uint64_t id : {1, 2, 3, 4}) EXPECT_EQ(two.next_end(), 300) << id << two.pop();
}

TEST(FairLinks, PlansEndLaterOnlyWhereTransfersMeet) {
  Space space(small_network(), shipped_cluster("p100x8"));
  Roofline costs;
  Random random(11);
  for (int i = 0; i < 20; i++) {
    std::vector<Config> plan = random_plan(space, random);
    TaskGraph graph(space, costs, {Gradients::overlap, Collective::ring, 0, Links::fair}, plan);
    Simulator s(graph);
    s.full();
    Timeline first = s.timeline();
    for (uint32_t b = 0; b < graph.blocks().size(); b++)
      for (uint32_t k = 0; k < graph.blocks()[b].size(); k++) {
        const TaskTimes& t = first.times[first.base[b] + k];
        EXPECT_LE(t.ready, t.start);
        EXPECT_GE(t.end - t.start, graph.blocks()[b].tasks[k].ns);
        EXPECT_EQ(t.waits, 0u);
      }
    EXPECT_TRUE(s.propose());
    EXPECT_EQ(s.proposed(), first);
  }
  // Nothing is moved: the same timeline as first come, first served.
  TaskGraph fifo(space, costs, {}, single_plan(space));
  TaskGraph fair(space, costs, {Gradients::overlap, Collective::automatic, 0, Links::fair}, single_plan(space));
  Simulator a(fifo), b(fair);
  a.full();
  b.full();
  EXPECT_EQ(a.timeline(), b.timeline());
}

}  // namespace
}  // namespace pando::plan
