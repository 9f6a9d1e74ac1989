// Random models stage by stage: any order of tiles that the edges allow, random delays, memory that was left dirty, the
// operators' references.
#include <array>
#include <atomic>

#include "random/stages.hpp"

namespace pando::test {
namespace {

constexpr std::array tile_times{0.2, 1.0, 20.0, 0.0};

TileOptions draw_options(Random& random) {
  TileOptions options = tiles_of(tile_times[static_cast<size_t>(random.below(std::ssize(tile_times)))]);
  options.barrier = random.chance(0.2);
  options.reuse = random.chance(0.8);
  return options;
}

// Every linear order that the edges allow is one that a run may take.
TEST(RandomTiles, GiveTheSameBitsInAnyOrder) {
  for_each_model(usual(100), [](const RandomModel& model) {
    const Tensors inputs = inputs_of(model);
    Random random(model.seed);
    auto first = bind(cut(model));
    const Tensors expected = run_in_order(*first, inputs, serial_order(*first));
    for (double tile_us : tile_times) {
      const TileGraph tiles = cut(model, tiles_of(tile_us));
      auto program = bind(tiles);
      for (int i = 0; i < 8; i++) {
        const auto last = i < 3 ? UINT32_MAX : static_cast<uint32_t>(random.below(program->tiles));
        const auto order = draw_order(*program, random, last);
        ASSERT_EQ(order.size(), program->tiles);
        ASSERT_TRUE(same_bits(run_in_order(*program, inputs, order, &tiles), expected))
            << "tiles of " << tile_us << " us, order " << i << ", held back: tile " << last;
      }
    }
  });
}

TEST(RandomTiles, GiveTheSameBitsWithRandomDelaysInDirtyMemory) {
  for_each_model(usual(25), [](const RandomModel& model) {
    constexpr int in_flight = 3;
    const Tensors inputs = inputs_of(model);
    Random random(model.seed);
    const TileGraph tiles = cut(model, draw_options(random));
    auto program = bind(tiles);
    const Tensors expected = run_in_order(*program, inputs, serial_order(*program));
    runtime::RunContext::Options options;
    options.random_delay_us = 20;
    options.policy = random.chance(0.5) ? Policy::depth_first : Policy::breadth_first;
    for (int workers : {1, 2, 3, 8}) {
      std::vector<std::unique_ptr<SpoiledRun>> runs;
      for (int i = 0; i < in_flight; i++)
        runs.push_back(std::make_unique<SpoiledRun>(engine(workers), program, inputs, options));
      for (int byte : {0xff, 0x3c}) {
        for (auto& run : runs) run->spoil(byte);
        std::atomic<int> left{in_flight};
        for (auto& run : runs)
          run->submit([&left] {
            left.fetch_sub(1, std::memory_order_release);
            left.notify_one();
          });
        for (int now; (now = left.load(std::memory_order_acquire)) > 0;) left.wait(now);
        for (auto& run : runs) ASSERT_TRUE(same_bits(run->outputs(), expected)) << workers << " workers";
      }
    }
  });
}

TEST(RandomTiles, AreNearTheReferencesOfTheModelAsItWasWritten) {
  for_each_model(usual(300), [](const RandomModel& model) {
    const Tensors inputs = inputs_of(model);
    auto program = bind(cut(model));
    const Tensors outputs = run_in_order(*program, inputs, serial_order(*program));
    const Tensors expected = evaluate(testing_onnx::import_model(model.bytes), inputs);
    for (size_t i = 0; i < outputs.size(); i++) expect_close(*outputs[i], *expected[i], 2e-4);
  });
}

// No pass and no later stage may need what another pass did.
TEST(RandomTiles, AreNearTheReferencesWhateverPassesAreLeftOut) {
  for_each_model(usual(300), [](const RandomModel& model) {
    const Graph written = testing_onnx::import_model(model.bytes);
    const Tensors inputs = inputs_of(model), expected = evaluate(written, inputs);
    Random random(model.seed);
    OptimizeOptions options;
    std::string skipped;
    const double share = random.chance(0.5) ? 0.1 : 0.5;
    for (const std::string& name : pass_names())
      if (random.chance(share)) options.skip.push_back(name), skipped += " " + name;
    auto program = bind(tile(optimize(written, options), Machine::host()));
    const Tensors outputs = run_in_order(*program, inputs, serial_order(*program));
    SCOPED_TRACE("without" + skipped);
    for (size_t i = 0; i < outputs.size(); i++) expect_close(*outputs[i], *expected[i], 2e-4);
  });
}

}  // namespace
}  // namespace pando::test
