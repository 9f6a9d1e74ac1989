// Compiled models in files: the same results, what does not fit, damage.
#include <sys/stat.h>

#include <random>

#include "import/model_writer.hpp"
#include "models.hpp"
#include "pando/pando.h"

namespace pando::testing {
namespace {

namespace fs = std::filesystem;
namespace onnx = testing_onnx;

std::string conv_classifier() {
  const std::string path = temporary("compiled_cnn.onnx");
  fs::copy_file(small_cnn(), path, fs::copy_options::overwrite_existing);
  return path;
}

// Operators that run by their references, with attributes and with none, of several types.
std::string odd_operators() {
  const std::string path = temporary("compiled_odd.onnx");
  onnx::ModelWriter m;
  m.input("x", onnx::f32, {6, 10}).output("y").output("i");
  m.ints("axis", {1}).ints("k", {3});
  m.node("Cast", {"x"}, {"wide"}, {onnx::attr("to", int64_t{11})});  // float64
  m.node("CumSum", {"wide", "axis"}, {"sum"}, {onnx::attr("reverse", int64_t{1})});
  m.node("Cast", {"sum"}, {"narrow"}, {onnx::attr("to", int64_t{1})});
  m.node("TopK", {"narrow", "k"}, {"y", "i"}, {onnx::attr("axis", int64_t{1})});
  write(path, m.bytes());
  return path;
}

std::string recurrent() {
  const std::string path = temporary("compiled_lstm.onnx");
  OnnxWriter w("lstm", 4);
  w.input("x", Type::f32, {7, 2, 12});
  w.output("y", Type::f32, {7, 1, 2, 20});
  w.node("LSTM", {"x", w.random("w", {1, 80, 12}, 0.3f), w.random("r", {1, 80, 20}, 0.3f)}, {{"hidden_size", 20}}, "y");
  w.write(path);
  return path;
}

class CompiledFiles : public ::testing::Test {
 protected:
  // Compiles a model and saves it beside it.
  fs::path save(const std::string& path, const CompileOptions& options = {}) {
    const Model model = Model::load(path);
    const std::string to = path + ".pando";
    model.save(model.compile(engine_, options), to);
    return to;
  }
  std::vector<Array> results(const Model& model, const CompileOptions& options = {}) {
    Compiled net = model.compile(engine_, options);
    std::map<std::string, Array> inputs;
    for (const Port& port : net.inputs()) inputs[port.name] = random_array(port.shape, 5);
    return net.run(inputs);
  }
  static void expect_same(const std::vector<Array>& a, const std::vector<Array>& b) {
    ASSERT_EQ(a.size(), b.size());
    for (size_t i = 0; i < a.size(); i++) EXPECT_TRUE(same_bits(a[i], b[i]));
  }
  Engine engine_ = engine_of(2);
};

TEST_F(CompiledFiles, GiveTheSameBits) {
  for (const std::string& path : {conv_classifier(), small_transformer(), odd_operators(), recurrent()}) {
    const fs::path file = save(path);
    const Model model = Model::load(path), loaded = Model::load(file);
    EXPECT_EQ(loaded.warning(), "");
    ASSERT_EQ(loaded.inputs().size(), model.inputs().size());
    for (size_t i = 0; i < model.outputs().size(); i++) EXPECT_EQ(loaded.outputs()[i].name, model.outputs()[i].name);
    expect_same(results(loaded), results(model));
    LoadOptions in_memory;
    in_memory.read = true;
    expect_same(results(Model::load(file, in_memory)), results(model));
    fs::remove(path);  // it is not needed
    EXPECT_EQ(Model::load(file).warning(), "");
  }
}

TEST_F(CompiledFiles, TellWhatTheModelWouldTell) {
  const std::string path = conv_classifier();
  CompileOptions inspect;
  inspect.inspect = true;
  const fs::path file = save(path, inspect);
  const Compiled fresh = Model::load(path).compile(engine_, inspect);
  Compiled loaded = Model::load(file).compile(engine_);
  EXPECT_EQ(loaded.stats().tiles, fresh.stats().tiles);
  EXPECT_EQ(loaded.stats().edges, fresh.stats().edges);
  EXPECT_EQ(loaded.stats().operators, fresh.stats().operators);
  EXPECT_EQ(loaded.stats().arena_bytes, fresh.stats().arena_bytes);
  EXPECT_EQ(loaded.stats().weight_bytes, fresh.stats().weight_bytes);
  const auto without_times = [](std::string text) {  // of passes
    return text.substr(0, text.find("\"passes\""));
  };
  for (bool tiles : {false, true})
    EXPECT_EQ(without_times(loaded.inspect_json(tiles)), without_times(fresh.inspect_json(tiles)));
  EXPECT_EQ(loaded.inspect_json(false).find("\"box\""), std::string::npos);
  RunOptions traced;
  traced.trace = true;
  loaded.run({{"x", random_array({1, 3, 40, 36}, 1)}}, traced);
  EXPECT_TRUE(holds(loaded.trace_json(), "\"box\""));
}

TEST_F(CompiledFiles, RefuseOptionsThatDiffer) {
  CompileOptions made;
  made.winograd = false;
  made.policy = Policy::breadth_first;
  const std::string path = conv_classifier();
  const fs::path file = save(path, made);
  const Model model = Model::load(file);
  const auto refused = [&](const CompileOptions& options, const char* name) {
    EXPECT_TRUE(holds(error_of([&] { model.compile(engine_, options); }, ErrorCode::invalid_argument), name));
  };
  CompileOptions other;
  other.policy = Policy::barrier;
  refused(other, "policy");
  other = {};
  other.tile_us = 7;
  refused(other, "tile_us");
  other = {};
  other.skip_passes = {"merge_equal"};
  refused(other, "skip_passes");
  other = {};
  other.shapes["x"] = {2, 3, 40, 36};
  refused(other, "[1,3,40,36]");
  other = {};
  other.values["x"] = random_array({1, 3, 40, 36}, 1);
  refused(other, "value of input 'x'");
  other = {};
  other.graph_text = [](const std::string&, const std::string&) {};
  refused(other, "no graph");
  expect_same(results(model, made), results(Model::load(path), made));
  expect_same(results(model), results(Model::load(path), made));
}

TEST_F(CompiledFiles, KeepValuesOfInputs) {
  onnx::ModelWriter m;
  m.input("x", onnx::f32, {2, 6}).input("shape", onnx::i64, {2}).output("y").node("Reshape", {"x", "shape"}, {"y"});
  const std::string path = temporary("compiled_values.onnx");
  write(path, m.bytes());
  CompileOptions options;
  Array shape(DType::i64, {2});
  shape.as<int64_t>()[0] = 3;
  shape.as<int64_t>()[1] = 4;
  options.values["shape"] = shape;
  const Model loaded = Model::load(save(path, options));
  ASSERT_EQ(loaded.inputs().size(), 1u);
  EXPECT_EQ(loaded.outputs()[0].shape, (std::vector<int64_t>{3, 4}));
  results(loaded);
  results(loaded, options);
  shape = Array(DType::i64, {2});
  options.values["shape"] = shape;
  error_of([&] { loaded.compile(engine_, options); }, ErrorCode::invalid_argument);
}

TEST_F(CompiledFiles, AreSavedOnlyFromTheirModel) {
  const Model a = Model::load(conv_classifier()), b = Model::load(small_transformer());
  const Compiled net = a.compile(engine_);
  const std::string to = temporary("other.pando");
  error_of([&] { b.save(net, to); }, ErrorCode::invalid_argument);
  EXPECT_FALSE(fs::exists(to));
  error_of([&] { a.save(net, temporary("no/such/folder/x.pando")); }, ErrorCode::io);
  const Model loaded = Model::load(save(conv_classifier()));
  error_of([&] { loaded.save(loaded.compile(engine_), to); }, ErrorCode::invalid_argument);
  EXPECT_FALSE(fs::exists(to));
}

// Nor a device, which is a file of another kind to the same test.
TEST_F(CompiledFiles, ReplaceNoPipe) {
  const Model model = Model::load(conv_classifier());
  const std::string to = temporary("pipe.pando");
  fs::remove(to);
  ASSERT_EQ(mkfifo(to.c_str(), 0600), 0);
  EXPECT_TRUE(holds(error_of([&] { model.save(model.compile(engine_), to); }, ErrorCode::io), "not a regular file"));
  EXPECT_TRUE(fs::is_fifo(to));
  fs::remove(to);
}

TEST_F(CompiledFiles, AreRebuiltWhereTheyDoNotFit) {
  const std::string path = conv_classifier();
  CompileOptions options;
  options.winograd = false;
  const fs::path file = save(path, options);
  const std::vector<Array> expected = results(Model::load(path), options);
  std::string bytes = read(file);
  bytes[bytes.size() - 5000] ^= 1;  // weights
  write(file, bytes);
  const Model rebuilt = Model::load(file);
  EXPECT_TRUE(holds(rebuilt.warning(), "damaged"));
  EXPECT_TRUE(holds(rebuilt.warning(), path));
  expect_same(results(rebuilt), expected);
  error_of(
      [&] {
        CompileOptions other;
        other.policy = Policy::barrier;
        rebuilt.compile(engine_, other);
      },
      ErrorCode::invalid_argument);
  // What is saved again is still made from the model.
  rebuilt.save(rebuilt.compile(engine_), file);
  EXPECT_EQ(Model::load(file).warning(), "");
  bytes = read(file);
  bytes[bytes.size() - 5000] ^= 1;
  write(file, bytes);
  EXPECT_TRUE(holds(Model::load(file).warning(), path));
  // The model has changed, is gone, was never in a file.
  write(path, read(small_cnn(2)));
  EXPECT_TRUE(holds(error_of([&] { Model::load(file); }, ErrorCode::invalid_model), "has changed"));
  fs::remove(path);
  EXPECT_TRUE(holds(error_of([&] { Model::load(file); }, ErrorCode::invalid_model), "cannot be read"));
  const std::string content = read(small_cnn());
  const Model memory = Model::from_memory(onnx::as_span(content));
  memory.save(memory.compile(engine_), file);
  EXPECT_EQ(Model::load(file).warning(), "");
  bytes = read(file);
  bytes[bytes.size() / 2] ^= 4;
  write(file, bytes);
  EXPECT_TRUE(holds(error_of([&] { Model::load(file); }, ErrorCode::invalid_model), "not known"));
}

TEST_F(CompiledFiles, OfAnotherInstructionSetAreRebuilt) {
  const std::string path = conv_classifier();
  const fs::path file = save(path);
  ASSERT_TRUE(limit_isa("portable"));
  const Model other = Model::load(file);
  const std::vector<Array> portable = results(other), expected = results(Model::load(path));
  ASSERT_TRUE(limit_isa("avx512"));
  expect_same(portable, expected);
  if (Model::load(file).warning().empty() && !other.warning().empty()) {
    EXPECT_TRUE(holds(other.warning(), "portable"));
  }
}

TEST_F(CompiledFiles, KnowTheirExternalData) {
  onnx::ModelWriter m;
  m.input("x", onnx::f32, {3, 40}).output("y").node("MatMul", {"x", "w"}, {"y"});
  m.initializer(onnx::external_tensor("w", onnx::f32, {40, 48}, "w.bin"));
  const fs::path folder = temporary("compiled_external");
  fs::create_directories(folder);
  const Array w = random_array({40, 48}, 1);
  const std::string data(static_cast<const char*>(w.data()), w.bytes());
  write(folder / "w.bin", data);
  write(folder / "m.onnx", m.bytes());
  const fs::path file = save(folder / "m.onnx");
  const std::vector<Array> expected = results(Model::load(file));
  std::string bytes = read(file);
  bytes[bytes.size() - 5000] ^= 1;
  write(file, bytes);
  expect_same(results(Model::load(file)), expected);
  write(folder / "w.bin", std::string(data.rbegin(), data.rend()));
  EXPECT_TRUE(holds(error_of([&] { Model::load(file); }, ErrorCode::invalid_model), "has changed"));
}

// Bits turned, parts cut off, zeroed, doubled or exchanged: a result is right, or there is an error of one line.
TEST_F(CompiledFiles, DamageIsFound) {
  const std::string path = conv_classifier();
  const fs::path file = save(path);
  const std::vector<Array> expected = results(Model::load(path));
  const std::string good = read(file);
  std::mt19937 random(1);
  const auto below = [&](size_t n) { return static_cast<size_t>(random()) % std::max<size_t>(n, 1); };
  int errors = 0, rebuilt = 0;
  for (int i = 0; i < 200; i++) {
    std::string bad = good;
    const size_t at = i % 4 == 0 ? below(400) : below(bad.size()), n = 1 + below(3000);
    switch (below(5)) {
      case 0: bad[at] = static_cast<char>(bad[at] ^ (1 << below(8))); break;
      case 1: bad.resize(at); break;
      case 2: bad.replace(at, n, std::string(std::min(n, bad.size() - at), '\0')); break;
      case 3: bad.insert(at, good.substr(below(good.size()), n)); break;
      default: bad.replace(at, n, good.substr(below(good.size()), n));
    }
    write(file, bad);
    try {
      const Model model = Model::load(file);
      rebuilt += !model.warning().empty();
      expect_same(results(model), expected);
      EXPECT_EQ(model.warning().empty(), bad == good || bad.substr(0, good.size()) == good);
    } catch (const Error& e) {
      errors++;
      EXPECT_EQ(std::string(e.what()).find('\n'), std::string::npos) << e.what();
    }
  }
  EXPECT_GT(errors, 20);
  EXPECT_GT(rebuilt, 80);
}

TEST_F(CompiledFiles, InC) {
  const std::string path = conv_classifier(), file = path + ".c.pando";
  pando_engine* engine = nullptr;
  pando_model *model = nullptr, *loaded = nullptr;
  pando_compiled* compiled = nullptr;
  ASSERT_EQ(pando_engine_create(1, &engine), PANDO_OK);
  ASSERT_EQ(pando_model_load(path.c_str(), &model), PANDO_OK);
  ASSERT_EQ(pando_compile(model, engine, nullptr, &compiled), PANDO_OK);
  EXPECT_EQ(pando_model_save(model, compiled, nullptr), PANDO_INVALID_ARGUMENT);
  ASSERT_EQ(pando_model_save(model, compiled, file.c_str()), PANDO_OK);
  ASSERT_EQ(pando_model_load(file.c_str(), &loaded), PANDO_OK);
  EXPECT_STREQ(pando_model_warning(loaded), "");
  EXPECT_EQ(pando_model_input_count(loaded), 1u);
  pando_compiled_destroy(compiled);
  ASSERT_EQ(pando_compile(loaded, engine, nullptr, &compiled), PANDO_OK);
  pando_compiled_destroy(compiled);
  pando_model_destroy(loaded);
  pando_model_destroy(model);
  pando_engine_destroy(engine);
}

}  // namespace
}  // namespace pando::testing
