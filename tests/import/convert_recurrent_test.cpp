// LSTM: directions and layouts by way of one another, and what is refused.
#include <gtest/gtest.h>

#include "import/evaluate.hpp"
#include "import/model_writer.hpp"
#include "support/evaluate.hpp"

namespace pando {
namespace {

using namespace testing_onnx;
namespace t = testing_onnx;

constexpr int64_t steps = 4, batch = 3, features = 5, hidden = 2;

struct Setup {
  std::vector<std::string> attributes;
  int64_t directions = 1;
  bool layout = false;
  std::vector<std::string> extra;  // operands behind the bias
};

ModelWriter model(const Setup& s) {
  ModelWriter m(17);
  auto random = [&](const std::string& name, const Shape& shape, uint32_t seed) {
    TensorPtr v = test::random_tensor(DType::f32, shape, seed);
    std::vector<float> data(static_cast<size_t>(element_count(shape)));
    std::memcpy(data.data(), v->data, v->bytes());
    m.floats(name, shape, data);
  };
  // One set of weights per direction; that of the last is always the same.
  random("w", {s.directions, 4 * hidden, features}, 1);
  random("r", {s.directions, 4 * hidden, hidden}, 2);
  random("b", {s.directions, 8 * hidden}, 3);
  m.input("x", t::f32, s.layout ? Shape{batch, steps, features} : Shape{steps, batch, features});
  std::vector<std::string> inputs{"x", "w", "r", "b"}, attributes = s.attributes;
  inputs.insert(inputs.end(), s.extra.begin(), s.extra.end());
  attributes.push_back(attr("hidden_size", hidden));
  if (s.layout) attributes.push_back(attr("layout", int64_t{1}));
  m.node("LSTM", inputs, {"y", "y_h", "y_c"}, attributes);
  for (const char* name : {"y", "y_h", "y_c"}) m.output(name);
  return m;
}

using Floats = std::vector<float>;

struct Outputs {
  Shape shape;
  Floats y, y_h, y_c;
};

Outputs run_states(const ModelWriter& m, const Floats& x) {
  Graph g = import_model(m);
  verify(g);
  auto values = evaluate(g, {{"x", make_constant(DType::f32, g.shape(g.inputs[0]), x)}});
  auto floats = [&](size_t i) {
    const Tensor& v = *values[g.outputs[i]];
    Floats f(static_cast<size_t>(element_count(v.shape)));
    std::memcpy(f.data(), v.data, v.bytes());
    return f;
  };
  return {g.shape(g.outputs[0]), floats(0), floats(1), floats(2)};
}

// Dimensions a and b of a dense tensor in the other order; c elements each.
Floats swapped(const Floats& v, size_t a, size_t b, size_t c) {
  Floats out(v.size());
  for (size_t i = 0; i < a; i++)
    for (size_t j = 0; j < b; j++)
      for (size_t k = 0; k < c; k++) out[(j * a + i) * c + k] = v[(i * b + j) * c + k];
  return out;
}

Floats reversed_steps(const Floats& v) {
  size_t row = v.size() / steps;
  Floats out(v.size());
  for (size_t i = 0; i < steps; i++)
    std::copy_n(v.begin() + static_cast<long>(i * row), row, out.begin() + static_cast<long>((steps - 1 - i) * row));
  return out;
}

Floats input() {
  TensorPtr v = test::random_tensor(DType::f32, {steps, batch, features}, 9);
  Floats x(static_cast<size_t>(steps * batch * features));
  std::memcpy(x.data(), v->data, v->bytes());
  return x;
}

TEST(ConvertLstm, LastStepsAreTheStates) {
  Outputs o = run_states(model({}), input());
  EXPECT_EQ(o.shape, (Shape{steps, 1, batch, hidden}));
  EXPECT_EQ(Floats(o.y.end() - batch * hidden, o.y.end()), o.y_h);
}

TEST(ConvertLstm, BatchFirst) {
  Outputs time = run_states(model({}), input()),
          batches = run_states(model({{}, 1, true, {}}), swapped(input(), steps, batch, features));
  EXPECT_EQ(batches.shape, (Shape{batch, steps, 1, hidden}));
  EXPECT_EQ(swapped(time.y, steps, batch, hidden), batches.y);
  EXPECT_EQ(time.y_h, batches.y_h);
  EXPECT_EQ(time.y_c, batches.y_c);
}

TEST(ConvertLstm, ReverseIsForwardOnReversedSteps) {
  Outputs forward = run_states(model({}), reversed_steps(input())),
          reverse = run_states(model({{attr("direction", "reverse")}}), input());
  EXPECT_EQ(reversed_steps(forward.y), reverse.y);
  EXPECT_EQ(forward.y_h, reverse.y_h);
}

TEST(ConvertLstm, BothDirections) {
  // The first half of the weights is that of the forward model: they are drawn alike.
  Outputs both = run_states(model({{attr("direction", "bidirectional")}, 2, false, {}}), input()),
          forward = run_states(model({}), input());
  ASSERT_EQ(both.shape, (Shape{steps, 2, batch, hidden}));
  size_t half = batch * hidden;
  for (size_t s = 0; s < steps; s++)
    for (size_t i = 0; i < half; i++) EXPECT_EQ(both.y[2 * s * half + i], forward.y[s * half + i]);
  EXPECT_TRUE(std::equal(forward.y_c.begin(), forward.y_c.end(), both.y_c.begin()));
  // The backward half ends with the first step.
  for (size_t i = 0; i < half; i++) EXPECT_EQ(both.y_h[half + i], both.y[half + i]);
}

std::string refusal(const ModelWriter& m) {
  try {
    import_model(m);
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::not_supported) << e.what();
    return e.what();
  }
  return "accepted";
}

TEST(ConvertLstm, RefusesWhatItCannotDo) {
  using Strings = std::vector<std::string>;
  EXPECT_EQ(refusal(model({{attr("activations", Strings{"Sigmoid", "Tanh", "Tanh"})}})), "accepted");
  for (const auto& [attribute, what] :
       {std::pair{attr("activations", Strings{"Sigmoid", "Relu", "Tanh"}), "'Relu'"},
        std::pair{attr("clip", 1.0f), "clip is"}, std::pair{attr("input_forget", int64_t{1}), "input_forget is"}}) {
    std::string message = refusal(model({{attribute}}));
    EXPECT_NE(message.find(what), std::string::npos) << message;
    EXPECT_NE(message.find("not supported"), std::string::npos) << message;
  }
  for (int32_t length : {static_cast<int32_t>(steps), 1}) {
    ModelWriter lengths = model({{}, 1, false, {"lengths"}});
    lengths.initializer(raw_tensor("lengths", t::i32, {batch}, std::vector<int32_t>(batch, length)));
    std::string message = refusal(lengths);
    if (length == steps) EXPECT_EQ(message, "accepted");
    else EXPECT_NE(message.find("sequence_lens"), std::string::npos) << message;
  }
  ModelWriter given = model({{}, 1, false, {"lengths"}});
  given.input("lengths", t::i32, {batch});
  EXPECT_THROW(import_model(given), NeedsInputValue);
}

TEST(ConvertLstm, WrongWeightsAreNamed) {
  ModelWriter m = model({{attr("direction", "bidirectional")}});
  try {
    import_model(m);
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::invalid_model);
    EXPECT_NE(std::string(e.what()).find("LSTM_node"), std::string::npos) << e.what();
  }
}

}  // namespace
}  // namespace pando
