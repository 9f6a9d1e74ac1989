// The built command: results, figures, exit codes and error lines.
#include "cli/command.hpp"

#include <sys/stat.h>
#include <sys/wait.h>

#include <cerrno>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "cli/files.hpp"
#include "cli/npy.hpp"
#include "cli/printable.hpp"
#include "import/model_writer.hpp"

namespace pando::testing {
namespace {

using nlohmann::json;

std::string x_file(uint32_t seed = 1) {
  std::string path = temporary("x.npy");
  cli::write_file(path, cli::npy_bytes(random_array({1, 3, 40, 36}, seed)));
  return path;
}

TEST(RunCommand, WritesEveryOutput) {
  std::string folder = temporary("out/deep");
  Result r = pando("run " + small_cnn() + " --input x=" + x_file() + " --output-dir " + folder);
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_EQ(r.err, "");
  Engine engine;
  Array expected = Model::load(small_cnn()).compile(engine).run({{"x", random_array({1, 3, 40, 36}, 1)}})[0];
  EXPECT_TRUE(same_bits(cli::read_npy(folder + "/y.npy"), expected));
}

TEST(RunCommand, GivesTheSameBitsWithEveryFlag) {
  std::string expected;
  for (std::string flags : {"", "--threads 1", "--threads 3 --policy barrier", "--policy breadth-first --tile-us 5",
                            "--isa avx2", "--isa avx512"}) {
    std::string folder = temporary("flags");
    Result r = pando("run " + small_transformer() + " --random-inputs --seed 7 --output-dir " + folder + " " + flags);
    ASSERT_EQ(r.code, 0) << r.err;
    std::string bytes = content(folder + "/y.npy");
    if (expected.empty()) expected = bytes;
    EXPECT_TRUE(bytes == expected) << flags;
  }
  std::string folder = temporary("flags");
  ASSERT_EQ(pando("run " + small_transformer() + " --random-inputs --seed 8 --output-dir " + folder).code, 0);
  EXPECT_FALSE(content(folder + "/y.npy") == expected);
}

TEST(RunCommand, AgreesWithThePortablePath) {
  std::string folder = temporary("isa");
  std::vector<Array> y;
  for (std::string flags : {"", "--isa portable --no-winograd", "--no-optimize"}) {
    ASSERT_EQ(pando("run " + small_cnn() + " --random-inputs --output-dir " + folder + " " + flags).code, 0);
    y.push_back(cli::read_npy(folder + "/y.npy"));
  }
  for (const Array& other : y)
    for (size_t i = 0; i < other.count(); i++) EXPECT_NEAR(other.as<float>()[i], y[0].as<float>()[i], 1e-5);
}

TEST(RunCommand, KeepsOutputsInItsFolder) {
  OnnxWriter w("names", 1);
  w.input("x", Type::f32, {2});
  std::vector<std::string> names{"../escape", "a/b", "a:b", "plain"};
  for (const std::string& name : names) {
    w.output(name, Type::f32, {2});
    w.node("Relu", {"x"}, {}, name);
  }
  std::string path = temporary("names.onnx"), folder = temporary("names");
  w.write(path);
  ASSERT_EQ(pando("run " + path + " --random-inputs --output-dir " + folder).code, 0);
  for (const char* file : {".._escape", "a_b", "a_b-2", "plain"})
    EXPECT_TRUE(std::filesystem::exists(folder + "/" + file + ".npy")) << file;
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder), {}), 4);
  // Not through a link either.
  std::filesystem::remove(folder + "/plain.npy");
  std::filesystem::create_symlink(temporary("target"), folder + "/plain.npy");
  Result r = pando("run " + path + " --random-inputs --output-dir " + folder);
  EXPECT_EQ(r.code, 1);
  EXPECT_TRUE(holds(r.err, "plain.npy"));
  EXPECT_FALSE(std::filesystem::exists(temporary("target")));
}

TEST(RunCommand, TakesAnEmptyBatch) {
  OnnxWriter w("empty", 1);
  w.input("x", Type::f32, {-1, 8});
  w.output("y", Type::f32, {-1, 5});
  w.node("MatMul", {"x", w.random("w", {8, 5}, 1)}, {}, "y");
  std::string path = temporary("empty.onnx"), folder = temporary("empty");
  w.write(path);
  Result r = pando("run " + path + " --random-inputs --shape x:0x8 --output-dir " + folder);
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_EQ(cli::read_npy(folder + "/y.npy").shape(), (std::vector<int64_t>{0, 5}));
}

TEST(RunCommand, FixesValuesThatShapesDependOn) {
  OnnxWriter w("reshape", 1);
  w.input("x", Type::f32, {6, -1});
  w.input("shape", Type::i64, {2});
  w.output("y", Type::f32, {-1, -1});
  w.node("Reshape", {"x", "shape"}, {}, "y");
  std::string path = temporary("values.onnx"), file = temporary("shape.npy"), folder = temporary("values");
  w.write(path);
  Array shape(DType::i64, {2});
  shape.as<int64_t>()[0] = 8, shape.as<int64_t>()[1] = 3;
  cli::write_file(file, cli::npy_bytes(shape));
  Result r = pando("run " + path + " --random-inputs --shape x:6x4 --input shape=" + file + " --output-dir " + folder);
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_EQ(cli::read_npy(folder + "/y.npy").shape(), (std::vector<int64_t>{8, 3}));
  expect_error("run " + path + " --random-inputs --input shape=" + file + " --output-dir " + folder, 1, "--shape");
}

