// Runs the tiles of a Program one after the other on the calling thread, in an order of the test's choice.
#pragma once
#include "bind/binder.hpp"
#include "support/evaluate.hpp"
#include "support/model_sketch.hpp"

namespace pando::test {

// A linear order of the tiles that obeys all edges: at each step one of the ready tiles is drawn. With `last`, that
// tile, and with it all that needs it, is held back until nothing else is ready: whatever does not wait for it runs
// before it, so that a missing edge to it cannot hide.
inline std::vector<uint32_t> draw_order(const Program& program, Random& random, uint32_t last = UINT32_MAX) {
  std::vector<uint32_t> left = program.need, ready, order;
  for (uint32_t t = 0; t < program.tiles; t++)
    if (left[t] == 0) ready.push_back(t);
  auto finish = [&](uint32_t node, auto&& self) -> void {
    for (uint32_t e = program.successor_begin[node]; e < program.successor_begin[node + 1]; e++) {
      const uint32_t next = program.successors[e];
      if (--left[next] > 0) continue;
      if (next < program.tiles) ready.push_back(next);
      else self(next, self);
    }
  };
  while (!ready.empty()) {
    auto at = static_cast<size_t>(random.below(std::ssize(ready)));
    if (ready[at] == last && ready.size() > 1) at = at == 0 ? 1 : at - 1;
    const uint32_t tile = ready[at];
    ready[at] = ready.back();
    ready.pop_back();
    order.push_back(tile);
    finish(tile, finish);
  }
  return order;
}

// The tiles in the order of their numbers.
inline std::vector<uint32_t> serial_order(const Program& program) {
  std::vector<uint32_t> order(program.tiles);
  for (uint32_t t = 0; t < program.tiles; t++) order[t] = t;
  return order;
}

// Arena and outputs are full of NaNs at first, the scratch before each tile.
inline std::vector<TensorPtr> run_in_order(const Program& program, const std::vector<TensorPtr>& inputs,
                                           const std::vector<uint32_t>& order) {
  AlignedBuffer arena(program.arena_bytes), scratch(program.scratch_bytes);
  if (arena.size() > 0) std::memset(arena.data(), 0xff, arena.size());
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
  for (uint32_t tile : order) {
    const TileCode& code = program.code[tile];
    if (scratch.size() > 0) std::memset(scratch.data(), 0xff, scratch.size());
    program.kernels[code.kernel](program.arguments.data() + code.op, program.arguments.data() + code.tile, context);
  }
  return outputs;
}

inline bool same_bits(const std::vector<TensorPtr>& a, const std::vector<TensorPtr>& b) {
  for (size_t i = 0; i < a.size(); i++)
    if (std::memcmp(a[i]->data, b[i]->data, a[i]->bytes()) != 0) return false;
  return true;
}

}  // namespace pando::test
