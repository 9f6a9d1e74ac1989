// Do the checks of random models find anything? Edges are dropped on purpose, one at a time.
#include <fcntl.h>
#include <unistd.h>

#include "random/stages.hpp"

namespace pando::test {
namespace {

#if defined(__SANITIZE_THREAD__)
constexpr bool sees_races = true;
#else
constexpr bool sees_races = false;
#endif

struct Edge {
  uint32_t from, to, index;  // index: into TileGraph::successors
};

std::vector<Edge> edges_of(const TileGraph& g) {
  std::vector<Edge> edges;
  for (uint32_t n = 0; n < g.tiles + g.events; n++)
    for (uint32_t e = g.successor_begin[n]; e < g.successor_begin[n + 1]; e++) {
      const uint32_t to = g.successors[e];
      if (to < g.tiles || g.need[to] > 1) edges.push_back({n, to, e});  // an event has to wait for something
    }
  return edges;
}

TileGraph without(TileGraph g, const Edge& edge) {
  g.successors.erase(g.successors.begin() + edge.index);
  for (uint32_t n = edge.from + 1; n <= g.tiles + g.events; n++) g.successor_begin[n]--;
  g.need[edge.to]--;
  return g;
}

// The tiles that an edge stands for: its own, or those that its event waits for.
std::vector<uint32_t> tiles_behind(const TileGraph& g, const Edge& edge) {
  if (edge.from < g.tiles) return {edge.from};
  std::vector<uint32_t> members;
  for (uint32_t n = 0; n < g.tiles; n++)
    for (uint32_t e = g.successor_begin[n]; e < g.successor_begin[n + 1]; e++)
      if (g.successors[e] == edge.from) members.push_back(n);
  return members;
}

// Other edges may imply the one that was dropped, and rules may say more than is really read: an edge is needed when
// the results change in an order in which all tiles that need not wait for its first end come before it.
bool is_needed(const Program& program, const Tensors& inputs, const Tensors& expected,
               const std::vector<uint32_t>& behind, Random& random) {
  for (uint32_t tile : behind)
    if (!same_bits(run_in_order(program, inputs, draw_order(program, random, tile)), expected)) return true;
  return false;
}

bool seen_in_random_orders(const Program& program, const Tensors& inputs, const Tensors& expected, Random& random) {
  for (int i = 0; i < 20; i++) {
    const auto last = i % 2 ? UINT32_MAX : static_cast<uint32_t>(random.below(program.tiles));
    if (!same_bits(run_in_order(program, inputs, draw_order(program, random, last)), expected)) return true;
  }
  return false;
}

bool seen_with_random_delays(const std::shared_ptr<const Program>& program, const Tensors& inputs,
                             const Tensors& expected) {
  runtime::RunContext::Options options;
  options.random_delay_us = 30;
  SpoiledRun run(engine(3), program, inputs, options);
  for (int i = 0; i < 10; i++) {
    run.spoil(0xff);
    run.run();
    if (!same_bits(run.outputs(), expected)) return true;
  }
  return false;
}

bool seen_as_race(const std::shared_ptr<const Program>& program, const Tensors& inputs) {
  runtime::RunContext::Options options;
  options.random_delay_us = 30;
  SpoiledRun run(engine(3), program, inputs, options);
  for (int i = 0; i < 20; i++) {
    run.run();
    if (take_races() > 0) return true;
  }
  return false;
}

// What the sanitizer prints about races that are expected.
class SilentStderr {
 public:
  SilentStderr() : kept_(dup(STDERR_FILENO)) {
    const int nowhere = open("/dev/null", O_WRONLY);
    dup2(nowhere, STDERR_FILENO);
    close(nowhere);
  }
  ~SilentStderr() {
    dup2(kept_, STDERR_FILENO);
    close(kept_);
  }

 private:
  int kept_;
};

TEST(Teeth, ADroppedEdgeIsSeen) {
  if (address_sanitizer) GTEST_SKIP() << "the order of tiles is no matter of the address sanitizer";
  int dropped = 0, needed = 0, in_orders = 0, with_delays = 0, as_races = 0;
  for_each_model(sees_races ? 6 : 12, [&](const RandomModel& model) {
    constexpr int edges_per_model = 8;
    const Tensors inputs = inputs_of(model);
    Random random(model.seed);
    const TileGraph whole = cut(model, tiles_of(model.seed % 2 ? 1 : 0.2));
    auto intact = bind(whole);
    const Tensors expected = run_in_order(*intact, inputs, serial_order(*intact));
    const std::vector<Edge> edges = edges_of(whole);
    for (int i = 0; i < edges_per_model && !edges.empty(); i++) {
      const Edge edge = random.of(edges);
      auto program = bind(without(whole, edge));
      dropped++;
      if (!is_needed(*program, inputs, expected, tiles_behind(whole, edge), random)) continue;
      needed++;
      in_orders += seen_in_random_orders(*program, inputs, expected, random);
      SilentStderr silent;
      if (sees_races) as_races += seen_as_race(program, inputs);
      else with_delays += seen_with_random_delays(program, inputs, expected);
    }
  });
  const std::string counts = fmt::format(
      "{} edges dropped, {} of them needed; seen in random orders: {}, with random delays: {}, as races: {}", dropped,
      needed, in_orders, with_delays, as_races);
  RecordProperty("counts", counts);
  fmt::print("{}\n", counts);
  EXPECT_GE(needed, 0.6 * dropped);
  EXPECT_GE(in_orders, 0.7 * needed);
  if (sees_races) EXPECT_GE(as_races, 0.4 * needed);
  else EXPECT_GE(with_delays, 0.25 * needed);
}

}  // namespace
}  // namespace pando::test