// "scale" has a default value: it is fed where a flag or the description says so, and kept else.
TEST(RunCommand, TakesInputsWithADefaultValue) {
  const std::string path = temporary("default.onnx"), folder = temporary("default"), ten = temporary("ten.npy"),
                    x = temporary("six.npy"), description = temporary("default.json");
  cli::write_file(path, testing_onnx::ModelWriter()
                            .input("x", testing_onnx::f32, {2})
                            .input("scale:=0", testing_onnx::f32, {-1})
                            .floats("scale:=0", {2}, {2, 2})
                            .output("y")
                            .node("Mul", {"x", "scale:=0"}, {"y"})
                            .bytes());
  Array six(DType::f32, {2}), factor(DType::f32, {1});
  six.as<float>()[0] = six.as<float>()[1] = 6, factor.as<float>()[0] = 10;
  cli::write_file(x, cli::npy_bytes(six));
  cli::write_file(ten, cli::npy_bytes(factor));
  auto result = [&](const std::string& flags) {
    Result r = pando("run " + path + " --input x=" + x + " " + flags + " --output-dir " + folder);
    EXPECT_EQ(r.code, 0) << r.err;
    return cli::read_npy(folder + "/y.npy").as<float>()[1];
  };
  EXPECT_EQ(result(""), 12);
  EXPECT_EQ(result("--random-inputs --read"), 12);
  EXPECT_EQ(result("--input 'scale:=0=" + ten + "'"), 60);
  cli::write_file(description, R"({"default.onnx": {"scale:=0": {"fill": 3, "shape": [2]}}})");
  EXPECT_EQ(result("--inputs " + description), 18);
  cli::write_file(description, R"({"default.onnx": {"scale:=0": {"fill": 3}}})");
  expect_error("run " + path + " --inputs " + description + " --random-inputs --output-dir " + folder, 1, "'shape'");
  expect_error("run " + path + " --input x=" + x + " --shape scale:=0:2 --output-dir " + folder, 1, "'scale:=0'");
  EXPECT_EQ(pando("bench " + path + " --runs 2 --input 'scale:=0=" + ten + "'").code, 0);
  EXPECT_TRUE(holds(pando("inspect " + path).out, "default  1 input"));
  json all = json::parse(pando("inspect " + path + " --json --shape scale:=0:2").out);
  EXPECT_EQ(all["inputs"].size(), 2u);
  EXPECT_EQ(all["defaults"][0]["name"], "scale:=0");
}

TEST(BenchCommand, PrintsAndWritesItsFigures) {
  std::string file = temporary("bench.json");
  Result r = pando("bench " + small_cnn() + " --runs 20 --warmup 2 --threads 2 --json " + file);
  ASSERT_EQ(r.code, 0) << r.err;
  json printed = json::parse(r.out);
  EXPECT_EQ(printed, json::parse(content(file)));
  for (const char* key :
       {"load_ms",      "import_ms",        "optimize_ms", "tile_ms",         "bind_ms",
        "first_run_ms", "min_ms",           "mean_ms",     "median_ms",       "p90_ms",
        "p99_ms",       "throughput_per_s", "gflops",      "percent_of_peak", "matrix_percent_of_peak",
        "peak_gflops",  "peak_rss_mb",      "tiles",       "edges",           "events",
        "steals",       "idle_fraction",    "threads"}) {
    ASSERT_TRUE(printed.contains(key)) << key;
    EXPECT_TRUE(printed[key].is_number()) << key;
  }
  EXPECT_TRUE(printed["cpu"].is_string());
  EXPECT_EQ(printed.size(), 24u);
  EXPECT_EQ(printed["threads"], 2);
  EXPECT_LE(printed["min_ms"], printed["median_ms"]);
  EXPECT_LE(printed["median_ms"], printed["p90_ms"]);
  EXPECT_LE(printed["p90_ms"], printed["p99_ms"]);
  EXPECT_GT(printed["peak_gflops"], 0.1);
  EXPECT_GT(printed["gflops"], 0);
  json empty = json::parse(pando("bench " + small_cnn() + " --runs 3 --empty-kernels").out);
  EXPECT_EQ(empty["tiles"], printed["tiles"]);
}

