// Memory options per layer: the dynamic program against exhaustive search, costs by hand, GPT-3 175B against brute
// force.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <random>
#include <set>

#include "plan/layers/files.hpp"
#include "plan/layers/memory_costs.hpp"
#include "plan/layers/memory_steps.hpp"

namespace pando::plan {
namespace {

StepChain random_chain(uint32_t seed) {
  std::mt19937 random(seed);
  auto upto = [&](int n) { return static_cast<int>(random() % static_cast<uint32_t>(n)); };
  StepChain c;
  c.layouts = 1 + upto(4);
  c.layers.resize(static_cast<size_t>(1 + upto(6)));
  for (StepLayer& l : c.layers) {
    for (int i = 1 + upto(5); i > 0; i--) l.options.push_back({upto(20) + upto(8) / 8.0, upto(7), upto(c.layouts)});
    for (int i = 0; i < c.layouts * c.layouts; i++) l.enter.push_back(upto(6));
  }
  return c;
}

double exhaustive(const StepChain& c, int64_t capacity, size_t l, int before, double time) {
  if (l == c.layers.size()) return time;
  double best = infinity;
  for (const StepOption& o : c.layers[l].options) {
    if (o.memory > capacity) continue;
    double enter = l == 0 ? 0 : c.layers[l].enter[static_cast<size_t>(before * c.layouts + o.layout)];
    best = std::min(best, exhaustive(c, capacity - o.memory, l + 1, o.layout, time + enter + o.time));
  }
  return best;
}

TEST(LayerMemory, StepsEqualExhaustiveSearch) {
  for (uint32_t seed = 0; seed < 200; seed++) {
    StepChain c = random_chain(seed);
    StepTable table(c, 30);
    for (int64_t capacity = 0; capacity <= 30; capacity++) {
      double expected = exhaustive(c, capacity, 0, 0, 0);
      ASSERT_EQ(table.least(capacity), expected) << "seed " << seed << ", capacity " << capacity;
      for (int y = 0; y < c.layouts && expected < infinity; y++) {
        if (table.least(capacity, y) != expected) continue;
        std::vector<int> plan = table.choose(capacity, y);
        double time = 0;
        int64_t memory = 0;
        for (size_t l = 0; l < plan.size(); l++) {
          const StepOption& o = c.layers[l].options[static_cast<size_t>(plan[l])];
          if (l > 0) {
            int from = c.layers[l - 1].options[static_cast<size_t>(plan[l - 1])].layout;
            time += c.layers[l].enter[static_cast<size_t>(from * c.layouts + o.layout)];
          }
          time += o.time;
          memory += o.memory;
        }
        EXPECT_EQ(time, expected);
        EXPECT_LE(memory, capacity);
      }
    }
  }
}

// Two devices of 1 GFLOP/s whose memory has no limit of rate, and links of 1 GB/s without latency.
Cluster two_devices() {
  Cluster c;
  c.kinds.push_back({"k", {}, 0, 1'000'000, 1, 1, 0});
  c.kinds[0].machine.peak_gflops = 1;
  c.kinds[0].machine.memory_gb_per_s = 1e12;
  c.devices = {{0, 0}, {0, 0}};
  c.network.inside = {1, 0, Sharing::port, false};
  connect(c);
  return c;
}

// One layer: 1 s of arithmetic per sample, 5e8 weights of 2 bytes.
MemoryProblem one_layer() {
  MemoryProblem p;
  p.cluster = two_devices();
  MemoryLayer l;
  l.flops = 1e9;
  l.weights = 5e8;
  l.input = 1e9;
  l.inside = 2e9;
  l.inside_split = 4e9;
  l.exchanged = 3e9;
  l.tensor_degrees = 2;
  p.layers = {l};
  p.batch = 2;
  p.host_gb_per_s = 2;
  return p;
}

const MemoryOption& find(const std::vector<MemoryOption>& options, const MemoryChoice& c) {
  for (const MemoryOption& o : options)
    if (o.choice == c) return o;
  static const MemoryOption none;
  ADD_FAILURE() << "no such option";
  return none;
}

// An all-gather of 1 GB between two devices moves half of it over each link: 0.5 s.
TEST(LayerMemory, CostsByHand) {
  MemoryProblem p = one_layer();
  std::vector<MemoryOption> options = memory_options(p, p.layers[0]);
  EXPECT_EQ(options.size(), 2 * 3 * 1 + 4 * 3 * 2u);
  // Data parallel: forward 1 s, backward 2 s hide the all-reduce of 1 s; all resident: 8 GB of states, 7 of
  // activations.
  const MemoryOption& plain = find(options, {2, 1, 0, Keep::keep, false});
  EXPECT_NEAR(plain.time, 3, 1e-9);
  EXPECT_NEAR(plain.resident, 15e9, 1);
  EXPECT_NEAR(plain.working, 2e9, 1);
  EXPECT_EQ(plain.ahead, 0);
  // Everything sharded: gathers (0.5 s) forward, with the exchange (0.5 s) backward; 4 GB of states.
  const MemoryOption& sharded = find(options, {2, 1, 3, Keep::recompute, false});
  EXPECT_NEAR(sharded.time, 1 + 3, 1e-9);
  EXPECT_NEAR(sharded.resident, 4e9 + 1e9, 1);
  EXPECT_NEAR(sharded.working, 2e9 + 6e9 + 1e9 + 1e9, 1);
  EXPECT_NEAR(sharded.ahead, 1e9, 1);
  // 7 GB of activations take 3.5 s out and 3.5 s in; 3 GB of sharded states 1.5 s for the update.
  const MemoryOption& offloaded = find(options, {2, 1, 1, Keep::offload, true});
  EXPECT_NEAR(offloaded.time, 3.5 + 3.5 + 1.5, 1e-9);
  EXPECT_NEAR(offloaded.resident, 2e9, 1);
  EXPECT_NEAR(offloaded.working, 2e9 + 7e9, 1);
  EXPECT_NEAR(offloaded.ahead, 7e9, 1);
  // Tensor parallel: both samples on both devices, half a second each, and sums of 6 GB (6 s) forward and backward.
  const MemoryOption& tensor = find(options, {1, 2, 0, Keep::keep, false});
  EXPECT_NEAR(tensor.time, 1 + 6 + 2 + 6, 1e-9);
  EXPECT_NEAR(tensor.resident, 4e9 + 2 * (1 + 2 + 2) * 1e9, 1);
  // From data to tensor parallel every device gathers the input of two samples, 1 GB of which it lacks.
  EXPECT_NEAR(relayout_seconds(p, p.layers[0], 1, 2), 1, 1e-9);
  EXPECT_EQ(relayout_seconds(p, p.layers[0], 2, 2), 0);
}

TEST(LayerMemory, EvaluatorRunsStreamsBesideEachOther) {
  MemoryProblem p = one_layer();
  MemoryScore plain = evaluate_layer_memory(p, {{2, 1, 0, Keep::keep, false}});
  EXPECT_NEAR(plain.seconds, 3 + 1, 1e-9);  // nothing is left that the all-reduce could hide behind
  EXPECT_NEAR(plain.formula, 3, 1e-9);
  EXPECT_NEAR(plain.peak, 17e9, 1);
  p.batch = 24;
  p.microbatches = 12;  // the exchange comes behind the last one
  EXPECT_NEAR(evaluate_layer_memory(p, {{2, 1, 0, Keep::keep, false}}).seconds, 12 * 3 + 1, 1e-9);
  p.microbatches = 1;
  p.batch = 2;
  p.layers.push_back(p.layers[0]);
  MemoryScore two = evaluate_layer_memory(p, {2, {2, 1, 0, Keep::keep, false}});
  EXPECT_NEAR(two.seconds, 6 + 1, 1e-9);
  EXPECT_NEAR(two.peak, 2 * 15e9 + 2e9, 1);
  p.memory = 31e9;
  EXPECT_NE(evaluate_layer_memory(p, {2, {2, 1, 0, Keep::keep, false}}).violation, "");
  EXPECT_EQ(evaluate_layer_memory(p, {2, {2, 1, 1, Keep::offload, true}}).violation, "");
  EXPECT_EQ(evaluate_layer_memory(p, {{2, 1, 0, Keep::keep, false}}).violation, "1 choices for 2 layers");
  EXPECT_EQ(evaluate_layer_memory(p, {2, {2, 2, 0, Keep::keep, false}}).violation,
            "layer 0 has degrees that are not the devices");
}

// The sums of the search are those of the evaluator, and its need of memory is no less, whatever the plan.
TEST(LayerMemory, FormulaEqualsEvaluator) {
  std::mt19937 random(7);
  auto upto = [&](int n) { return static_cast<int>(random() % static_cast<uint32_t>(n)); };
  for (int round = 0; round < 300; round++) {
    MemoryProblem p;
    p.cluster = shipped_cluster(round % 3 == 0 ? "p100x8" : round % 3 == 1 ? "a100x16" : "k80x4");
    p.microbatches = 1 + upto(3);
    p.batch = p.microbatches * 16;
    std::vector<MemoryChoice> plan;
    double formula = 0, resident = 0, working = 0, ahead = 0, serial = 0;
    for (int l = 0, layers = 1 + upto(6); l < layers; l++) {
      MemoryLayer x;
      x.flops = upto(10) * 1e11;
      x.weights = upto(10) * 1e7;
      x.input = upto(10) * 1e6;
      x.inside = upto(10) * 1e6;
      x.inside_split = upto(10) * 1e7;
      x.exchanged = upto(10) * 1e6;
      x.tensor_degrees = 1 << upto(4);
      p.layers.push_back(x);
      std::vector<MemoryOption> options = memory_options(p, x);
      const MemoryOption& o = options[random() % options.size()];
      if (l > 0) formula += relayout_seconds(p, x, plan.back().tensor, o.choice.tensor);
      plan.push_back(o.choice);
      formula += o.time;
      serial += o.serial;
      resident += o.resident;
      working = std::max(working, o.working);
      ahead = std::max(ahead, o.ahead);
    }
    MemoryScore score = evaluate_layer_memory(p, plan);
    ASSERT_NEAR(score.formula, formula, 1e-9 * formula) << round;
    ASSERT_LE(score.peak, (resident + working + ahead) * (1 + 1e-9)) << round;
    ASSERT_GE(score.seconds, serial * (1 - 1e-9)) << round;
  }
}

MemoryProblem gpt3(double memory) {
  PlanRequest request;
  request.memory = memory;
  Json file = Json::parse(R"({"batch": 64, "layers": [{"count": 96,
                              "transformer": {"width": 12288, "sequence": 2048, "heads": 96}}]})");
  return read_layer_memory(file, request, shipped_cluster("a100x64"));
}

