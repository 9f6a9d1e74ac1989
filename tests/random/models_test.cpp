// Random models through the public API: the same bits however they are cut and scheduled, no access outside the memory
// that is bound, and results near those of the model as it was written.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cmath>
#include <map>

#include "pando/pando.hpp"
#include "support/guarded_memory.hpp"
#include "support/model_sketch.hpp"
#include "support/seeds.hpp"

namespace pando::test {
namespace {

using Arrays = std::vector<Array>;

constexpr std::array worker_counts{1, 2, 3, 8};
constexpr std::array policies{Policy::depth_first, Policy::breadth_first, Policy::barrier};
constexpr std::array tile_times{0.2, 1.0, 20.0, 0.0};
// Of an output's largest element, or of 1: Winograd's and fused operators' rounding after up to 28 operators.
constexpr double tolerance = 2e-4;

// Engines last as long as the program: their threads cost more than a small model.
const Engine& engine(int workers) {
  static std::map<int, Engine> engines;
  auto at = engines.find(workers);
  if (at == engines.end()) {
    EngineOptions options;
    options.threads = workers;
    options.pin = false;  // several engines, and other tests beside this one
    at = engines.emplace(workers, Engine(options)).first;
  }
  return at->second;
}

Model load(const RandomModel& model) { return Model::from_memory(testing_onnx::as_span(model.bytes)); }

Arrays random_inputs(const Compiled& net, uint64_t seed) {
  Random random(seed);
  Arrays inputs;
  for (const Port& port : net.inputs()) {
    inputs.emplace_back(port.dtype, port.shape);
    for (float& x : inputs.back().as<float>()) x = random.uniform();
  }
  return inputs;
}

Arrays make_outputs(const Compiled& net) {
  Arrays outputs;
  for (const Port& port : net.outputs()) {
    outputs.emplace_back(port.dtype, port.shape);
    std::memset(outputs.back().data(), 0xff, outputs.back().bytes());  // NaN where nothing is written
  }
  return outputs;
}

template <class Pointer>
std::vector<Pointer> pointers(const Arrays& arrays) {
  std::vector<Pointer> list;
  for (const Array& a : arrays) list.push_back(a.data());
  return list;
}

Arrays run(Compiled& net, const Arrays& inputs) {
  Arrays outputs = make_outputs(net);
  net.run(pointers<const void*>(inputs), pointers<void*>(outputs));
  return outputs;
}

// The position of the first output that differs in a bit, or -1.
int first_difference(const Arrays& a, const Arrays& b) {
  for (size_t i = 0; i < a.size(); i++)
    if (a[i].shape() != b[i].shape() || std::memcmp(a[i].data(), b[i].data(), a[i].bytes()) != 0)
      return static_cast<int>(i);
  return -1;
}

// Largest difference over the largest element, or over 1; infinity where one is no number and the other is.
double distance(const Array& a, const Array& b) {
  double worst = 0, range = 1;
  for (size_t i = 0; i < a.count(); i++) {
    const double x = a.as<float>()[i], y = b.as<float>()[i];
    if (!std::isfinite(x) || !std::isfinite(y)) return std::numeric_limits<double>::infinity();
    worst = std::max(worst, std::abs(x - y));
    range = std::max(range, std::abs(y));
  }
  return worst / range;
}

TEST(RandomModels, GiveTheSameBitsHoweverTheyAreCutAndScheduled) {
  for_each_model(usual(150), [](const RandomModel& random_model) {
    Model model = load(random_model);
    Compiled serial = model.compile(engine(1));
    const Arrays inputs = random_inputs(serial, 1), expected = run(serial, inputs);
    Random random(random_model.seed);
    for (double tile_us : tile_times)
      for (Policy policy : policies) {
        CompileOptions options;
        options.tile_us = tile_us;
        options.policy = policy;
        const int workers = worker_counts[static_cast<size_t>(random.below(std::ssize(worker_counts)))];
        Compiled net = model.compile(engine(workers), options);
        for (int repeat = 0; repeat < 2; repeat++)  // the second time with what the first one left in memory
          ASSERT_EQ(first_difference(run(net, inputs), expected), -1)
              << "an output differs with " << workers << " workers, policy " << static_cast<int>(policy)
              << ", tiles of " << tile_us << " us, run " << repeat;
      }
  });
}

TEST(RandomModels, GiveTheSameBitsWithSeveralRunsInFlight) {
  for_each_model(usual(150), [](const RandomModel& random_model) {
    constexpr int in_flight = 3, rounds = 4;
    Model model = load(random_model);
    CompileOptions options;
    options.contexts = in_flight;
    options.tile_us = tile_times[random_model.seed % tile_times.size()];
    Compiled net = model.compile(engine(3), options);
    std::vector<Arrays> inputs, expected, outputs(in_flight);
    for (int i = 0; i < in_flight; i++) {
      inputs.push_back(random_inputs(net, static_cast<uint64_t>(i)));
      expected.push_back(run(net, inputs.back()));
    }
    for (int round = 0; round < rounds; round++) {
      std::atomic<int> left{in_flight};
      for (int i = 0; i < in_flight; i++) {
        auto at = static_cast<size_t>(i);
        outputs[at] = make_outputs(net);
        net.submit(pointers<const void*>(inputs[at]), pointers<void*>(outputs[at]), [&left](const Error* error) {
          EXPECT_EQ(error, nullptr);
          left.fetch_sub(1, std::memory_order_release);
          left.notify_one();
        });
      }
      for (int now; (now = left.load(std::memory_order_acquire)) > 0;) left.wait(now);
      for (size_t i = 0; i < in_flight; i++)
        ASSERT_EQ(first_difference(outputs[i], expected[i]), -1) << "an output of run " << i << " differs";
    }
  });
}

// Inputs and outputs lie right before and right behind pages that crash, inputs in pages that cannot be written.
TEST(RandomModels, KeepToTheMemoryThatIsBound) {
  for_each_model(usual(150), [](const RandomModel& random_model) {
    CompileOptions options;
    options.tile_us = tile_times[random_model.seed % tile_times.size()];
    Compiled net = load(random_model).compile(engine(2), options);
    const Arrays inputs = random_inputs(net, 1), expected = run(net, inputs);
    for (GuardedMemory::Side side : {GuardedMemory::begin, GuardedMemory::end}) {
      std::vector<std::unique_ptr<GuardedMemory>> in, out;
      std::vector<const void*> from;
      std::vector<void*> to;
      for (const Array& array : inputs) {
        in.push_back(std::make_unique<GuardedMemory>(array.bytes(), side));
        std::memcpy(in.back()->data(), array.data(), array.bytes());
        in.back()->make_read_only();
        from.push_back(in.back()->data());
      }
      for (const Array& array : expected) {
        out.push_back(std::make_unique<GuardedMemory>(array.bytes(), side));
        to.push_back(out.back()->data());
      }
      net.run(from, to);
      for (size_t i = 0; i < out.size(); i++) {
        EXPECT_TRUE(out[i]->intact()) << "a write beside output " << i;
        EXPECT_EQ(std::memcmp(out[i]->data(), expected[i].data(), expected[i].bytes()), 0) << "output " << i;
      }
    }
  });
}

TEST(RandomModels, AreNearTheModelAsItWasWritten) {
  for_each_model(usual(150), [](const RandomModel& random_model) {
    Model model = load(random_model);
    CompileOptions as_written;
    as_written.optimize = false;
    as_written.winograd = false;
    Compiled net = model.compile(engine(2)), plain = model.compile(engine(2), as_written);
    const Arrays inputs = random_inputs(net, 1), outputs = run(net, inputs), expected = run(plain, inputs);
    for (size_t i = 0; i < outputs.size(); i++)
      EXPECT_LE(distance(outputs[i], expected[i]), tolerance) << "output " << net.outputs()[i].name;
  });
}

}  // namespace
}  // namespace pando::test
