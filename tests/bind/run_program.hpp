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

}  // namespace pando::test
