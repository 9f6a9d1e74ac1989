// RNN, GRU, LSTM: directions and layouts by way of one another, and what is refused.
#include <gtest/gtest.h>

#include <cmath>

#include "graph/ops/ops.hpp"
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
    EXPECT_EQ(e.code(), ErrorCode::invalid_model) << e.what();
    EXPECT_EQ(std::string(e.what()).find('\n'), std::string::npos) << e.what();
    return e.what();
  }
  return "accepted";
}

using Strings = std::vector<std::string>;

TEST(ConvertLstm, RefusesAttributesThatDoNotFit) {
  EXPECT_EQ(refusal(model({{attr("activations", Strings{"Sigmoid", "Tanh", "Tanh"})}})), "accepted");
  EXPECT_EQ(refusal(model({{attr("activations", Strings{"Softplus", "Relu", "Affine"}), attr("clip", 1.0f),
                            attr("input_forget", int64_t{1})}})),
            "accepted");
  for (const auto& [attribute, what] :
       {std::pair{attr("activations", Strings{"Sigmoid", "Swish", "Tanh"}), "activation 'Swish'"},
        std::pair{attr("activations", Strings{"Sigmoid", "Tanh"}), "2 activations, expected 3"},
        std::pair{attr("activations", Strings{"Tanh", "Tanh", "Tanh", "Tanh"}), "4 activations, expected 3"},
        std::pair{attr("clip", -1.0f), "clip -1, expected a positive number"},
        std::pair{attr("direction", "sideways"), "direction 'sideways'"}}) {
    std::string message = refusal(model({{attribute}}));
    EXPECT_NE(message.find(what), std::string::npos) << message;
  }
}

// Of each cell: the operands by which w, r and b may be wrong.
TEST(ConvertRecurrent, RefusesWeightsThatDoNotFit) {
  for (const auto& [op, gates] : {std::pair{"RNN", 1}, std::pair{"GRU", 3}, std::pair{"LSTM", 4}}) {
    auto message = [&, op = op](const Shape& w, const Shape& r, const Shape& b) {
      ModelWriter m(17);
      m.input("x", t::f32, {steps, batch, features});
      m.input("w", t::f32, w).input("r", t::f32, r).input("b", t::f32, b);
      m.node(op, {"x", "w", "r", "b"}, {"y"}, {});
      m.output("y");
      return refusal(m);
    };
    const int64_t rows = gates * hidden;
    const Shape w{1, rows, features}, r{1, rows, hidden}, b{1, 2 * rows};
    EXPECT_EQ(message(w, r, b), "accepted") << op;
    EXPECT_NE(message({1, rows + 1, features}, r, b).find("weights ["), std::string::npos) << op;
    EXPECT_NE(message(w, {1, rows, hidden + 1}, b).find("weights ["), std::string::npos) << op;
    EXPECT_NE(message({2, rows, features}, r, b).find("weights ["), std::string::npos) << op;
    EXPECT_NE(message({rows, features}, r, b).find("expected 3 dimensions"), std::string::npos) << op;
    EXPECT_NE(message(w, r, {1, rows}).find("operand 3 is ["), std::string::npos) << op;
  }
}

// Parameters are consumed by the activations that take them; what is left over is refused.
TEST(ConvertRecurrent, ParametersOfActivations) {
  auto with = [](std::vector<float> alphas) {
    return model({{attr("activations", Strings{"HardSigmoid", "Tanh", "Elu"}), attr("activation_alpha", alphas),
                   attr("activation_beta", std::vector<float>{0.25f})}});
  };
  const Graph g = import_model(with({0.125f}));
  for (const Node& node : g.nodes) {
    if (node.op != &recurrent_op) continue;
    const auto& a = node.attrs.as<RecurrentAttrs>().activations;
    ASSERT_EQ(a.size(), 3u);
    EXPECT_EQ(a[0].kind, ActivationKind::hard_sigmoid);
    EXPECT_EQ(a[0].alpha, 0.125f);
    EXPECT_EQ(a[0].beta, 0.25f);
    EXPECT_EQ(a[2].kind, ActivationKind::elu);
    EXPECT_EQ(a[2].alpha, 1.0f);
  }
  EXPECT_NE(refusal(with({1, 2, 3})).find("3 activation_alpha"), std::string::npos);
}

