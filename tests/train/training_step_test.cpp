// Steps of training as graphs: losses and updates by their formulas, and run by the engine.
#include "train/training_step.hpp"

#include <gtest/gtest.h>

#include "bind/binder.hpp"
#include "graph/ops/ops.hpp"
#include "optimize/optimize.hpp"
#include "support/evaluate.hpp"
#include "support/spoiled_run.hpp"
#include "tile/tile_graph.hpp"

namespace pando::test {
namespace {

// x [n, 6] -> tanh(x w + b) v [n, classes]
Graph network(int64_t n, int64_t classes, bool softmax = false) {
  Graph g;
  g.inputs = {g.add_value("x", DType::f32, {n, 6})};
  const auto weights = [&](const char* name, Shape shape, uint32_t seed) {
    return g.add_constant(name, random_tensor(DType::f32, std::move(shape), seed));
  };
  const ValueId hidden =
      g.add(matmul_op, "hidden", {g.inputs[0], weights("w", {6, 9}, 1), weights("b", {9}, 2)}, MatMulAttrs{});
  const ValueId tanh = g.add(map_op, "tanh", {hidden}, MapAttrs{{{{MapOp::tanh}}, 1}});
  ValueId y = g.add(matmul_op, "out", {tanh, weights("v", {9, classes}, 3)}, MatMulAttrs{});
  if (softmax) y = g.add(softmax_op, "softmax", {y}, SoftmaxAttrs{1, false});
  g.values[y].name = "y";
  g.outputs = {y};
  return g;
}

Tensors inputs_of(const TrainingStep& step, const StepOptions& options, const TensorPtr& x, const TensorPtr& labels,
                  int64_t at, double rate) {
  Tensors inputs(step.graph.inputs.size());
  inputs[0] = x;
  if (step.labels >= 0) inputs[static_cast<size_t>(step.labels)] = labels;
  inputs[static_cast<size_t>(step.rate)] = make_constant<float>(DType::f32, {3}, rates(options, at, rate));
  size_t next = static_cast<size_t>(step.rate) + 1;
  for (const TensorPtr& p : step.parameters) inputs[next++] = p;
  for (; next < inputs.size(); next++)
    inputs[next] = make_tensor(DType::f32, step.graph.shape(step.graph.inputs[next]));
  return inputs;
}

// New parameters and states take the place of the old ones.
void advance(const TrainingStep& step, Tensors& inputs, const Tensors& outputs, const StepOptions& options, int64_t at,
             double rate) {
  inputs[static_cast<size_t>(step.rate)] = make_constant<float>(DType::f32, {3}, rates(options, at, rate));
  for (size_t i = 2; i < outputs.size(); i++) inputs[static_cast<size_t>(step.rate) + i - 1] = outputs[i];
}

TEST(TrainingStep, CrossEntropyIsTheMeanOverLabelsThatCount) {
  const auto x = random_tensor(DType::f32, {4, 6}, 9);
  const auto labels = make_constant<int64_t>(DType::i64, {4}, {2, -100, 0, 4});
  double losses[2];
  for (bool softmax : {false, true}) {
    const StepOptions options{.loss = LossKind::cross_entropy};
    const TrainingStep step = make_training_step(network(4, 5, softmax), options);
    verify(step.graph);
    EXPECT_EQ(step.names, (std::vector<std::string>{"w", "b", "v"}));
    losses[softmax] = element(*evaluate(step.graph, inputs_of(step, options, x, labels, 0, 0.1))[0], 0);
  }
  EXPECT_EQ(losses[0], losses[1]);
  const TensorPtr y = evaluate(network(4, 5), {x})[0];
  double sum = 0;
  for (const auto& [row, label] : {std::pair{0, 2}, {2, 0}, {3, 4}}) {
    double total = 0;
    for (int c = 0; c < 5; c++) total += std::exp(element(*y, row * 5 + c));
    sum -= element(*y, row * 5 + label) - std::log(total);
  }
  EXPECT_NEAR(losses[0], sum / 3, 1e-5);
}

// One parameter matrix, y = x w, mean square: gradients and updates by hand.
class ByHand {
 public:
  explicit ByHand(const StepOptions& options) : options_(options) {
    for (size_t i = 0; i < 12; i++) w_.push_back(element(*start_, static_cast<int64_t>(i)));
  }
  Graph model() const {
    Graph g;
    g.inputs = {g.add_value("x", DType::f32, {5, 4})};
    g.outputs = {g.add(matmul_op, "y", {g.inputs[0], g.add_constant("w", start_)}, MatMulAttrs{}, "y")};
    return g;
  }
  const TensorPtr x = random_tensor(DType::f32, {5, 4}, 5), target = random_tensor(DType::f32, {5, 3}, 6);

  void step(int t, double rate) {
    std::vector<double> d(12);
    for (int r = 0; r < 5; r++)
      for (int c = 0; c < 3; c++) {
        double y = 0;
        for (int k = 0; k < 4; k++) y += element(*x, r * 4 + k) * w_[k * 3 + c];
        for (int k = 0; k < 4; k++) d[k * 3 + c] += 2 * (y - element(*target, r * 3 + c)) / 15 * element(*x, r * 4 + k);
      }
    double norm = 0;
    for (double v : d) norm += v * v;
    if (options_.clip_norm > 0)
      for (double& v : d) v *= std::min(1.0, options_.clip_norm / (std::sqrt(norm) + 1e-6));
    for (size_t i = 0; i < 12; i++) update(i, d[i], t, rate);
  }
  const std::vector<double>& weights() const { return w_; }

