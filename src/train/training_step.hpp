// One step of training as a graph that runs: the model, its loss, gradients and the optimizer's update.
#pragma once
#include <functional>
#include <string>

#include "graph/graph.hpp"

namespace pando {

// As PyTorch 1.13 has them: weight decay is added to the gradient, but for adamw; epsilon stands outside of the root.
enum class UpdateRule : uint8_t { sgd, adam, adamw };
// cross_entropy: the mean over labels of -log softmax(output)[label]; a softmax or log-softmax that the model ends with
// is taken for it. mean_square: the mean over all elements of (output - target)^2. given: the output is the loss.
enum class LossKind : uint8_t { cross_entropy, mean_square, given };

struct StepOptions {
  LossKind loss = LossKind::cross_entropy;
  std::string output;       // whose loss; empty: the first
  int64_t class_axis = -1;  // of cross_entropy; negative counts from the end
  int64_t ignore = -100;    // a label that does not count
  UpdateRule rule = UpdateRule::sgd;
  double momentum = 0, beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, weight_decay = 0;
  double clip_norm = 0;                                      // of all gradients together; 0: none
  std::function<bool(const std::string& parameter)> trains;  // null: all
  std::function<bool(const std::string& parameter)> decays;  // null: all
};

// The graph's inputs: the model's; `labels` (i64, the output's shape without the class axis) or the target (the
// output's shape), unless the loss is given; `rate`, f32 [3], see rates(); parameters; states. Its outputs: loss and
// gradient norm (f32 scalars), new parameters, new states, in the same order.
struct TrainingStep {
  Graph graph;
  int labels = -1, rate = -1;         // places among the graph's inputs; labels: -1 where the loss is given
  std::vector<std::string> names;     // of parameters
  std::vector<TensorPtr> parameters;  // as the model has them
  int states = 0;                     // per parameter, of its type and shape; zeros at first
};

// Parameters are the constants of float32 with more than one element that the loss's gradient reaches. Throws
// not_supported where an operator between has no gradient, invalid_argument when nothing is trained or a loss does not
// fit its output.
TrainingStep make_training_step(Graph model, const StepOptions& options);

// What `rate` holds in step `step` (from 0) at a learning rate: the rate; for adam and adamw also the rate over
// 1 - beta1^(step + 1), and 1 / sqrt(1 - beta2^(step + 1)).
std::vector<float> rates(const StepOptions& options, int64_t step, double learning_rate);

}  // namespace pando