// Brute force for layers that are all alike: how many take each option, every count tried. Plans of one layout, and
// what a second one could add: nothing, when even relayouts for free do not pay.
struct Counts {
  std::vector<std::pair<double, int64_t>> options;  // time, steps
  double best = infinity;
  void run(size_t at, int left, double time, int64_t steps) {
    if (at + 1 == options.size()) {
      if (left * options[at].second <= steps) best = std::min(best, time + left * options[at].first);
      return;
    }
    if (time + left * options[0].first >= best) return;
    for (int n = 0; n <= left && n * options[at].second <= steps; n++)
      run(at + 1, left - n, time + n * options[at].first, steps - n * options[at].second);
  }
};

double brute_force(const MemoryProblem& p, int64_t step) {
  std::vector<MemoryOption> all = memory_options(p, p.layers[0]);
  std::set<int64_t> tensors;
  std::set<double> working, ahead;
  for (const MemoryOption& o : all) {
    tensors.insert(o.choice.tensor);
    working.insert(o.working);
    ahead.insert(o.ahead);
  }
  double best = infinity;
  for (int64_t tensor : tensors)
    for (double w : working)
      for (double a : ahead) {
        Counts c;
        c.best = best;
        for (const MemoryOption& o : all) {
          if (o.choice.tensor != tensor || o.working > w || o.ahead > a) continue;
          auto steps = static_cast<int64_t>(std::ceil(o.resident / static_cast<double>(step)));
          bool beaten = false;
          for (const MemoryOption& x : all) {
            if (x.choice.tensor != tensor || x.working > w || x.ahead > a || &x == &o) continue;
            auto other = static_cast<int64_t>(std::ceil(x.resident / static_cast<double>(step)));
            beaten = beaten || (x.time <= o.time && other <= steps && (x.time < o.time || other < steps || &x < &o));
          }
          if (!beaten) c.options.emplace_back(o.time, steps);
        }
        if (c.options.empty()) continue;
        std::sort(c.options.begin(), c.options.end());
        auto room = static_cast<int64_t>((p.memory - w - a) / static_cast<double>(step));
        if (room >= 0) c.run(0, static_cast<int>(p.layers.size()), 0, room);
        best = std::min(best, c.best);
      }
  return best;
}

