// The C interface: the same results, and errors as status and text.
#include <atomic>

#include "models.hpp"
#include "pando/pando.h"

namespace pando::testing {
namespace {

struct CApi : ::testing::Test {
  pando_engine* engine = nullptr;
  pando_model* model = nullptr;
  pando_compiled* net = nullptr;
  void SetUp() override {
    ASSERT_EQ(pando_engine_create(2, &engine), PANDO_OK);
    ASSERT_EQ(pando_model_load(small_cnn().c_str(), &model), PANDO_OK) << pando_last_error();
    ASSERT_EQ(pando_compile(model, engine, nullptr, &net), PANDO_OK) << pando_last_error();
  }
  void TearDown() override {
    pando_model_destroy(model);
    pando_engine_destroy(engine);  // the compiled model keeps what it needs
    pando_compiled_destroy(net);
  }
};

TEST_F(CApi, RunsAsTheOtherOneDoes) {
  pando_port in, out;
  ASSERT_EQ(pando_compiled_input_count(net), 1u);
  ASSERT_EQ(pando_compiled_output_count(net), 1u);
  ASSERT_EQ(pando_compiled_input(net, 0, &in), PANDO_OK);
  ASSERT_EQ(pando_compiled_output(net, 0, &out), PANDO_OK);
  EXPECT_STREQ(in.name, "x");
  EXPECT_STREQ(out.name, "y");
  EXPECT_EQ(in.rank, 4u);
  EXPECT_EQ(in.shape[2], 40);
  EXPECT_EQ(in.bytes, sizeof(float) * 3 * 40 * 36);
  Array x = random_array({1, 3, 40, 36}, 1), y(DType::f32, {1, 10});
  const void* inputs[] = {x.data()};
  void* outputs[] = {y.data()};
  ASSERT_EQ(pando_run(net, inputs, outputs, nullptr), PANDO_OK) << pando_last_error();
  Engine cpp_engine;
  EXPECT_TRUE(same_bits(y, Model::load(small_cnn()).compile(cpp_engine).run({{"x", x}})[0]));

  pando_cancel_token* token = nullptr;
  ASSERT_EQ(pando_cancel_token_create(&token), PANDO_OK);
  pando_cancel_token_cancel(token);
  EXPECT_EQ(pando_run(net, inputs, outputs, token), PANDO_CANCELLED);
  pando_cancel_token_reset(token);
  std::atomic<int> status{-1};
  auto done = [](void* user, pando_status s, const char*) {
    auto* to = static_cast<std::atomic<int>*>(user);
    *to = s;
    to->notify_one();
  };
  ASSERT_EQ(pando_submit(net, inputs, outputs, done, &status, token), PANDO_OK);
  status.wait(-1);
  EXPECT_EQ(status, PANDO_OK);
  pando_cancel_token_destroy(token);
}

TEST_F(CApi, TakesOptions) {
  pando_options* options = nullptr;
  ASSERT_EQ(pando_options_create(&options), PANDO_OK);
  EXPECT_EQ(pando_options_set_policy(options, "barrier"), PANDO_OK);
  EXPECT_EQ(pando_options_set_policy(options, "fastest"), PANDO_INVALID_ARGUMENT);
  EXPECT_TRUE(holds(pando_last_error(), "fastest"));
  EXPECT_EQ(pando_options_set_contexts(options, 2), PANDO_OK);
  EXPECT_EQ(pando_options_set_tile_us(options, 20), PANDO_OK);
  EXPECT_EQ(pando_options_set_winograd(options, 0), PANDO_OK);
  EXPECT_EQ(pando_options_set_precision(options, "bf16"), PANDO_OK);
  EXPECT_EQ(pando_options_set_precision(options, "fp8"), PANDO_INVALID_ARGUMENT);
  EXPECT_EQ(pando_options_set_precision(options, "model"), PANDO_OK);
  int calls = 0;
  auto count = [](void* user, const char*, double) { ++*static_cast<int*>(user); };
  EXPECT_EQ(pando_options_set_progress(options, count, &calls), PANDO_OK);
  pando_compiled* other = nullptr;
  EXPECT_EQ(pando_compile(model, engine, options, &other), PANDO_OK) << pando_last_error();
  EXPECT_GT(calls, 2);
  pando_compiled_destroy(other);
  const int64_t shape[] = {1, 3, 50, 50};
  EXPECT_EQ(pando_options_set_shape(options, "x", shape, 4), PANDO_OK);
  EXPECT_EQ(pando_compile(model, engine, options, &other), PANDO_INVALID_ARGUMENT);
  pando_options_destroy(options);
}

TEST_F(CApi, TurnsErrorsIntoStatus) {
  pando_model* none = nullptr;
  EXPECT_EQ(pando_model_load("/nowhere", &none), PANDO_IO);
  EXPECT_TRUE(holds(pando_last_error(), "/nowhere"));
  EXPECT_EQ(pando_model_load_memory("noise", 5, nullptr, &none), PANDO_INVALID_MODEL);
  EXPECT_EQ(pando_model_load(nullptr, &none), PANDO_INVALID_ARGUMENT);
  EXPECT_EQ(pando_engine_create(-3, &engine), PANDO_INVALID_ARGUMENT);
  pando_port port;
  EXPECT_EQ(pando_model_input(model, 7, &port), PANDO_INVALID_ARGUMENT);
  EXPECT_EQ(pando_model_input(nullptr, 0, &port), PANDO_INVALID_ARGUMENT);
  const void* inputs[] = {nullptr};
  void* outputs[] = {nullptr};
  EXPECT_EQ(pando_run(net, inputs, outputs, nullptr), PANDO_INVALID_ARGUMENT);
  EXPECT_EQ(pando_run(net, nullptr, outputs, nullptr), PANDO_INVALID_ARGUMENT);
  EXPECT_EQ(pando_run(nullptr, inputs, outputs, nullptr), PANDO_INVALID_ARGUMENT);
  EXPECT_STRNE(pando_version(), "");
  pando_engine_destroy(nullptr);
}

}  // namespace
}  // namespace pando::testing