TEST(BenchCommand, Serves) {
  std::string folder = temporary("served");
  Result r = pando("bench " + small_cnn() + " --input x=" + x_file() + " --serve",
                   "{\"run\": 0.01}\n{\"run\": 0.01, \"pause_ms\": 4}\n{\"save\": \"" + folder + "\"}\n");
  ASSERT_EQ(r.code, 0) << r.err;
  std::istringstream lines(r.out);
  std::vector<json> answers;
  for (std::string line; std::getline(lines, line);) answers.push_back(json::parse(line));
  ASSERT_EQ(answers.size(), 4u);
  EXPECT_GT(answers[0]["load_ms"], 0);
  EXPECT_GT(answers[0]["rss_mb"], 0);
  EXPECT_GE(answers[1]["times_ms"].size(), 1u);
  EXPECT_LE(answers[2]["times_ms"].size(), 3u);
  EXPECT_EQ(answers[3]["saved"], 1);
  EXPECT_GT(answers[3]["peak_rss_mb"], 0);
  EXPECT_EQ(cli::read_npy(folder + "/0.npy").shape(), (std::vector<int64_t>{1, 10}));
}

TEST(InspectCommand, SaysTheSameInTextAndJson) {
  Result text = pando("inspect " + small_cnn() + " --tiles"),
         data = pando("inspect " + small_cnn() + " --tiles --json");
  ASSERT_EQ(text.code, 0) << text.err;
  json all = json::parse(data.out);
  EXPECT_EQ(all["tiles"].size(), all["graph"]["tiles"].get<size_t>());
  EXPECT_TRUE(holds(text.out, std::to_string(all["graph"]["tiles"].get<size_t>()) + " tiles"));
  for (const json& row : all["operators"]) EXPECT_TRUE(holds(text.out, row["operator"].get<std::string>()));
  for (const char* key : {"inputs", "outputs", "operators", "operator_counts", "graph", "memory"})
    EXPECT_TRUE(all.contains(key)) << key;
}

TEST(InspectCommand, ShowsThePasses) {
  const std::string cnn = small_cnn();
  Result text = pando("inspect " + cnn + " --passes --skip-pass fuse_maps --skip-pass merge_equal"),
         data = pando("inspect " + cnn + " --passes --skip-pass fuse_maps --skip-pass merge_equal --json");
  ASSERT_EQ(text.code, 0) << text.err;
  EXPECT_TRUE(holds(text.out, "nodes before"));
  EXPECT_FALSE(holds(pando("inspect " + cnn).out, "nodes before"));
  json passes = json::parse(data.out)["passes"];
  std::set<std::string> names;
  for (const json& p : passes) {
    names.insert(p["name"].get<std::string>());
    EXPECT_TRUE(holds(text.out, "\n" + p["name"].get<std::string>() + " ")) << p;
    EXPECT_GE(p["ms"].get<double>(), 0) << p;
  }
  std::set<std::string> expected;
  for (const std::string& name : optimizer_passes()) expected.insert(name);
  EXPECT_EQ(expected.erase("fuse_maps") + expected.erase("merge_equal"), 2u);
  EXPECT_EQ(names, expected);
  for (size_t i = 1; i < passes.size(); i++) EXPECT_EQ(passes[i]["nodes_before"], passes[i - 1]["nodes_after"]);
  EXPECT_LT(passes.back()["nodes_after"], passes.front()["nodes_before"]);
}

TEST(InspectCommand, DumpsTheGraphAfterEveryPass) {
  const std::string cnn = small_cnn(), folder = temporary("dump/deep");
  Result r = pando("inspect " + cnn + " --passes --json --dump " + folder);
  ASSERT_EQ(r.code, 0) << r.err;
  json passes = json::parse(r.out)["passes"];
  auto nodes = [&](const std::string& file) {
    const std::string text = content(folder + "/" + file + ".txt");
    EXPECT_TRUE(text.starts_with("graph ")) << file << text;
    EXPECT_TRUE(holds(text, "\noutput y: float32[1,10]\n")) << file;
    size_t count = 0;
    for (size_t at = 0; (at = text.find(" = ", at)) != text.npos; at++) count++;
    return count;
  };
  EXPECT_EQ(nodes("00_imported"), passes[0]["nodes_before"]);
  for (size_t i = 0; i < passes.size(); i++) {
    const std::string number = (i < 9 ? "0" : "") + std::to_string(i + 1);
    EXPECT_EQ(nodes(number + "_" + passes[i]["name"].get<std::string>()), passes[i]["nodes_after"]);
  }
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder), {}), static_cast<long>(passes.size()) + 1);

  expect_error("inspect " + cnn + " --dump " + folder, 2, "--passes");
  expect_error("inspect " + cnn + " --passes --dump ''", 2, "--dump");
  expect_error("inspect " + cnn + " --passes --dump " + cnn, 1, cnn + ": cannot make the folder: Not a directory");
  expect_error("inspect " + cnn + " --passes --dump /proc/none", 1, "/proc/none: cannot make the folder");
  expect_error("inspect /nowhere.onnx --passes --dump " + folder + "-none", 1, "/nowhere.onnx");
  EXPECT_FALSE(std::filesystem::exists(folder + "-none"));
}

TEST(TraceCommand, WritesATrace) {
  std::string file = temporary("trace.json");
  Result r = pando("trace " + small_cnn() + " --threads 2 -o " + file);
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_GT(json::parse(content(file))["traceEvents"].size(), 50u);
}