 private:
  void update(size_t i, double d, int t, double rate) {
    const StepOptions& o = options_;
    if (o.rule == UpdateRule::adamw) w_[i] *= 1 - rate * o.weight_decay;
    else d += o.weight_decay * w_[i];
    if (o.rule == UpdateRule::sgd) {
      m_[i] = o.momentum * m_[i] + d;
      w_[i] -= rate * m_[i];
      return;
    }
    m_[i] = o.beta1 * m_[i] + (1 - o.beta1) * d;
    v_[i] = o.beta2 * v_[i] + (1 - o.beta2) * d * d;
    const double m = m_[i] / (1 - std::pow(o.beta1, t + 1)), v = v_[i] / (1 - std::pow(o.beta2, t + 1));
    w_[i] -= rate * m / (std::sqrt(v) + o.epsilon);
  }

  const StepOptions options_;
  const TensorPtr start_ = random_tensor(DType::f32, {4, 3}, 4);
  std::vector<double> w_, m_ = std::vector<double>(12), v_ = std::vector<double>(12);
};

TEST(TrainingStep, UpdatesAreThoseOfTheFormulas) {
  for (const UpdateRule rule : {UpdateRule::sgd, UpdateRule::adam, UpdateRule::adamw})
    for (const double momentum : {0.0, 0.9})
      for (const double clip : {0.0, 0.05}) {
        StepOptions options{.loss = LossKind::mean_square, .rule = rule, .momentum = momentum};
        options.weight_decay = 0.01, options.clip_norm = clip;
        ByHand hand(options);
        const TrainingStep step = make_training_step(hand.model(), options);
        Tensors inputs = inputs_of(step, options, hand.x, hand.target, 0, 0.1);
        for (int t = 0; t < 8; t++) {
          const double rate = 0.1 / (1 + t);
          if (t == 0)
            inputs[static_cast<size_t>(step.rate)] = make_constant<float>(DType::f32, {3}, rates(options, 0, rate));
          const Tensors outputs = evaluate(step.graph, inputs);
          hand.step(t, rate);
          for (int64_t i = 0; i < 12; i++) ASSERT_NEAR(element(*outputs[2], i), hand.weights()[i], 1e-5) << t;
          advance(step, inputs, outputs, options, t + 1, 0.1 / (2 + t));
        }
      }
}

TEST(TrainingStep, GivesTheSameBitsOnAnyNumberOfWorkersAndLearns) {
  const StepOptions options{.rule = UpdateRule::adam};
  const TrainingStep step = make_training_step(network(32, 4), options);
  const Graph graph = optimize(step.graph);
  const auto x = random_tensor(DType::f32, {32, 6}, 20);
  std::vector<int64_t> classes;
  for (int64_t i = 0; i < 32; i++) classes.push_back((element(*x, i * 6) > 0) + 2 * (element(*x, i * 6 + 1) > 0));
  const auto labels = make_constant<int64_t>(DType::i64, {32}, classes);
  Tensors first;
  for (const double tile_us : {0.0, 1.0})
    for (const int workers : {1, 2, 3}) {
      const TileGraph tiles = tile(graph, Machine::host(), {.tile_us = tile_us});
      auto program = bind(tiles);
      Tensors inputs = inputs_of(step, options, x, labels, 0, 0.02), outputs;
      double loss[2] = {};
      for (int t = 0; t < 60; t++) {
        SpoiledRun run(engine(workers), program, inputs, {.random_delay_us = workers > 1 ? 2u : 0u});
        run.spoil(0xff);
        run.run();
        outputs = run.outputs();
        loss[t > 0] = element(*outputs[0], 0);
        advance(step, inputs, outputs, options, t + 1, 0.02);
      }
      EXPECT_LT(loss[1], loss[0] / 3);
      if (first.empty()) first = outputs;
      for (size_t i = 0; i < outputs.size(); i++)
        ASSERT_EQ(std::memcmp(first[i]->data, outputs[i]->data, first[i]->bytes()), 0) << workers << " workers, " << i;
    }
}

TEST(TrainingStep, SaysWhatCannotBeTrained) {
  const auto message = [](Graph g, const StepOptions& options) -> std::string {
    try {
      make_training_step(std::move(g), options);
    } catch (const Error& e) {
      return e.what();
    }
    return "";
  };
  EXPECT_EQ(message(network(2, 3), {.output = "z"}), "the model has no output 'z'");
  EXPECT_EQ(message(network(2, 3), {.loss = LossKind::given}), "output 'y' has shape [2,3], a loss is one number");
  EXPECT_EQ(message(network(2, 3), {.class_axis = 2}), "class axis 2 is none of output 'y' [2,3]");
  EXPECT_EQ(message(network(2, 3), {.trains = [](const std::string&) { return false; }}),
            "output 'y' depends on no parameter that could be trained");
}

}  // namespace
}  // namespace pando::test