// Lengths that differ: each sequence as if it were alone, zeros behind its end.
TEST(ConvertLstm, EachSequenceHasItsLength) {
  const std::vector<int32_t> lengths{2, static_cast<int32_t>(steps), 0};
  const Floats x = input();
  for (bool layout : {false, true}) {
    for (const char* direction : {"forward", "reverse", "bidirectional"}) {
      const int64_t directions = std::string(direction) == "bidirectional" ? 2 : 1;
      const struct Setup s {
        {attr("direction", direction)}, directions, layout, { "lengths", "h", "c", "p" }
      };
      auto with_states = [&](int64_t n) {
        ModelWriter m = model(s);
        auto draw = [&](const std::string& name, Shape shape, uint32_t seed) {
          TensorPtr v = test::random_tensor(DType::f32, shape, seed);
          m.initializer(raw_tensor(name, t::f32, shape,
                                   Floats(reinterpret_cast<const float*>(v->data),
                                          reinterpret_cast<const float*>(v->data) + element_count(shape))));
        };
        draw("h", layout ? Shape{n, directions, hidden} : Shape{directions, n, hidden}, 5);
        draw("c", layout ? Shape{n, directions, hidden} : Shape{directions, n, hidden}, 6);
        draw("p", {directions, 3 * hidden}, 7);
        return m;
      };
      const Floats fed = layout ? swapped(x, steps, batch, features) : x;
      ModelWriter constant = with_states(batch), given = with_states(batch);
      constant.initializer(raw_tensor("lengths", t::i32, {batch}, lengths));
      given.input("lengths", t::i32, {batch});
      const Outputs o = run_states(constant, fed);
      // The same when the lengths come with a run; what is out of range is taken as the nearest that is in it.
      const Graph g = import_model(given);
      for (const std::vector<int32_t>& same : {lengths, {2, 99, -1}}) {
        auto values = evaluate(g, {{"x", make_constant(DType::f32, g.shape(g.inputs[0]), fed)},
                                   {"lengths", make_constant(DType::i32, {batch}, same)}});
        EXPECT_EQ(std::memcmp(values[g.outputs[0]]->data, o.y.data(), o.y.size() * 4), 0);
        EXPECT_EQ(std::memcmp(values[g.outputs[1]]->data, o.y_h.data(), o.y_h.size() * 4), 0);
        EXPECT_EQ(std::memcmp(values[g.outputs[2]]->data, o.y_c.data(), o.y_c.size() * 4), 0);
      }
      auto y = [&](int64_t step, int64_t d, int64_t n, int64_t i) {
        return layout ? o.y[static_cast<size_t>(((n * steps + step) * directions + d) * hidden + i)]
                      : o.y[static_cast<size_t>(((step * directions + d) * batch + n) * hidden + i)];
      };
      auto state = [&](const Floats& v, int64_t d, int64_t n, int64_t i) {
        return v[static_cast<size_t>(layout ? (n * directions + d) * hidden + i : (d * batch + n) * hidden + i)];
      };
      const TensorPtr h = test::random_tensor(DType::f32, {directions * batch * hidden}, 5);
      const Floats initial(reinterpret_cast<const float*>(h->data),
                           reinterpret_cast<const float*>(h->data) + directions * batch * hidden);
      for (int64_t d = 0; d < directions; d++) {
        const bool backward = d == 1 || std::string(direction) == "reverse";
        for (int64_t i = 0; i < hidden; i++) {
          for (int64_t n = 0; n < batch; n++) {
            for (int64_t step = lengths[static_cast<size_t>(n)]; step < steps; step++) EXPECT_EQ(y(step, d, n, i), 0);
            const int64_t last = backward ? 0 : lengths[static_cast<size_t>(n)] - 1;
            if (last >= 0 && n != 2) {
              EXPECT_EQ(state(o.y_h, d, n, i), y(last, d, n, i));
            }
          }
          EXPECT_EQ(state(o.y_h, d, 2, i), state(initial, d, 2, i));
        }
      }
    }
  }
}

// The first two steps of a sequence are those of the same sequence cut off there; backwards, too.
TEST(ConvertLstm, WhatIsBehindTheEndIsNotRead) {
  for (const char* direction : {"forward", "reverse"}) {
    ModelWriter m = model({{attr("direction", direction)}, 1, false, {"lengths"}});
    m.initializer(raw_tensor("lengths", t::i32, {batch}, std::vector<int32_t>(batch, 2)));
    Floats x = input();
    const Outputs clean = run_states(m, x);
    std::fill(x.begin() + 2 * batch * features, x.end(), NAN);
    const Outputs spoiled = run_states(m, x);
    EXPECT_EQ(clean.y, spoiled.y);
    EXPECT_EQ(clean.y_h, spoiled.y_h);
    EXPECT_EQ(clean.y_c, spoiled.y_c);
    EXPECT_NE(clean.y_h, Floats(clean.y_h.size(), 0));
  }
}

TEST(ConvertLstm, RefusesLengthsOutOfRange) {
  for (int32_t length : {static_cast<int32_t>(steps) + 1, -1}) {
    ModelWriter m = model({{}, 1, false, {"lengths"}});
    m.initializer(raw_tensor("lengths", t::i32, {batch}, std::vector<int32_t>(batch, length)));
    try {
      import_model(m);
      ADD_FAILURE() << length;
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::invalid_model);
      EXPECT_NE(std::string(e.what()).find("sequence_lens"), std::string::npos) << e.what();
    }
  }
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