TEST(ZooCommand, WritesTheSameModelTwice) {
  std::string a = temporary("a.onnx"), b = temporary("b.onnx");
  ASSERT_EQ(pando("zoo mobilenetv2 -o " + a + " --batch 2").code, 0);
  ASSERT_EQ(pando("zoo mobilenetv2 -o " + b + " --batch 2").code, 0);
  EXPECT_TRUE(content(a) == content(b));
  json all = json::parse(pando("inspect " + a + " --json").out);
  EXPECT_EQ(all["inputs"][0]["shape"], (std::vector<int64_t>{2, 3, 224, 224}));
  std::filesystem::remove(a);
  std::filesystem::remove(b);
}

TEST(Usage, EndsWithTwo) {
  std::string cnn = small_cnn(), out = temporary("never");
  expect_error("", 2, "subcommand");
  expect_error("fly", 2, "'fly'");
  expect_error("run", 2, "MODEL");
  expect_error("run " + cnn, 2, "--output-dir");
  expect_error("run " + cnn + " --output-dir " + out + " --input x", 2, "NAME=FILE");
  expect_error("bench " + cnn + " --threads 0", 2, "--threads");
  expect_error("bench " + cnn + " --threads two", 2, "two");
  expect_error("bench " + cnn + " --policy fastest", 2, "fastest");
  expect_error("bench " + cnn + " --shape x", 2, "--shape");
  expect_error("bench " + cnn + " --shape x:1 --shape x:2", 2, "'x' is given twice");
  expect_error("bench " + cnn + " --tile-us nan", 2, "--tile-us");
  expect_error("bench " + cnn + " --tile-us -1", 2, "--tile-us");
  expect_error("bench " + cnn + " --threads 1 --threads 2", 2, "--threads");
  expect_error("bench " + cnn + " --seed -1", 2, "--seed");
  expect_error("bench " + cnn + " --isa mmx", 2, "mmx");
  expect_error("bench " + cnn + " --runs 0", 2, "--runs");
  expect_error("bench " + cnn + " --json ''", 2, "--json");
  expect_error("bench " + cnn + " --inputs ''", 2, "--inputs");
  expect_error("bench " + cnn + " --nonsense", 2, "nonsense");
  for (const char* command : {"run ", "bench ", "inspect "})
    expect_error(command + cnn + " --skip-pass fuse" + (command[0] == 'r' ? " --output-dir " + out : ""), 2,
                 "--skip-pass fuse: expected widen_halves, fold_small_constants, ");
  expect_error("trace " + cnn, 2, "--output");
  // An empty value is not the same as none.
  for (const char* empty :
       {"machine ''", "machine p100x4 -o ''", "inspect ''", "plan '' --machine p100x4", "diff a ''"})
    expect_error(empty, 2, "expected a value");
  for (const char* option : {"--html", "--trace", "--costs", "--output", "--shape", "--edit"})
    expect_error("simulate " + cnn + " --machine p100x4 --plan p " + option + " ''", 2, option);
  expect_error("zoo lenet -o " + out, 2, "lenet");
  expect_error("zoo resnet50 -o " + out + " --batch 0", 2, "--batch");
  EXPECT_FALSE(std::filesystem::exists(out));
  EXPECT_EQ(pando("--help").code, 0);
  EXPECT_EQ(pando("bench --help").code, 0);
  EXPECT_EQ(pando("--version").out, std::string(version()) + "\n");
}

