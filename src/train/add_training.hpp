// From a model to one training step: gradients, their exchange and the update, as operators with domains, rules and
// work like all others. Kernels are to come: the result can be planned and simulated, not run.
#pragma once
#include "graph/graph.hpp"

namespace pando {

// Both losses have the gradient prediction - target; cross-entropy puts a softmax in front where there is none.
enum class Loss : uint8_t { cross_entropy, mean_square };
enum class Optimizer : uint8_t { sgd, momentum, adam };
// Values per parameter that the optimizer keeps between steps: 0, 1, 2.
int state_count(Optimizer optimizer);

// Reverse-mode differentiation of every output. Parameters are the constants of a float type with more than one
// element. Each output gets a target (a new input); each parameter a chain gradient -> exchange -> update, whose result
// is a new output. Gradients with respect to inputs and to parameters are separate operators. Throws not_supported
// where a float output does not exist.
Graph add_training(Graph graph, Loss loss = Loss::cross_entropy, Optimizer optimizer = Optimizer::sgd);

}  // namespace pando
