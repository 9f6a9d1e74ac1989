// Runs a one-operator graph tile by tile on the calling thread, for tests of bind functions.
#pragma once
#include "support/spoiled_run.hpp"

namespace pando::test {

// The tiles in their serial reference order; scratch is filled with NaNs between tiles. In a build for the thread
// sanitizer they run on several threads instead, or there would be no races to see.
inline std::vector<TensorPtr> run_tiles(const TileGraph& tiles, const std::vector<TensorPtr>& inputs) {
  auto program = bind(tiles);
#ifdef __SANITIZE_THREAD__
  SpoiledRun run(engine(3), program, inputs, {.random_delay_us = 5});
  run.spoil(0xff);
  run.run();
  return run.outputs();
#endif
  return run_in_order(*program, inputs, serial_order(*program), &tiles);
}

inline std::vector<TensorPtr> run_graph(const Graph& graph, const std::vector<TensorPtr>& inputs,
                                        const TileOptions& options = {}, const Machine& machine = Machine::host()) {
  return run_tiles(tile(graph, machine, options), inputs);
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