TEST(PlanCommand, FindsAPlanThatSimulateRepeats) {
  std::string net = temporary("alexnet.onnx"), plan = temporary("plan.json"), report = temporary("report.json"),
              again = temporary("again.json"), machine = temporary("machine.json"), edited = temporary("edited.json");
  ASSERT_EQ(pando("zoo alexnet --no-weights -o " + net).code, 0);
  EXPECT_LT(std::filesystem::file_size(net), 10000u);
  ASSERT_EQ(pando("machine --measure -o " + machine).code, 0);
  ASSERT_EQ(pando("machine " + machine).code, 0);
  expect_error("machine p100x8 --measure", 2, "only the machine at hand");
  ASSERT_EQ(pando("machine p100x8-10g -o " + machine).code, 0);
  std::string common = net + " --training --batch 512 --machine ";
  Result r = pando("plan " + common + machine + " --budget 2000 -o " + plan + " --json " + report);
  ASSERT_EQ(r.code, 0) << r.err;
  json found = json::parse(content(report));
  EXPECT_EQ(found["search"], "auto");
  EXPECT_EQ(found["proposals"], 2000);
  EXPECT_EQ(found["devices"].size(), 8u);
  EXPECT_TRUE(found["lower_bound"].is_null());
  for (const json& c : found["compared"])
    EXPECT_LE(found["iteration_seconds"].get<double>(), c["iteration_seconds"].get<double>()) << c;
  // The critical path has no holes and ends with the iteration.
  int64_t at = 0;
  for (const json& step : found["critical_path"]) {
    EXPECT_EQ(step["start_ns"].get<int64_t>(), at) << step;
    at = step["end_ns"].get<int64_t>();
  }
  EXPECT_DOUBLE_EQ(static_cast<double>(at) * 1e-9, found["iteration_seconds"].get<double>());
  ASSERT_EQ(pando("simulate " + common + "p100x8-10g --plan " + plan + " --json " + again).code, 0);
  EXPECT_EQ(json::parse(content(again))["iteration_seconds"], found["iteration_seconds"]);
  EXPECT_EQ(json::parse(content(again))["devices"], found["devices"]);
  std::string edit = " --edit '/Gemm_14: sample=2, devices=0,4' -o " + edited + " --trace " + temporary("t.json");
  ASSERT_EQ(pando("simulate " + common + machine + " --plan " + plan + edit).code, 0);
  EXPECT_EQ(json::parse(content(edited))["operators"]["/Gemm_14"]["devices"], "0,4");
  EXPECT_FALSE(json::parse(content(temporary("t.json")))["traceEvents"].empty());
  // As a pipeline of one stage, the plan's batch being that of a micro-batch: no one waits.
  std::string single = temporary("single.json"), staged = " --schedule 1f1b --microbatches 1 --json " + again;
  ASSERT_EQ(pando("plan " + common + machine + " --search single -o " + single).code, 0);
  ASSERT_EQ(pando("simulate " + common + machine + " --plan " + single + staged).code, 0);
  EXPECT_EQ(json::parse(content(again))["idle_share"], 0);
  // What is held stays.
  std::string fix = " --fix '/Gemm_14: parameter=4, devices=4-7' -o " + edited;
  ASSERT_EQ(pando("plan " + common + machine + " --budget 500 --start " + plan + fix).code, 0);
  EXPECT_EQ(json::parse(content(edited))["operators"]["/Gemm_14"]["devices"], "4-7");
}

// The networks of the comparison with FlexFlow, and one whose weights fit nowhere, as files of a few kilobytes.
TEST(PlanCommand, PlansEveryNetworkWithoutWeights) {
  std::string net = temporary("net.onnx"), report = temporary("report.json");
  for (const char* name : {"alexnet", "inception-v3", "resnet101", "rnntc", "rnnlm", "nmt"}) {
    ASSERT_EQ(pando(std::string("zoo ") + name + " --no-weights -o " + net).code, 0) << name;
    Result r = pando("plan " + net + " --machine p100x16-10g --training --batch 256 --search expert --json " + report);
    EXPECT_EQ(r.code, 0) << name << r.err;
    json found = json::parse(content(report));
    EXPECT_EQ(found["devices"].size(), 16u);
    // By sample and dense layers' features, or by sample and layer: rnnlm has three of those for four devices a node.
    auto busy = std::count_if(found["devices"].begin(), found["devices"].end(),
                              [](const json& d) { return d["busy_s"].get<double>() > 0; });
    EXPECT_EQ(busy, name == std::string("rnnlm") ? 12 : 16) << name;
  }
  expect_error("run " + net + " --random-inputs --output-dir " + report + ".d", 1, "without weights");
  expect_error("zoo gpt3-175b -o " + net, 2, "--no-weights");
  ASSERT_EQ(pando("zoo gpt3-175b --no-weights -o " + net).code, 0);
  EXPECT_LT(std::filesystem::file_size(net), 6u << 20);
  expect_error("plan " + net + " --machine a100x8 --training --search single", 3, "device 0: ");
}

TEST(PlanCommand, PlansForLittleMemory) {
  std::string net = temporary("alexnet.onnx"), plan = temporary("plan.json"), report = temporary("report.json");
  ASSERT_EQ(pando("zoo alexnet --no-weights -o " + net).code, 0);
  std::string common = net + " --training --optimizer adam --batch 256 --machine p100x8-10g --memory 800000000 ";
  expect_error("plan " + common + "--search data-parallel", 3, "device 0: ");
  ASSERT_EQ(pando("plan " + common + "--search layer-memory -o " + plan + " --json " + report).code, 0);
  json found = json::parse(content(report)), written = json::parse(content(plan));
  EXPECT_GE(found["sharded_states"], 1);
  EXPECT_EQ(written["sharded_states"], found["sharded_states"]);
  EXPECT_TRUE(found["formula_seconds"].is_number());
  ASSERT_EQ(pando("simulate " + common + "--plan " + plan + " --json " + report).code, 0);
  EXPECT_EQ(json::parse(content(report))["iteration_seconds"], found["iteration_seconds"]);
  EXPECT_EQ(json::parse(content(report))["devices"], found["devices"]);
  expect_error("plan " + common + "--search layer-memory --sharded-states 0", 3, "device");
}

// The optimizer's states are inputs of a step too, but none that a batch is cut in.
TEST(PlanCommand, CutsBatchesWhateverTheOptimizer) {
  std::string net = temporary("alexnet.onnx"), report = temporary("report.json");
  ASSERT_EQ(pando("zoo alexnet --no-weights -o " + net).code, 0);
  std::string common =
      "plan " + net + " --training --batch 256 --machine p100x8-10g --search pipeline --json " + report;
  for (const char* optimizer : {"sgd", "momentum", "adam"}) {
    ASSERT_EQ(pando(common + " --optimizer " + optimizer).code, 0);
    EXPECT_EQ(json::parse(content(report))["micro_batches"], 16) << optimizer;
  }
}

