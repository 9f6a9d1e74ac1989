// Runs a one-operator graph tile by tile on the calling thread, for tests of bind functions.
#pragma once
#include "bind/binder.hpp"
#include "support/evaluate.hpp"

namespace pando::test {

// The tiles in their serial reference order; scratch is filled with NaNs between tiles.
inline std::vector<TensorPtr> run_serially(const Program& program, const std::vector<TensorPtr>& inputs) {
  AlignedBuffer arena(program.arena_bytes + 64), scratch(program.scratch_bytes + 64);
  std::vector<TensorPtr> outputs;
  std::vector<std::byte*> bases{arena.data(), program.weights.data()};
  for (const TensorPtr& t : inputs) bases.push_back(const_cast<std::byte*>(t->data));
  for (const ProgramPort& port : program.outputs) {
    auto t = make_tensor(port.dtype, port.shape);
    std::memset(writable(*t), 0xff, t->bytes());
    bases.push_back(writable(*t));
    outputs.push_back(t);
  }
  for (const std::byte* c : program.constants) bases.push_back(const_cast<std::byte*>(c));
  const TileContext context{bases.data(), scratch.data(), program.functions.data(), program.attributes.data()};
  for (const TileCode& code : program.code) {
    std::memset(scratch.data(), 0xff, program.scratch_bytes);
    program.kernels[code.kernel](program.arguments.data() + code.op, program.arguments.data() + code.tile, context);
  }
  return outputs;
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
