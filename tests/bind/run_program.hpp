// Runs a one-operator graph tile by tile on the calling thread, for tests of bind functions.
#pragma once
#include "support/ordered_run.hpp"

namespace pando::test {

// The tiles in their serial reference order; scratch is filled with NaNs between tiles.
inline std::vector<TensorPtr> run_serially(const Program& program, const std::vector<TensorPtr>& inputs) {
  return run_in_order(program, inputs, serial_order(program));
}

inline std::vector<TensorPtr> run_graph(const Graph& graph, const std::vector<TensorPtr>& inputs,
                                        const TileOptions& options = {}, const Machine& machine = Machine::host()) {
  return run_serially(*bind(tile(graph, machine, options)), inputs);
}

// A graph under construction, with its constants drawn.
struct Model {
  Graph graph;
  uint32_t seed = 1;
  ValueId input(Shape shape, DType type = DType::f32) {
    ValueId v = graph.add_value("input" + std::to_string(graph.inputs.size()), type, std::move(shape));
    graph.inputs.push_back(v);
    return v;
  }
  ValueId constant(Shape shape) {
    return graph.add_constant("", random_tensor(DType::f32, std::move(shape), 100 + seed++));
  }
  void finish(ValueId v) { graph.outputs = {v}; }
};

}  // namespace pando::test