TEST(PlanCommand, ExplainsAndCompares) {
  std::string net = temporary("alexnet.onnx"), plan = temporary("plan.json"), other = temporary("other.json"),
              report = temporary("report.json"), page = temporary("page.html");
  ASSERT_EQ(pando("zoo alexnet --no-weights -o " + net).code, 0);
  std::string common = net + " --training --batch 256 --machine p100x8-10g ";
  ASSERT_EQ(pando("plan " + common + "--search data-parallel -o " + plan).code, 0);
  Result r = pando("explain " + common + "--plan " + plan + " --json " + report);
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_TRUE(holds(r.out, "limits     critical path: "));
  EXPECT_TRUE(holds(r.out, "--edit '"));
  json explained = json::parse(content(report));
  EXPECT_EQ(explained["memory"].size(), 8u);
  EXPECT_FALSE(explained["relief"].empty());
  // What a remedy promises, simulate gives.
  for (const json& relief : explained["relief"]) {
    if (!relief["edit"].is_string()) continue;
    ASSERT_EQ(pando("simulate " + common + "--plan " + plan + " --json " + report + " --html " + page + " -o " + other +
                    " --edit '" + relief["edit"].get<std::string>() + "'")
                  .code,
              0);
    EXPECT_EQ(json::parse(content(report))["iteration_seconds"], relief["iteration_seconds"]);
  }
  EXPECT_TRUE(holds(content(page), "<!doctype html>"));
  r = pando("diff " + plan + " " + other + " --json " + report);
  EXPECT_EQ(r.code, 0) << r.err;
  EXPECT_EQ(std::count(r.out.begin(), r.out.end(), '\n'), 1) << r.out;
  EXPECT_FALSE(json::parse(content(report))["same"]);
  EXPECT_EQ(pando("diff " + plan + " " + plan).out, "the plans are the same\n");
  expect_error("diff " + plan + " " + net, 1, "second plan file");
  expect_error("diff " + plan, 2, "Q");
  expect_error("explain " + net + " --machine p100x8 --plan " + plan, 1, "the plan is for another");
}

TEST(PlanCommand, RefusesInOneLine) {
  std::string net = temporary("alexnet.onnx"), plan = temporary("plan.json"), bad = temporary("bad.json");
  ASSERT_EQ(pando("zoo alexnet --no-weights -o " + net).code, 0);
  ASSERT_EQ(pando("plan " + net + " --machine p100x4 --search single -o " + plan).code, 0);
  expect_error("run " + net + " --random-inputs --output-dir " + bad, 1, "without weights");
  expect_error("plan " + net + " --machine p100x4 --memory 1000000", 3, "device 0: ");
  expect_error("plan " + net + " --machine nothing", 1, "there is no machine 'nothing'");
  expect_error("plan " + net + " --machine p100x4 --search best", 2, "there is no search 'best'");
  expect_error("plan " + net + " --machine p100x4 --budget soon", 2, "--budget");
  expect_error("simulate " + net + " --machine p100x8 --plan " + plan, 1, "the plan is for another cluster");
  expect_error("simulate " + net + " --machine p100x4 --batch 2 --plan " + plan, 1, "the plan is for another model");
  expect_error("simulate " + net + " --machine p100x4 --plan " + plan + " --edit '/Gemm_14: m=2, devices=0,9'", 1,
               "there is no device 9");
  expect_error("simulate " + net + " --machine p100x4", 2, "--plan");
  cli::write_file(bad, content(plan).substr(0, 500));
  expect_error("simulate " + net + " --machine p100x4 --plan " + bad, 1, "plan file: not valid JSON");
  cli::write_file(bad, "{\"pando_cluster\": 1}");
  expect_error("machine " + bad, 1, "cluster file: 'kinds' is missing");
  expect_error("plan " + net + " --machine p100x4 --fix '/Gemm_14: n=2' --fix '/Gemm_14: n=4'", 1, "contradicts");
  expect_error("plan " + net + " --machine p100x4 --search expert --fix '/Gemm_14: n=2'", 2, "holds no decisions");
  expect_error("plan " + net + " --machine p100x4 --objective speed", 2, "objective 'speed'");
  expect_error("plan " + net + " --machine p100x4 --training --objective latency", 2, "of inference");
  expect_error("plan " + net + " --objective memory", 2, "--machine");
}

