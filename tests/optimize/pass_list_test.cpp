// Passes as a list: what is left out, what is reported, and that unsound graphs are found.
#include "optimize/models.hpp"

namespace pando::test {
namespace {

Graph keep(Graph graph, CompileContext&) { return graph; }
// The output's producer is lost.
Graph lose_a_node(Graph graph, CompileContext&) {
  graph.nodes.pop_back();
  return graph;
}

// Convolutions, pooling, attention, flattened rows, constants to fold and equal nodes.
Graph mixed_model() {
  Builder b;
  ValueId x = b.max_pool(b.bottleneck(b.input({1, 3, 8, 8}), 4, 16, 1), 3, 2);
  x = b.reshape(b.nhwc(x), {1, 16, 16});
  x = b.gpt2_layer(b.bert_layer(x, 4, none), 2);
  const ValueId scale = b.add(b.weights({16}), b.weights({16}));
  return b.done({b.mul(b.softmax(x), scale), b.mul(b.softmax(x), scale)});
}

TEST(PassList, NamesAreUniqueAndOfThePasses) {
  const std::vector<std::string> names = pass_names();
  EXPECT_EQ(std::set<std::string>(names.begin(), names.end()).size(), names.size());
  for (const Pass& pass : pass_list()) EXPECT_EQ(std::count(names.begin(), names.end(), pass.name), 1) << pass.name;
  EXPECT_EQ(names.front(), pass_list().front().name);
}

TEST(PassList, AnyPassMayBeLeftOut) {
  const Graph before = mixed_model();
  for (const std::string& name : pass_names()) {
    SCOPED_TRACE("without " + name);
    OptimizeOptions options;
    options.skip = {name};
    check_optimize(before, 1e-4, options);
  }
  OptimizeOptions none_left;
  none_left.skip = pass_names();
  EXPECT_EQ(optimize(before, none_left).nodes.size(), before.nodes.size());
}

TEST(PassList, UnknownNamesAreRefused) {
  OptimizeOptions options;
  options.skip = {"fuse_maps", "no_pass"};
  try {
    optimize(mixed_model(), options);
    FAIL() << "taken";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::invalid_argument);
    const std::string message = e.what();
    EXPECT_NE(message.find("'no_pass'"), message.npos) << message;
    for (const std::string& name : pass_names()) EXPECT_NE(message.find(name), message.npos) << name;
  }
}

TEST(PassList, EveryRunIsReported) {
  for (const char* skipped : {"", "simplify_movement"}) {
    OptimizeOptions options;
    if (*skipped) options.skip = {skipped};
    std::vector<std::string> expected, ran;
    for (const Pass& pass : pass_list())
      if (std::string(pass.name) != skipped) expected.emplace_back(pass.name);
    const Graph before = mixed_model();
    uint64_t nodes = before.nodes.size();
    options.observe = [&](const PassRun& run, const Graph& after) {
      ran.push_back(run.name);
      EXPECT_EQ(run.nodes_before, nodes) << run.name;
      EXPECT_EQ(run.nodes_after, after.nodes.size()) << run.name;
      EXPECT_GE(run.ms, 0) << run.name;
      nodes = run.nodes_after;
    };
    EXPECT_EQ(optimize(before, options).nodes.size(), nodes);
    EXPECT_EQ(ran, expected);
    EXPECT_LT(nodes, before.nodes.size());
  }
}

TEST(PassList, TestsVerifyEveryPass) {
  const Pass passes[] = {{"keep", nullptr, keep}, {"lose_a_node", nullptr, lose_a_node}, {"keep", nullptr, keep}};
  auto error = [&](const Graph& graph, const OptimizeOptions& options) -> std::string {
    try {
      run_passes(passes, graph, options);
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::internal);
      return e.what();
    }
    return "";
  };
  Builder b;
  Graph sound = b.done({b.relu(b.input({2}))});
  EXPECT_EQ(error(sound, {}).rfind("after pass lose_a_node: ", 0), 0u);
  OptimizeOptions off;
  off.verify = false;
  EXPECT_EQ(error(sound, off), "");
  OptimizeOptions skipping;
  skipping.skip = {"lose_a_node"};
  EXPECT_EQ(error(sound, skipping), "");
  CompileContext context;
  EXPECT_EQ(error(lose_a_node(sound, context), {}).rfind("before the first pass: ", 0), 0u);
}

}  // namespace
}  // namespace pando::test
