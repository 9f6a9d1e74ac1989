// Operators that the file defines, and branches whose condition is known.
#include <gtest/gtest.h>

#include "evaluate.hpp"
#include "graph/ops/common.hpp"
#include "model_writer.hpp"

namespace pando::function_test {
namespace {

using namespace testing_onnx;
namespace t = testing_onnx;

// The outputs of a model with one input x [n].
std::vector<std::vector<float>> run(const ModelWriter& m, const std::vector<float>& x) {
  const Graph g = import_model(m);
  verify(g);
  auto in = make_constant(DType::f32, {static_cast<int64_t>(x.size())}, x);
  const std::vector<TensorPtr> known = evaluate(g, {{"x", in}});
  std::vector<std::vector<float>> out;
  for (ValueId v : g.outputs) {
    const Tensor& y = *known[v];
    EXPECT_EQ(y.dtype, DType::f32);
    const auto* p = reinterpret_cast<const float*>(y.data);
    out.emplace_back(p, p + element_count(y.shape));
  }
  return out;
}

ModelWriter with_x(int64_t n = 2) {
  ModelWriter m;
  m.input("x", t::f32, {n});
  return m;
}

void expect_error(const ModelWriter& m, ErrorCode code, std::initializer_list<std::string> parts) {
  try {
    import_model(m);
    ADD_FAILURE() << "no error";
  } catch (const Error& e) {
    const std::string message = e.what();
    EXPECT_EQ(e.code(), code) << message;
    EXPECT_EQ(message.find('\n'), message.npos) << message;
    for (const std::string& part : parts) EXPECT_NE(message.find(part), message.npos) << part << ": " << message;
  }
}

FunctionWriter function(const std::string& name, std::vector<std::string> inputs, std::vector<std::string> outputs,
                        std::vector<std::string> nodes) {
  return {"my", name, std::move(inputs), std::move(outputs), std::move(nodes)};
}

using Rows = std::vector<std::vector<float>>;

TEST(Function, IsExpandedAtEachCall) {
  ModelWriter m = with_x();
  m.function(function("Twice", {"a"}, {"t"}, {node_proto("Add", {"a", "a"}, {"t"})}));
  m.function(function("Four", {"a"}, {"t"},
                      {node_proto("Twice", {"a"}, {"u"}, {}, "my"), node_proto("Twice", {"u"}, {"t"}, {}, "my")}));
  // The same names inside and outside are different values.
  m.node("Four", {"x"}, {"t"}, {}, "my").node("Twice", {"t"}, {"u"}, {}, "my").node("Twice", {"x"}, {"y"}, {}, "my");
  EXPECT_EQ(run(m.output("u").output("y"), {1, -3}), (Rows{{8, -24}, {2, -6}}));
}

TEST(Function, AttributesAreTakenFromTheCall) {
  FunctionWriter leaky =
      function("Leaky", {"a"}, {"b"}, {node_proto("LeakyRelu", {"a"}, {"b"}, {attr_ref("alpha", "slope", 1)})});
  FunctionWriter fixed = leaky, outer = function("Outer", {"a"}, {"b"}, {});
  fixed.name = "LeakyByDefault";
  fixed.defaults = {attr("slope", 0.5f)};
  outer.attributes = {"s"};
  outer.nodes = {node_proto("Leaky", {"a"}, {"b"}, {attr_ref("slope", "s", 1)}, "my")};
  ModelWriter m = with_x();
  m.function(leaky).function(fixed).function(outer);
  m.node("Leaky", {"x"}, {"given"}, {attr("slope", 0.25f)}, "my");
  m.node("Leaky", {"x"}, {"left_out"}, {}, "my");  // the operator's own default
  m.node("LeakyByDefault", {"x"}, {"by_default"}, {}, "my");
  m.node("LeakyByDefault", {"x"}, {"over_default"}, {attr("slope", 2.0f)}, "my");
  m.node("Outer", {"x"}, {"through"}, {attr("s", 4.0f)}, "my");
  for (const char* name : {"given", "left_out", "by_default", "over_default", "through"}) m.output(name);
  EXPECT_EQ(run(m, {-1, 1}), (Rows{{-0.25f, 1}, {-0.01f, 1}, {-0.5f, 1}, {-2, 1}, {-4, 1}}));
}

TEST(Function, OperandsMayBeAbsent) {
  FunctionWriter clip = function("MyClip", {"a", "lo", "hi"}, {"b", "c"},
                                 {node_proto("Clip", {"a", "lo", "hi"}, {"b"}), node_proto("Nope", {"a"}, {"c"})});
  ModelWriter m = with_x(3);
  m.function(clip).floats("one", {}, {1});
  // Outputs that nobody wants are not looked at.
  m.node("MyClip", {"x"}, {"all"}, {}, "my").node("MyClip", {"x", "", "one"}, {"below"}, {}, "my");
  EXPECT_EQ(run(m.output("all").output("below"), {0, 1, 2}), (Rows{{0, 1, 2}, {0, 1, 1}}));
}

TEST(Function, IsFoundByDomainAndOverload) {
  FunctionWriter one = function("F", {"a"}, {"b"}, {node_proto("Neg", {"a"}, {"b"})}), two = one, three = one;
  two.overload = "abs";
  two.nodes = {node_proto("Abs", {"a"}, {"b"})};
  three.domain = "other";
  three.nodes = {node_proto("Identity", {"a"}, {"b"})};
  FunctionWriter relu{"", "Relu", {"a"}, {"b"}, {node_proto("Sub", {"a", "a"}, {"b"})}};  // shadows the standard's
  ModelWriter m = with_x();
  m.function(one).function(two).function(three).function(relu);
  m.node(node_proto("F", {"x"}, {"p"}, {}, "my"));
  m.node(node_proto("F", {"x"}, {"q"}, {}, "my", "abs"));
  m.node(node_proto("F", {"x"}, {"r"}, {}, "other"));
  m.node(node_proto("Relu", {"x"}, {"s"}, {}, "ai.onnx"));
  EXPECT_EQ(run(m.output("p").output("q").output("r").output("s"), {-2, 3}), (Rows{{2, -3}, {2, 3}, {-2, 3}, {0, 0}}));
}

// Softmax of opset 12 flattens, that of opset 13 does not: each function says its own version.
TEST(Function, HasItsOwnOpset) {
  FunctionWriter old = function("Old", {"a"}, {"b"}, {node_proto("Softmax", {"a"}, {"b"}, {attr("axis", int64_t{0})})});
  FunctionWriter recent = old;
  recent.name = "New";
  old.opset = 12;
  ModelWriter m = with_x();
  m.ints("shape", {2, 1}).node("Reshape", {"x", "shape"}, {"r"}).function(old).function(recent);
  m.node("Old", {"r"}, {"a"}, {}, "my").node("New", {"r"}, {"b"}, {}, "my");
  EXPECT_EQ(run(m.output("a").output("b"), {1, 1}), (Rows{{0.5f, 0.5f}, {0.5f, 0.5f}}));
  old.opset = 99;
  ModelWriter newer = with_x();
  newer.function(old).node("Old", {"x"}, {"a"}, {}, "my").output("a");
  expect_error(newer, ErrorCode::not_supported, {"opset 99"});
}

TEST(Function, InputsMayPassThrough) {
  ModelWriter m = with_x();
  m.function(function("Swap", {"a", "b"}, {"b", "a"}, {}));
  m.node("Neg", {"x"}, {"n"}).node("Swap", {"x", "n"}, {"y", "z"}, {}, "my");
  EXPECT_EQ(run(m.output("y").output("z"), {1, 2}), (Rows{{-1, -2}, {1, 2}}));
}

TEST(Function, ErrorsAreOneLine) {
  auto call = [](const FunctionWriter& f, std::vector<std::string> inputs = {"x"},
                 std::vector<std::string> outputs = {"y"}) {
    ModelWriter m = with_x();
    m.function(f).node(f.name, std::move(inputs), std::move(outputs), {}, f.domain);
    return m.output("y");
  };
  const FunctionWriter f = function("F", {"a"}, {"b"}, {node_proto("Neg", {"a"}, {"b"})});
  expect_error(call(f, {"x", "x"}), ErrorCode::invalid_model, {"F_node", "my.F", "2 inputs"});
  expect_error(call(f, {"x"}, {"y", "z"}), ErrorCode::invalid_model, {"F_node", "2 outputs"});
  expect_error(call(f).function(f), ErrorCode::invalid_model, {"my.F", "twice"});
  expect_error(call(function("F", {"a"}, {"b"}, {})), ErrorCode::invalid_model, {"F_node", "'b'"});
  expect_error(call(function("F", {"a"}, {"b"}, {node_proto("Neg", {"x"}, {"b"})})), ErrorCode::invalid_model,
               {"F_node/Neg_node", "'x'"});  // a function does not see the graph's names
  expect_error(call(function("F", {"a", "a"}, {"b"}, {})), ErrorCode::invalid_model, {"'a'"});
  expect_error(call(function("F", {"a"}, {"b"}, {node_proto("Nope", {"a"}, {"b"})})), ErrorCode::not_supported,
               {"Nope", "F_node/Nope_node"});
  expect_error(call(function("F", {"a"}, {"b"}, {node_proto("F", {"a"}, {"b"}, {}, "my")})), ErrorCode::invalid_model,
               {"my.F", "calls itself"});
  ModelWriter loop = with_x();
  loop.function(function("F", {"a"}, {"b"}, {node_proto("G", {"a"}, {"b"}, {}, "my")}));
  loop.function(function("G", {"a"}, {"b"}, {node_proto("F", {"a"}, {"b"}, {}, "my")}));
  expect_error(loop.node("G", {"x"}, {"y"}, {}, "my").output("y"), ErrorCode::invalid_model, {"calls itself"});
  FunctionWriter of_graph =
      function("F", {"a"}, {"b"}, {node_proto("If", {"c"}, {"b"}, {attr_ref("then_branch", "g", 5)})});
  of_graph.nodes.push_back(node_proto("Constant", {}, {"c"}, {attr("value_int", int64_t{1})}));
  ModelWriter graph;
  graph.node("Neg", {"x"}, {"t"}).output("t");
  expect_error(with_x().function(of_graph).node("F", {"x"}, {"y"}, {graph.as_attr("g")}, "my").output("y"),
               ErrorCode::not_supported, {"If_node", "graph"});
  expect_error(with_x().node("LeakyRelu", {"x"}, {"y"}, {attr_ref("alpha", "slope", 1)}).output("y"),
               ErrorCode::invalid_model, {"LeakyRelu_node", "attribute"});
}

TEST(Function, ExpansionIsBounded) {
  ModelWriter doubling = with_x();
  for (int level = 0; level < 40; level++) {
    const std::string below = level == 0 ? "Neg" : "F" + std::to_string(level - 1), domain = level == 0 ? "" : "my";
    doubling.function(
        function("F" + std::to_string(level), {"a"}, {"c"},
                 {node_proto(below, {"a"}, {"b"}, {}, domain), node_proto(below, {"b"}, {"c"}, {}, domain)}));
  }
  doubling.node("F39", {"x"}, {"y"}, {}, "my").output("y");
  expect_error(doubling, ErrorCode::invalid_model, {"expand to more than"});
  // A long chain of calls does not use the stack.
  ModelWriter chain = with_x();
  constexpr int calls = 20'000;
  for (int i = 0; i < calls; i++)
    chain.function(function(
        "F" + std::to_string(i), {"a"}, {"b"},
        {i == 0 ? node_proto("Neg", {"a"}, {"b"}) : node_proto("F" + std::to_string(i - 1), {"a"}, {"b"}, {}, "my")}));
  chain.node("F" + std::to_string(calls - 1), {"x"}, {"y"}, {}, "my").output("y");
  EXPECT_EQ(run(chain, {1, 2}), (Rows{{-1, -2}}));
}

// ---- If ----

std::string branch(const std::string& which, ModelWriter graph) { return graph.as_attr(which); }
ModelWriter single(const std::string& op, std::vector<std::string> inputs, const std::string& output) {
  ModelWriter g;
  return g.node(op, std::move(inputs), {output}).output(output);
}
ModelWriter& condition(ModelWriter& m, const std::string& name, bool value) {
  return m.initializer(raw_tensor(name, t::boolean, {}, std::vector<uint8_t>{static_cast<uint8_t>(value)}));
}

TEST(If, TakesTheBranchAndDoesNotReadTheOther) {
  for (bool taken : {true, false}) {
    ModelWriter m = with_x();
    condition(m, "c", taken).node("Nope", {"x"}, {"nope"});
    const std::string good = branch(taken ? "then_branch" : "else_branch", single("Neg", {"x"}, "n"));
    const std::string bad = branch(taken ? "else_branch" : "then_branch", single("Bad", {"nope"}, "n"));
    m.node("If", {"c"}, {"y"}, {good, bad}).output("y");
    EXPECT_EQ(run(m, {1, 2}), (Rows{{-1, -2}}));
  }
}

TEST(If, SeesNamesAroundIt) {
  ModelWriter inner, outer, m = with_x();
  // The innermost graph reads the model's own nodes, which nothing else reads and which stand behind the If.
  inner.floats("w", {}, {10}).node("Mul", {"late", "w"}, {"i"}).output("i");
  outer.floats("w", {}, {100}).node("Mul", {"x", "w"}, {"o"});
  outer.node("If", {"c"}, {"j"}, {branch("then_branch", inner), branch("else_branch", inner)});
  outer.node("Add", {"o", "j"}, {"s"}).output("s").output("j").output("x");
  condition(m, "c", true).node("If", {"c"}, {"y", "z", "p"}, {branch("then_branch", outer)});
  m.node("Neg", {"x"}, {"before"}).node("Sub", {"before", "x"}, {"late"}).output("y").output("z").output("p");
  EXPECT_EQ(run(m, {1, 2}), (Rows{{80, 160}, {-20, -40}, {1, 2}}));
}

TEST(If, ConditionMayHangOnShapes) {
  for (int64_t n : {1, 3}) {
    ModelWriter m = with_x(n);
    m.ints("one", {1}).node("Shape", {"x"}, {"s"}).node("Equal", {"s", "one"}, {"c"});
    m.node("If", {"c"}, {"y"},
           {branch("then_branch", single("Neg", {"x"}, "t")), branch("else_branch", single("Identity", {"x"}, "e"))});
    EXPECT_EQ(run(m.output("y"), std::vector<float>(static_cast<size_t>(n), 1))[0][0], n == 1 ? -1 : 1);
  }
}

TEST(If, InAFunction) {
  ModelWriter then, m = with_x();
  then.node("LeakyRelu", {"a"}, {"b"}, {attr_ref("alpha", "slope", 1)}).output("b");
  FunctionWriter f = function("F", {"a", "c"}, {"r"}, {node_proto("If", {"c"}, {"r"}, {branch("then_branch", then)})});
  condition(m, "yes", true).function(f).node("F", {"x", "yes"}, {"y"}, {attr("slope", 0.5f)}, "my");
  EXPECT_EQ(run(m.output("y"), {-2, 2}), (Rows{{-1, 2}}));
}

TEST(If, RefusesInOneLine) {
  const std::string then = branch("then_branch", single("Neg", {"x"}, "t"));
  ModelWriter unknown = with_x();
  unknown.node("ReduceMax", {"x"}, {"m"}, {attr("keepdims", int64_t{0})}).node("Greater", {"m", "m"}, {"c"});
  unknown.input("z", t::f32, {100}).node("ReduceMax", {"z"}, {"mz"}).node("Greater", {"mz", "mz"}, {"cz"});
  expect_error(unknown.node("If", {"cz"}, {"y"}, {then, then}).output("y"), ErrorCode::not_supported,
               {"If_node", "condition", "not supported"});
  ModelWriter missing = with_x();
  expect_error(condition(missing, "c", false).node("If", {"c"}, {"y"}, {then}).output("y"), ErrorCode::invalid_model,
               {"If_node", "else_branch"});
  ModelWriter cycle = with_x();
  expect_error(condition(cycle, "c", true)
                   .node("If", {"c"}, {"y"}, {branch("then_branch", single("Neg", {"w"}, "t"))})
                   .node("Neg", {"y"}, {"w"})
                   .output("y"),
               ErrorCode::invalid_model, {"cycle"});
  ModelWriter few = with_x();
  expect_error(condition(few, "c", true).node("If", {"c"}, {"y", "z"}, {then}).output("z"), ErrorCode::invalid_model,
               {"2 outputs"});
  ModelWriter nested = single("Neg", {"x"}, "t");
  for (int i = 0; i < 200; i++) {
    ModelWriter around;
    around.node("If", {"c"}, {"t"}, {branch("then_branch", nested)}).output("t");
    nested = around;
  }
  ModelWriter deep = with_x();
  expect_error(condition(deep, "c", true).node("If", {"c"}, {"y"}, {branch("then_branch", nested)}).output("y"),
               ErrorCode::invalid_model, {"branches within branches"});
}

TEST(If, ReadsManyNamesAtOnce) {
  ModelWriter m = with_x(1), then;
  constexpr int count = 20'000;
  std::vector<std::string> names;
  for (int i = 0; i < count; i++) names.push_back("v" + std::to_string(i));
  std::string last = "x";
  for (const std::string& name : names) {
    m.node("Neg", {last}, {name});
    last = name;
  }
  then.node("Concat", names, {"t"}, {attr("axis", int64_t{0})}).output("t");
  condition(m, "c", true).node("If", {"c"}, {"y"}, {branch("then_branch", then)});
  const std::vector<float> y = run(m.output("y"), {2})[0];
  ASSERT_EQ(y.size(), names.size());
  EXPECT_EQ(y[0], -2);
  EXPECT_EQ(y[count - 1], 2);
}

// Each branch reads the If before it: a stack of our own, not the thread's, holds those that wait.
TEST(If, LongChains) {
  ModelWriter m = with_x();
  constexpr int count = 5'000;
  condition(m, "c", true);
  std::string last = "x";
  for (int i = 0; i < count; i++) {
    const std::string next = "v" + std::to_string(i);
    m.node("If", {"c"}, {next}, {branch("then_branch", single("Neg", {last}, "t"))});
    last = next;
  }
  EXPECT_EQ(run(m.output(last), {1, 2}), (Rows{{1, 2}}));
}

}  // namespace
}  // namespace pando::function_test