TEST(Failure, EndsWithOne) {
  std::string cnn = small_cnn(), folder = temporary("failed"), noise = temporary("noise.onnx"),
              cut = temporary("cut.onnx");
  std::string run = " --random-inputs --output-dir " + folder;
  cli::write_file(noise, std::string(1000, 'Z'));
  cli::write_file(cut, content(cnn).substr(0, 5000));
  expect_error("run /nowhere/m.onnx" + run, 1, "/nowhere/m.onnx");
  expect_error("run " + folder + "-none" + run, 1, "No such file");
  expect_error("run " + noise + run, 1, "");
  expect_error("run " + cut + run, 1, "");
  expect_error("run " + cnn + " --output-dir " + folder, 1, "'x' float32 [1,3,40,36]");
  expect_error("run " + cnn + " --input z=" + x_file() + run, 1, "'z'");
  expect_error("run " + cnn + " --input x=/nowhere.npy" + run, 1, "/nowhere.npy");
  expect_error("run " + cnn + " --shape x:1x3x40x37" + run, 1, "[1,3,40,37]");
  expect_error("run " + small_transformer() + " --input x=" + x_file() + run, 1, "[1,3,40,36]");
  EXPECT_FALSE(std::filesystem::exists(folder));
  expect_error("run " + cnn + " --random-inputs --output-dir " + noise, 1, noise);
  expect_error("bench " + cnn + " --inputs " + noise, 1, noise);
  expect_error("trace " + cnn + " -o /dev/full", 1, "/dev/full: cannot write: No space left");
  expect_error("zoo mobilenetv2 -o /dev/full", 1, "No space left");
  expect_error("zoo mobilenetv2 -o /nowhere/m.onnx", 1, "/nowhere/m.onnx");
  Result r = pando("bench " + cnn + " --runs 1 --json /dev/full");
  EXPECT_EQ(r.code, 1);
  EXPECT_TRUE(holds(r.err, "/dev/full"));
  EXPECT_EQ(WEXITSTATUS(std::system((PANDO_BINARY " inspect " + cnn + " >/dev/full 2>/dev/null").c_str())), 1);
}

// Nowhere to write to is no reason to crash.
TEST(Failure, KeepsItsCodeWithoutATerminal) {
  auto code = [](const std::string& arguments) {
    int status = std::system((PANDO_BINARY " " + arguments).c_str());
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  };
  for (const char* nowhere : {" 2>/dev/full", " 2>&-", " >&- 2>&-"}) {
    EXPECT_EQ(code(std::string("fly") + nowhere), 2) << nowhere;
    EXPECT_EQ(code(std::string("inspect /nowhere/m.onnx") + nowhere), 1) << nowhere;
  }
  EXPECT_EQ(code("--help >/dev/full 2>/dev/null"), 1);
}

// By a signal before it is caught, or with a message: 130 for the shell either way.
TEST(Failure, InterruptEndsTheCommand) {
  std::string err = temporary("interrupted");
  int status = std::system(("timeout --preserve-status -s INT 2 " PANDO_BINARY " bench " + small_cnn() +
                            " --runs 1000000 >/dev/null 2>" + err)
                               .c_str());
  EXPECT_EQ(WEXITSTATUS(status), 130);
  EXPECT_TRUE(content(err).empty() || content(err) == "pando: interrupted\n") << content(err);
}

TEST(Failure, IsOneLineWithoutControlCodes) {
  OnnxWriter w("odd\x1b[31m", 1);
  w.input("x", Type::f32, {2});
  w.output("y", Type::f32, {2});
  w.node("No\nSuch\x1b[31mOperator", {"x"}, {}, "y");
  std::string path = temporary("control.onnx");
  w.write(path);
  Result r = pando("inspect " + path);
  EXPECT_EQ(r.code, 1);
  EXPECT_TRUE(holds(r.err, "not supported"));
  EXPECT_EQ(std::count(r.err.begin(), r.err.end(), '\n'), 1);
  EXPECT_EQ(r.err.find('\x1b'), std::string::npos);
}

TEST(Output, HasNoControlCodes) {
  EXPECT_EQ(cli::printable("a\x1b[1m\x7f\xc2\x9b\xc3\xa9\n"), "a [1m   \xc3\xa9 ");
  OnnxWriter w("odd\x1b[31m", 1);
  w.input("x\x1b[2J", Type::f32, {2});
  w.output("y\x07", Type::f32, {2});
  w.node("Relu", {"x\x1b[2J"}, {}, "y\x07");
  const std::string path = temporary("control_names.onnx");
  w.write(path);
  for (const std::string& command :
       {"inspect " + path + " --tiles", "run " + path + " --random-inputs --output-dir " + temporary("control")}) {
    Result r = pando(command);
    EXPECT_EQ(r.code, 0) << r.err;
    EXPECT_TRUE(holds(r.out, "y "));
    for (char c : {'\x1b', '\x07'}) EXPECT_EQ(r.out.find(c), std::string::npos) << r.out;
  }
}

TEST(Failure, APipeIsNotWaitedFor) {
  const std::string pipe = temporary("pipe"), cnn = small_cnn();
  ASSERT_TRUE(mkfifo(pipe.c_str(), 0600) == 0 || errno == EEXIST);
  const std::string out = " --random-inputs --output-dir " + temporary("never");
  expect_error("run " + cnn + " --input x=" + pipe + out, 1, "not a regular file");
  expect_error("run " + cnn + " --inputs " + pipe + out, 1, "not a regular file");
  expect_error("run " + pipe + out, 1, "not a readable regular file");
  for (const std::string& command : {"plan " + pipe, "plan " + pipe + " --machine p100x4", "machine " + pipe,
                                     "diff " + pipe + " " + pipe, "simulate " + pipe + " --cores 2"})
    expect_error(command, 1, "");
}

