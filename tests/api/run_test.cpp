// Running: contexts, callbacks, cancelling, several models in one engine, what wrong arguments give.
#include <atomic>
#include <chrono>
#include <cmath>
#include <ctime>
#include <future>
#include <nlohmann/json.hpp>
#include <thread>

#include "models.hpp"

namespace pando::testing {
namespace {

// One run with memory of its own.
struct Bound {
  Array x, y;
  const void* in[1];
  void* out[1];
  Bound(const Compiled& net, uint32_t seed)
      : x(random_array(net.inputs()[0].shape, seed)),
        y(DType::f32, net.outputs()[0].shape),
        in{x.data()},
        out{y.data()} {}
};

TEST(Run, NamesAndDescribesInputsAndOutputs) {
  Engine engine = engine_of(1);
  Model model = Model::load(small_cnn());
  Compiled net = model.compile(engine);
  ASSERT_EQ(net.inputs().size(), 1u);
  EXPECT_EQ(net.inputs()[0].name, "x");
  EXPECT_EQ(net.outputs()[0].name, "y");
  EXPECT_EQ(net.outputs()[0].shape, (std::vector<int64_t>{1, 10}));
  EXPECT_EQ(net.outputs()[0].dtype, DType::f32);
  EXPECT_GT(net.stats().tiles, 10u);
  EXPECT_GT(net.stats().matrix_flops, 1e6);
}

TEST(Run, LoadsFromMemory) {
  std::string path = small_cnn();
  std::vector<std::byte> bytes(std::filesystem::file_size(path));
  std::FILE* f = std::fopen(path.c_str(), "rb");
  ASSERT_EQ(std::fread(bytes.data(), 1, bytes.size(), f), bytes.size());
  std::fclose(f);
  Engine engine = engine_of(2);
  Model model = Model::from_memory(bytes);
  std::fill(bytes.begin(), bytes.end(), std::byte{0});  // the model has its own copy
  Array x = random_array({1, 3, 40, 36}, 1);
  EXPECT_TRUE(
      same_bits(model.compile(engine).run({{"x", x}})[0], Model::load(path).compile(engine).run({{"x", x}})[0]));
}

TEST(Run, ManyRunsInFlight) {
  Engine engine = engine_of(3);
  CompileOptions options;
  options.contexts = 3;
  Compiled net = Model::load(small_cnn()).compile(engine, options);
  std::vector<Array> expected;
  std::vector<std::unique_ptr<Bound>> runs;
  for (uint32_t i = 0; i < 24; i++) {
    runs.push_back(std::make_unique<Bound>(net, i));
    expected.push_back(net.run({{"x", runs[i]->x}})[0]);
  }
  std::atomic<int> ended{0};
  for (auto& r : runs)
    net.submit(r->in, r->out, [&](const Error* error) {
      EXPECT_EQ(error, nullptr);
      ended++;
      ended.notify_all();
    });
  for (int n; (n = ended) < 24;) ended.wait(n);
  for (size_t i = 0; i < runs.size(); i++) EXPECT_TRUE(same_bits(runs[i]->y, expected[i])) << i;
}

TEST(Run, ManyCallersShareOneContext) {
  Engine engine = engine_of(2);
  Compiled net = Model::load(small_transformer()).compile(engine);
  std::vector<std::thread> callers;
  for (uint32_t t = 0; t < 4; t++)
    callers.emplace_back([&, t] {
      Bound mine(net, t);
      Array expected = net.run({{"x", mine.x}})[0];
      for (int i = 0; i < 10; i++) {
        net.run(mine.in, mine.out);
        EXPECT_TRUE(same_bits(mine.y, expected));
      }
    });
  for (std::thread& c : callers) c.join();
}

TEST(Run, TwoModelsInOneEngine) {
  Engine engine = engine_of(2);
  Compiled cnn = Model::load(small_cnn()).compile(engine),
           transformer = Model::load(small_transformer()).compile(engine);
  Bound a(cnn, 1), b(transformer, 2);
  Array ya = cnn.run({{"x", a.x}})[0], yb = transformer.run({{"x", b.x}})[0];
  auto repeat = [](Compiled& net, Bound& run, const Array& expected) {
    for (int i = 0; i < 20; i++) {
      net.run(run.in, run.out);
      EXPECT_TRUE(same_bits(run.y, expected));
    }
  };
  std::thread other([&] { repeat(transformer, b, yb); });
  repeat(cnn, a, ya);
  other.join();
}

TEST(Run, CallbackMayDropModelAndEngine) {
  for (int i = 0; i < 5; i++) {
    auto engine = std::make_shared<Engine>(engine_of(2));
    auto net = std::make_shared<Compiled>(Model::load(small_cnn()).compile(*engine));
    auto run = std::make_shared<Bound>(*net, 1);
    auto ended = std::make_shared<std::promise<void>>();
    auto future = ended->get_future();
    Compiled& model = *net;
    model.submit(run->in, run->out, [=](const Error*) mutable {
      net.reset();
      engine.reset();
      ended->set_value();
    });
    net.reset();
    engine.reset();
    EXPECT_EQ(future.wait_for(std::chrono::seconds(20)), std::future_status::ready);
  }
}

TEST(Run, CallbackMaySubmitTheNextRun) {
  Engine engine = engine_of(2);
  Compiled net = Model::load(small_cnn()).compile(engine);
  Bound run(net, 1);
  std::promise<void> ended;
  int left = 10;
  std::function<void(const Error*)> next = [&](const Error* error) {
    EXPECT_EQ(error, nullptr);
    if (--left > 0) net.submit(run.in, run.out, next);
    else ended.set_value();
  };
  net.submit(run.in, run.out, next);
  EXPECT_EQ(ended.get_future().wait_for(std::chrono::seconds(20)), std::future_status::ready);
  EXPECT_TRUE(same_bits(run.y, net.run({{"x", run.x}})[0]));
}

TEST(Cancel, EndsARunAndLeavesTheEngineAsNew) {
  Engine engine = engine_of(2);
  CompileOptions slow;
  slow.spin_kernels_us = 20000;
  Model model = Model::load(small_cnn());
  Compiled net = model.compile(engine, slow), plain = model.compile(engine);
  Bound run(net, 1);
  Array expected = plain.run({{"x", run.x}})[0];
  CancelToken token;
  RunOptions options;
  options.cancel = &token;
  std::thread canceller([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    token.cancel();
  });
  const std::clock_t begin = std::clock();
  std::string text = error_of([&] { net.run(run.in, run.out, options); }, ErrorCode::cancelled);
  const double cpu_seconds = static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
  canceller.join();
  EXPECT_TRUE(holds(text, "cancelled"));
  EXPECT_LT(cpu_seconds, 0.015 * static_cast<double>(net.stats().tiles));  // three quarters of the whole run
  token.reset();
  plain.run(run.in, run.out, options);
  EXPECT_TRUE(same_bits(run.y, expected));
  token.cancel();
  std::promise<ErrorCode> ended;
  plain.submit(
      run.in, run.out, [&](const Error* e) { ended.set_value(e ? e->code() : ErrorCode::internal); }, &token);
  EXPECT_EQ(ended.get_future().get(), ErrorCode::cancelled);
}

TEST(Cancel, EndsLoading) {
  Engine engine = engine_of(1);
  CancelToken token;
  CompileOptions options;
  options.cancel = &token;
  options.progress = [&](const char* stage, double) {
    if (std::string(stage) == "tile") token.cancel();
  };
  error_of([&] { Model::load(small_cnn()).compile(engine, options); }, ErrorCode::cancelled);
}

TEST(Progress, RisesFromLoadToTheEndOfARun) {
  Engine engine = engine_of(2);
  CompileOptions options;
  std::vector<std::string> stages;
  options.progress = [&](const char* stage, double fraction) {
    EXPECT_GE(fraction, 0);
    EXPECT_LE(fraction, 1);
    if (stages.empty() || stages.back() != stage) stages.push_back(stage);
  };
  options.spin_kernels_us = 1000;
  Compiled net = Model::load(small_cnn()).compile(engine, options);
  EXPECT_EQ(stages, (std::vector<std::string>{"import", "optimize", "tile", "bind"}));
  Bound run(net, 1);
  RunOptions how;
  std::vector<double> seen;
  std::thread::id caller = std::this_thread::get_id();
  how.progress = [&](double fraction) {
    EXPECT_EQ(std::this_thread::get_id(), caller);
    seen.push_back(fraction);
  };
  net.run(run.in, run.out, how);
  ASSERT_FALSE(seen.empty());
  EXPECT_TRUE(std::is_sorted(seen.begin(), seen.end()));
  EXPECT_EQ(seen.back(), 1);
  how.progress = [](double) { throw std::runtime_error("enough"); };
  EXPECT_THROW(net.run(run.in, run.out, how), std::runtime_error);
  how.progress = nullptr;
  net.run(run.in, run.out, how);  // the context is free again
}

TEST(Errors, NameWhatIsWrongWithInputs) {
  Engine engine = engine_of(1);
  Compiled net = Model::load(small_cnn()).compile(engine);
  Array x = random_array({1, 3, 40, 36}, 1);
  constexpr ErrorCode code = ErrorCode::invalid_argument;
  EXPECT_TRUE(holds(error_of([&] { net.run(std::map<std::string, Array>{}); }, code), "'x'"));
  EXPECT_TRUE(holds(error_of([&] { net.run({{"x", x}, {"z", x}}); }, code), "'z'"));
  std::string wrong_shape = error_of([&] { net.run({{"x", random_array({1, 3, 36, 40}, 1)}}); }, code);
  EXPECT_TRUE(holds(wrong_shape, "[1,3,40,36]"));
  EXPECT_TRUE(holds(wrong_shape, "[1,3,36,40]"));
  std::string wrong_type = error_of([&] { net.run({{"x", Array(DType::f64, {1, 3, 40, 36})}}); }, code);
  EXPECT_TRUE(holds(wrong_type, "float32"));
  EXPECT_TRUE(holds(wrong_type, "float64"));
  Bound run(net, 1);
  const void* null_input[] = {nullptr};
  error_of([&] { net.run(null_input, run.out); }, code);
  const void* odd_input[] = {static_cast<std::byte*>(run.x.data()) + 1};
  EXPECT_TRUE(holds(error_of([&] { net.run(odd_input, run.out); }, code), "'x'"));
  error_of([&] { net.run(std::span<const void* const>{}, run.out); }, code);
}

TEST(Errors, NameWhatIsWrongWithModelsAndOptions) {
  EXPECT_TRUE(holds(error_of([] { Model::load("/nowhere/model.onnx"); }, ErrorCode::io), "/nowhere/model.onnx"));
  std::vector<std::byte> noise(100, std::byte{0x5a});
  error_of([&] { Model::from_memory(noise); }, ErrorCode::invalid_model);
  Engine engine = engine_of(1);
  Model model = Model::load(small_cnn());
  constexpr ErrorCode code = ErrorCode::invalid_argument;
  CompileOptions options;
  options.contexts = 0;
  error_of([&] { model.compile(engine, options); }, code);
  options = {};
  for (const double tile_us : {-1.0, double{NAN}}) {
    options.tile_us = tile_us;
    error_of([&] { model.compile(engine, options); }, code);
  }
  options = {};
  for (const double us : {-1.0, double{NAN}, HUGE_VAL}) {
    options.spin_kernels_us = us;
    error_of([&] { model.compile(engine, options); }, code);
    error_of([&] { measure_peak_gflops(1, us); }, code);
  }
  options = {};
  options.policy = static_cast<Policy>(3);
  error_of([&] { model.compile(engine, options); }, code);
  options = {};
  options.shapes["x"] = {1, 3, 50, 36};
  EXPECT_TRUE(holds(error_of([&] { model.compile(engine, options); }, code), "[1,3,50,36]"));
  options.shapes = {{"q", {1}}};
  EXPECT_TRUE(holds(error_of([&] { model.compile(engine, options); }, code), "'q'"));
  error_of([] { engine_of(-1); }, code);
  Compiled net = model.compile(engine);
  error_of([&] { net.trace_json(); }, code);
  error_of([&] { net.inspect_json(); }, code);
  error_of([&] { Array(DType::f32, {2, -1}); }, code);
  error_of([&] { Array(static_cast<DType>(dtype_count), {2}); }, code);
  Bound run(net, 1);
  error_of([&] { net.submit(run.in, run.out, nullptr); }, code);
  error_of([&] { Array(DType::f32, {int64_t{1} << 40, int64_t{1} << 40}); }, code);
  EXPECT_EQ(Array(DType::f32, {0, 3}).count(), 0u);
}

TEST(Errors, NameTheInputThatShapesDependOn) {
  OnnxWriter w("reshape", 1);
  w.input("x", Type::f32, {6, 4});
  w.input("shape", Type::i64, {2});
  w.output("y", Type::f32, {-1, -1});
  w.node("Reshape", {"x", "shape"}, {}, "y");
  std::string path = temporary("reshape.onnx");
  w.write(path);
  Engine engine = engine_of(1);
  Model model = Model::load(path);
  CompileOptions options;
  try {
    model.compile(engine, options);
    FAIL() << "no error";
  } catch (const InputValueNeeded& e) {
    EXPECT_EQ(e.input, "shape");
    EXPECT_TRUE(holds(e.what(), "CompileOptions::values"));
  }
  Array shape(DType::i64, {2});
  shape.as<int64_t>()[0] = 8, shape.as<int64_t>()[1] = 3;
  options.values["shape"] = shape;
  Compiled net = model.compile(engine, options);
  ASSERT_EQ(net.inputs().size(), 1u);
  EXPECT_EQ(net.outputs()[0].shape, (std::vector<int64_t>{8, 3}));
  Array x = random_array({6, 4}, 1);
  EXPECT_EQ(std::memcmp(net.run({{"x", x}})[0].data(), x.data(), x.bytes()), 0);
}

TEST(Trace, ShowsEveryTileOnItsWorker) {
  Engine engine = engine_of(2);
  CompileOptions options;
  options.inspect = true;
  Compiled net = Model::load(small_cnn()).compile(engine, options);
  Bound run(net, 1);
  RunOptions traced;
  traced.trace = true;
  for (int i = 0; i < 3; i++) net.run(run.in, run.out, traced);
  EXPECT_TRUE(same_bits(run.y, net.run({{"x", run.x}})[0]));
  EXPECT_GE(net.idle_fraction(), 0);
  EXPECT_LT(net.idle_fraction(), 1);
  EXPECT_GT(net.matrix_gflops(), 0);
  nlohmann::json trace = nlohmann::json::parse(net.trace_json());
  std::map<std::string, size_t> phases;
  std::vector<bool> seen(net.stats().tiles);
  for (const auto& event : trace["traceEvents"]) {
    std::string phase = event["ph"];
    phases[phase]++;
    if (phase != "X" || event["cat"] == "idle") continue;
    EXPECT_LT(event["tid"].get<int>(), 2);
    EXPECT_GE(event["dur"].get<double>(), 0);
    EXPECT_FALSE(event["args"]["box"].get<std::string>().empty());
    seen.at(event["args"]["tile"].get<size_t>()) = true;
  }
  EXPECT_EQ(std::count(seen.begin(), seen.end(), true), static_cast<long>(seen.size()));
  EXPECT_EQ(phases["s"], phases["f"]);
  EXPECT_GT(phases["s"], 0u);
  EXPECT_GT(phases["C"], 0u);
}

TEST(Inspect, AddsUp) {
  Engine engine = engine_of(1);
  CompileOptions options;
  options.inspect = true;
  Compiled net = Model::load(small_cnn()).compile(engine, options);
  nlohmann::json all = nlohmann::json::parse(net.inspect_json(true));
  size_t tiles = 0;
  for (const auto& row : all["operators"]) tiles += row["tiles"].get<size_t>();
  EXPECT_EQ(tiles, net.stats().tiles);
  EXPECT_EQ(all["tiles"].size(), net.stats().tiles);
  EXPECT_GE(all["graph"]["parallelism"].get<double>(), 1);
  EXPECT_EQ(all["inputs"][0]["bytes"].get<size_t>(), 4u * 3 * 40 * 36);
  EXPECT_FALSE(nlohmann::json::parse(net.inspect_json()).contains("tiles"));
}

TEST(Passes, AnyMayBeLeftOut) {
  Engine engine = engine_of(2);
  for (const std::string& path : {small_cnn(), small_transformer()}) {
    Model model = Model::load(path);
    CompileOptions options;
    std::map<std::string, Array> inputs;
    Compiled all = model.compile(engine, options);
    for (const Port& port : all.inputs()) inputs[port.name] = random_array(port.shape, 5);
    const Array expected = all.run(inputs)[0];
    for (const std::string& name : optimizer_passes()) {
      options.skip_passes = {name};
      Compiled net = model.compile(engine, options);
      const Array actual = net.run(inputs)[0];
      for (size_t i = 0; i < actual.count(); i++)
        ASSERT_NEAR(actual.as<float>()[i], expected.as<float>()[i], 1e-4) << name;
      for (const PassRun& run : net.stats().passes) EXPECT_NE(run.name, name);
      EXPECT_LT(net.stats().passes.size(), all.stats().passes.size());
    }
    options.skip_passes = {"fuse_maps", "fuse"};
    EXPECT_TRUE(holds(error_of([&] { model.compile(engine, options); }, ErrorCode::invalid_argument), "'fuse'"));
  }
}

TEST(Passes, GraphsComeAsText) {
  Engine engine = engine_of(1);
  Model model = Model::load(small_cnn());
  CompileOptions options;
  std::vector<std::string> names{"imported"}, after;
  options.graph_text = [&](const std::string& pass, const std::string& text) {
    after.push_back(pass);
    EXPECT_NE(text.find("output y: float32[1,10]\n"), text.npos) << text;
  };
  Compiled net = model.compile(engine, options);
  for (const PassRun& run : net.stats().passes) names.push_back(run.name);
  EXPECT_EQ(after, names);
  after.clear();
  options.optimize = false;
  EXPECT_TRUE(model.compile(engine, options).stats().passes.empty());
  EXPECT_EQ(after, std::vector<std::string>{"imported"});
  options.graph_text = [](const std::string&, const std::string&) { throw std::runtime_error("enough"); };
  EXPECT_THROW(model.compile(engine, options), std::runtime_error);
}

TEST(Library, SaysWhatItIs) {
  EXPECT_STRNE(version(), "");
  EXPECT_FALSE(cpu_description().empty());
  EXPECT_FALSE(limit_isa("mmx"));
  EXPECT_GT(measure_peak_gflops(1, 2), 0.1);
  std::vector<std::string> ops = supported_onnx_operators();
  EXPECT_NE(std::find(ops.begin(), ops.end(), "Conv"), ops.end());
}

TEST(Predict, TheOrderOnOneCoreAndLessTimeOnMore) {
  for (Policy policy : {Policy::depth_first, Policy::breadth_first, Policy::barrier}) {
    Engine engine = engine_of(1);
    CompileOptions options;
    options.policy = policy;
    options.tile_us = 2;  // many tiles
    Compiled net = Model::load(small_cnn()).compile(engine, options);
    Bound run(net, 3);
    nlohmann::json j = nlohmann::json::parse(net.predict_json(run.in, run.out, {.cores = {1, 2, 64}, .runs = 3}));
    EXPECT_EQ(j["cores"][0]["order_as_executed"], true);
    EXPECT_EQ(j["cores"][0]["steals"], 0);
    EXPECT_LT(j["cores"][1]["predicted_ms"], j["cores"][0]["predicted_ms"]);
    EXPECT_LE(j["cores"][1]["speedup"].get<double>(), 2.0001);
    EXPECT_EQ(
        error_of([&] { net.predict_json(run.in, run.out, {.cores = {0}, .runs = 3}); }, ErrorCode::invalid_argument),
        "0 cores: expected 1 to 4096");
  }
  Engine two = engine_of(2);
  Compiled net = Model::load(small_cnn()).compile(two);
  Bound run(net, 3);
  EXPECT_NE(
      error_of([&] { net.predict_json(run.in, run.out, {.cores = {2}, .runs = 3}); }, ErrorCode::invalid_argument), "");
}

TEST(Predict, StopsAtAToken) {
  Engine engine = engine_of(1);
  Compiled net = Model::load(small_cnn()).compile(engine);
  Bound run(net, 3);
  CancelToken token;
  EXPECT_FALSE(net.predict_json(run.in, run.out, {.cores = {2}, .runs = 1, .cancel = &token}).empty());
  std::thread later([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    token.cancel();
  });
  error_of([&] { net.predict_json(run.in, run.out, {.cores = {2}, .runs = 1000000, .cancel = &token}); },
           ErrorCode::cancelled);
  later.join();
}

}  // namespace
}  // namespace pando::testing