TEST(LayerMemory, Gpt3EqualsBruteForceAndIsFasterWithMoreMemory) {
  double last = infinity;
  for (double gb : {20, 30, 40, 60, 80}) {
    MemoryProblem p = gpt3(gb * 1e9);
    MemoryOutcome out = search_layer_memory(p, {});
    if (gb == 20) {
      EXPECT_FALSE(out.feasible);
      EXPECT_EQ(
          out.reason,
          "the leanest choices need 21.24 GB of a device that has 20 GB: 10.87 GB for states and kept activations, "
          "10.37 GB for the layer that runs and what is gathered ahead");
      continue;
    }
    ASSERT_TRUE(out.feasible) << out.reason;
    MemoryScore score = evaluate_layer_memory(p, out.plan);
    EXPECT_EQ(score.violation, "");
    EXPECT_LE(score.peak, p.memory);
    EXPECT_NEAR(score.seconds, out.value, 1e-9);
    EXPECT_GE(out.value, *out.lower_bound);
    EXPECT_LT(out.value, last);
    EXPECT_NEAR(out.formula, brute_force(p, out.step_bytes), 1e-9 * out.formula) << gb;
    last = out.value;
  }
}

TEST(LayerMemory, RefusesBadFiles) {
  auto refuse = [](const std::string& text, const std::string& part) {
    Cluster cluster = shipped_cluster("a100x4");
    try {
      plan_layers(text, {}, {}, &cluster);
      ADD_FAILURE() << "accepted: " << text;
    } catch (const Error& e) {
      EXPECT_NE(std::string(e.what()).find(part), std::string::npos) << e.what();
      EXPECT_EQ(std::string(e.what()).find('\n'), std::string::npos) << e.what();
    }
  };
  refuse(R"({"layers": 1})", "\"layers\" is not a list");
  refuse(R"({"layers": []})", "\"layers\" is empty");
  refuse(R"({"layers": [1]})", "layers[0]: expected an object");
  refuse(R"({"layers": [{"flops": 1}]})", "layers[0]: the key \"weights\" is missing");
  refuse(R"({"layers": [{"transformer": {"width": 4}}]})", "transformer: the key \"sequence\" is missing");
  refuse(R"({"layers": [{"transformer": {"width": 4, "sequence": 0}}]})", "\"sequence\" is 0, expected 1");
  refuse(R"({"layers": [{"transformer": {"width": 4, "sequence": 4}, "count": 1000000000}]})", "expected 1 to 10000");
  refuse(R"({"layers": [{"transformer": {"width": 4, "sequence": 4}, "depth": 2}]})", "no key \"depth\"");
  refuse(R"({"batch": 3, "microbatches": 2, "layers": []})", "no multiple");
  refuse(R"({"host_gb_per_s": 0, "layers": []})", "\"host_gb_per_s\" is 0");
  Cluster cluster = shipped_cluster("a100x4");
  std::string good =
      R"({"batch": 4, "layers": [{"transformer": {"width": 64, "sequence": 16, "heads": 4}, "count": 3}]})";
  EXPECT_THROW(plan_layers(good, {}, {}), Error);
  PlanResult result = plan_layers(good, {}, {}, &cluster);
  EXPECT_TRUE(result.feasible);
  Json report = Json::parse(result.json);
  EXPECT_EQ(report["search"], "layer-memory");
  int64_t layers = 0;
  for (const Json& l : report["layers"]) layers += l["count"].get<int64_t>();
  EXPECT_EQ(layers, 3);
  PlanRequest odd;
  odd.batch = 3;  // 3 samples, 4 devices, degrees 1, 2 and 4: only tensor parallelism fits
  Json tensor = Json::parse(plan_layers(good, odd, {}, &cluster).json);
  EXPECT_EQ(tensor["layers"][0]["tensor"], 4);
}