TEST(SimulateCommand, CutsForEachNumberOfCores) {
  const std::string cnn = small_cnn(), file = temporary("cores.json");
  const std::string out = pando("simulate " + cnn + " --cores 1,4 --speeds 1,0.5 --runs 1 --json " + file).out;
  EXPECT_NE(out.find("static ms"), std::string::npos) << out;
  const json report = json::parse(content(file));
  ASSERT_EQ(report["cores"].size(), 2u);
  for (const char* key : {"tiles", "predicted_ms", "speedup", "barrier_ms", "static_ms"})
    EXPECT_TRUE(report["cores"][1].contains(key)) << key;
  expect_error("simulate " + cnn + " --cores 2 --speeds 0", 2, "--speeds: 0 is no speed");
}

// Two layers of 2 ms on an accelerator; an edge costs 1 ms.
std::string layers_file() {
  std::string path = temporary("layers.json");
  cli::write_file(path, R"({"maxFPGAs": 2, "maxCPUs": 0, "maxSizePerFPGA": 10, "nodes": [
    {"id": 0, "fpgaLatency": 2, "cpuLatency": 9, "size": 6, "supportedOnFpga": 1, "isBackwardNode": 0},
    {"id": 1, "fpgaLatency": 2, "cpuLatency": 9, "size": 6, "supportedOnFpga": 1, "isBackwardNode": 0}],
    "edges": [{"sourceId": 0, "destId": 1, "cost": 1}]})");
  return path;
}

TEST(PlanCommand, PrintsAndWritesThePlan) {
  std::string report = temporary("plan.json");
  Result r = pando("plan " + layers_file() + " --search ideals --json " + report);
  ASSERT_EQ(r.code, 0) << r.err;
  EXPECT_EQ(r.err, "");
  EXPECT_TRUE(holds(r.out, "max-load   3 ms, proven optimal"));
  json all = json::parse(content(report));
  EXPECT_EQ(all["objective"]["value"], 3);
  EXPECT_EQ(all["stages"].size(), 2u);
  EXPECT_EQ(pando("plan " + layers_file() + " --objective latency").code, 0);
}

TEST(PlanCommand, SaysWhyThereIsNoPlan) {
  std::string report = temporary("none.json");
  expect_error("plan " + layers_file() + " --memory 5 --json " + report, 3, "node 0 needs more memory");
  EXPECT_EQ(json::parse(content(report))["feasible"], false);
  expect_error("plan " + layers_file() + " --devices 1", 3, "no contiguous placement fits");
}

TEST(PlanCommand, RefusesWrongUse) {
  expect_error("plan", 2, "INPUT");
  expect_error("plan /nowhere.json --search best", 2, "search: expected ideals");
  expect_error("plan /nowhere.json --objective speed", 2, "objective: expected");
  expect_error("plan /nowhere.json --devices -1", 2, "devices: expected 0 or more");
  expect_error("plan /nowhere.json --memory nan", 2, "memory: expected 0 or more");
  expect_error("plan /nowhere.json --bandwidth 0", 2, "bandwidth: expected more than 0");
  expect_error("plan /nowhere.json --search ideals --noncontiguous", 2, "noncontiguous: expected the search local");
  expect_error("plan /nowhere.json", 1, "/nowhere.json");
  expect_error("plan " + small_cnn(), 1, ".onnx: the file is no text");
  const std::string holes = temporary("holes");
  cli::write_file(holes, "{");
  std::filesystem::resize_file(holes, uintmax_t{1} << 40);
  for (const std::string& command :
       {"plan " + holes, "machine " + holes, "diff " + holes + " " + holes,
        "inspect " + small_cnn() + " --inputs " + holes, "simulate m --machine p100x4 --plan " + holes})
    expect_error(command, 1, "holes: 1099511627776 bytes are too many for a text");
  std::filesystem::remove(holes);
  const std::string bad = temporary("bad.json"), net = temporary("named.onnx"), plan = temporary("named.json");
  cli::write_file(bad, "{\n\"maxFPGAs\": ?}");
  expect_error("plan " + bad, 1, "bad.json: the file: not valid JSON at byte 15, line 2");
  expect_error("machine " + bad, 1, "bad.json: cluster file: not valid JSON");
  ASSERT_EQ(pando("zoo alexnet --no-weights -o " + net).code, 0);
  ASSERT_EQ(pando("plan " + net + " --machine p100x4 --search single -o " + plan).code, 0);
  expect_error("simulate " + net + " --machine p100x4 --plan " + plan + " --costs fitted:" + bad, 1,
               "bad.json: cost file");
  expect_error("plan " + layers_file() + " --search geo", 1, "the search geo does not fit");
}

}  // namespace
}  // namespace pando::testing
