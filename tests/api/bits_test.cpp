// Results are the same bits for any number of workers, policy, tile size, batch and instruction set.
#include "models.hpp"

namespace pando::testing {
namespace {

Array run_once(const std::string& path, const Array& x, int threads, const CompileOptions& options = {}) {
  EngineOptions engine_options;
  engine_options.threads = threads;
  Engine engine(engine_options);
  return Model::load(path).compile(engine, options).run({{"x", x}})[0];
}

class SameBits : public ::testing::TestWithParam<std::string (*)(int64_t)> {
 protected:
  std::vector<int64_t> shape(int64_t batch) const {
    std::vector<int64_t> s = Model::load(GetParam()(1)).inputs()[0].shape;
    s[0] = batch;
    return s;
  }
};

TEST_P(SameBits, ForAnyNumberOfWorkersAndPolicy) {
  std::string path = GetParam()(1);
  Array x = random_array(shape(1), 3), expected = run_once(path, x, 1);
  for (float v : expected.as<float>()) ASSERT_TRUE(std::isfinite(v));
  for (int threads : {1, 2, 3, 8})
    for (Policy policy : {Policy::depth_first, Policy::breadth_first, Policy::barrier}) {
      CompileOptions options;
      options.policy = policy;
      EXPECT_TRUE(same_bits(run_once(path, x, threads, options), expected))
          << threads << " threads, policy " << static_cast<int>(policy);
    }
}

TEST_P(SameBits, ForAnyTileSize) {
  std::string path = GetParam()(1);
  Array x = random_array(shape(1), 4), expected = run_once(path, x, 2);
  for (double tile_us : {2.0, 500.0}) {
    CompileOptions options;
    options.tile_us = tile_us;
    EXPECT_TRUE(same_bits(run_once(path, x, 2, options), expected)) << tile_us << " us";
  }
}

// Rounded once per product, in the same way whatever the tiles; errors are those of 8 bits of mantissa.
TEST_P(SameBits, InBfloat16ForAnyTileSize) {
  std::string path = GetParam()(1);
  CompileOptions options;
  options.precision = Precision::bf16;
  Array x = random_array(shape(1), 9), exact = run_once(path, x, 2), expected = run_once(path, x, 1, options);
  float largest = 0, error = 0;
  for (size_t i = 0; i < exact.count(); i++) {
    largest = std::max(largest, std::abs(exact.as<float>()[i]));
    error = std::max(error, std::abs(exact.as<float>()[i] - expected.as<float>()[i]));
  }
  EXPECT_LT(error, 0.05f * largest);
  for (double tile_us : {2.0, 500.0}) {
    options.tile_us = tile_us;
    EXPECT_TRUE(same_bits(run_once(path, x, 2, options), expected)) << tile_us << " us";
  }
}

// On a CPU without AVX-512 the two are one: scripts/avx512.sh runs this on an emulated one.
TEST_P(SameBits, ForAvx2AndAvx512) {
  std::string path = GetParam()(1);
  Array x = random_array(shape(1), 8), expected = run_once(path, x, 2);
  limit_isa("avx2");
  Array y = run_once(path, x, 2);
  limit_isa("avx512");
  EXPECT_TRUE(same_bits(y, expected));
}

TEST_P(SameBits, ForBatchFourAndFourTimesOne) {
  Array x = random_array(shape(4), 5), y = run_once(GetParam()(4), x, 2);
  std::string single = GetParam()(1);
  for (size_t i = 0; i < 4; i++) {
    Array one(DType::f32, shape(1));
    std::memcpy(one.data(), static_cast<std::byte*>(x.data()) + i * one.bytes(), one.bytes());
    Array expected = run_once(single, one, 2);
    EXPECT_EQ(std::memcmp(static_cast<std::byte*>(y.data()) + i * expected.bytes(), expected.data(), expected.bytes()),
              0)
        << "sample " << i;
  }
}

TEST_P(SameBits, ForEveryRunOfAContext) {
  Engine engine;
  Compiled net = Model::load(GetParam()(1)).compile(engine);
  Array x = random_array(shape(1), 6), other = random_array(shape(1), 7);
  Array expected = net.run({{"x", x}})[0];
  for (int i = 0; i < 20; i++) {
    net.run({{"x", other}});  // leaves other values in the arena
    EXPECT_TRUE(same_bits(net.run({{"x", x}})[0], expected)) << "run " << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Models, SameBits, ::testing::Values(small_cnn, small_transformer),
                         [](const auto& test) { return test.index == 0 ? "cnn" : "transformer"; });

}  // namespace
}  // namespace pando::testing