// Spoilt files are planned or refused with an Error of one line.
TEST(LayerMemory, SurvivesSpoiltFiles) {
  const std::string good = R"({"batch": 8, "microbatches": 2, "host_gb_per_s": 5, "bytes_per_weight": {"states": 8},
    "layers": [{"transformer": {"width": 8, "sequence": 4, "heads": 2}, "count": 2},
               {"flops": 1e9, "weights": 1e3, "input_bytes": 1e2, "activation_bytes": 1e2, "tensor_degrees": 2}]})";
  Cluster cluster = shipped_cluster("a100x2");
  std::mt19937 random(3);
  const std::string symbols = "0123456789.eE+-{}[]\":, x";
  SearchControl control;
  control.budget_bytes = 1 << 22;
  int planned = 0;
  for (int round = 0; round < 500; round++) {
    std::string text = good;
    for (int i = 1 + round % 4; i > 0; i--) {
      char& c = text[random() % text.size()];
      bool digit = c >= '0' && c <= '9';
      if (digit || round % 3 == 0) c = symbols[random() % (digit ? 10 : symbols.size())];
    }
    if (round % 10 == 0) text.resize(random() % text.size());
    try {
      PlanResult result = plan_layers(text, {}, control, &cluster);
      EXPECT_EQ(result.feasible, result.reason.empty()) << text;
      planned++;
    } catch (const Error& e) {
      EXPECT_NE(e.code(), ErrorCode::internal) << e.what() << "\n" << text;
      EXPECT_EQ(std::string(e.what()).find('\n'), std::string::npos) << text;
    }
  }
  EXPECT_GT(planned, 20);
}

}  // namespace
}  // namespace pando::plan
