// Runs the tiles of a Program one after the other on the calling thread, in an order of the test's choice.
#pragma once
#include <array>

#include "base/sanitizer.hpp"
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

// Calls f(address, bytes) for the runs of contiguous bytes that box `box` of a value covers.
template <class F>
void for_each_run(const Storage& storage, size_t element_bytes, std::byte* buffer, const Box& box, F&& f) {
  for (int i = 0; i < box.rank; i++)
    if (box[i].empty()) return;
  const int last = box.rank - 1;
  const bool dense = box.rank > 0 && storage.strides[last] == 1;
  std::array<int64_t, max_rank> at{};
  for (int i = 0; i < box.rank; i++) at[static_cast<size_t>(i)] = box[i].lo;
  for (;;) {
    int64_t offset = storage.offset;
    for (int i = 0; i < box.rank; i++) offset += at[static_cast<size_t>(i)] * storage.strides[i];
    const auto elements = static_cast<size_t>(dense ? box[last].hi - box[last].lo : 1);
    f(buffer + offset * static_cast<int64_t>(element_bytes), elements * element_bytes);
    int i = dense ? last - 1 : last;
    for (; i >= 0 && ++at[static_cast<size_t>(i)] == box[i].hi; i--) at[static_cast<size_t>(i)] = box[i].lo;
    if (i < 0) return;
  }
}

// For the address sanitizer: all memory of a run is poisoned but for what the tile's rules say it reads and writes.
class TileMemory {
 public:
  TileMemory(const TileGraph* tiles, const Program& program, std::vector<std::byte*>& bases)
      : tiles_(address_sanitizer ? tiles : nullptr), program_(program), bases_(bases) {}
  ~TileMemory() { each_buffer(unpoison); }
  void enter(uint32_t tile) {
    if (!tiles_) return;
    each_buffer(poison);
    const OpTiles& op = tiles_->ops[tiles_->tile_op[tile]];
    const NodeView view{*tiles_->graph, tiles_->graph->nodes[op.node]};
    const Box box = tiles_->box(tile);
    for (int i = 0; i < view.inputs(); i++)
      if (view.has(i)) open(view.node.inputs[static_cast<size_t>(i)], view.node.op->reads(view, i), box);
    for (int i = 0; i < view.outputs(); i++)
      open(view.node.outputs[static_cast<size_t>(i)], view.node.op->writes(view, i), box);
  }

 private:
  std::byte* begin_of(const Buffer& b) const {
    switch (b.kind) {
      case BufferKind::arena: return bases_[0] + b.offset;
      case BufferKind::input: return bases_[program_.base_of_input(b.index)];
      case BufferKind::output: return bases_[program_.base_of_output(b.index)];
      default: return nullptr;
    }
  }
  template <class F>
  void each_buffer(F&& f) const {
    if (!tiles_) return;
    for (const Buffer& b : tiles_->buffers)
      if (std::byte* p = begin_of(b)) f(p, static_cast<size_t>(b.bytes));
  }
  void open(ValueId v, const Access& rule, const Box& box) const {
    const Storage& storage = tiles_->storage[v];
    std::byte* buffer = begin_of(tiles_->buffers[storage.buffer]);
    if (buffer)
      for_each_run(storage, size_of(tiles_->graph->values[v].dtype), buffer, apply(rule, box, tiles_->graph->shape(v)),
                   unpoison);
  }
  const TileGraph* tiles_;
  const Program& program_;
  std::vector<std::byte*>& bases_;
};

// The bytes of an arena that values cover.
inline void fill_arena(const Program& program, const AlignedBuffer& arena, int byte) {
  size_t at = 0;
  auto fill = [&](size_t end) {
    if (end > at) std::memset(arena.data() + at, byte, end - at);
  };
  for (const MemoryGap& gap : program.arena_gaps) {
    fill(gap.begin);
    at = gap.begin + gap.bytes;
  }
  fill(arena.size());
}

// Arena and outputs are full of NaNs at first, the scratch before each tile. With `tiles`, which the Program was made
// of, the address sanitizer also stops a tile that reads or writes beside what its rules say.
inline std::vector<TensorPtr> run_in_order(const Program& program, const std::vector<TensorPtr>& inputs,
                                           const std::vector<uint32_t>& order, const TileGraph* tiles = nullptr) {
  AlignedBuffer arena(program.arena_bytes), scratch(program.scratch_bytes);
  fill_arena(program, arena, 0xff);
  std::vector<TensorPtr> outputs;
  std::vector<std::byte*> bases{arena.data(), const_cast<std::byte*>(program.weights.data)};
  for (const TensorPtr& t : inputs) bases.push_back(const_cast<std::byte*>(t->data));
  for (const ProgramPort& port : program.outputs) {
    auto t = make_tensor(port.dtype, port.shape);
    std::memset(writable(*t), 0xff, t->bytes());
    bases.push_back(writable(*t));
    outputs.push_back(t);
  }
  for (const ProgramConstant& c : program.constants) bases.push_back(const_cast<std::byte*>(c.data));
  const TileContext context{bases.data(), scratch.data(), program.functions.data(), program.operators.data()};
  TileMemory memory(tiles, program, bases);
  poison(scratch.data(), scratch.size());
  for (uint32_t tile : order) {
    const TileCode& code = program.code[tile];
    memory.enter(tile);
    const Unpoisoned own(scratch.data(), program.scratch_of(tile));
    if (scratch.size() > 0) std::memset(scratch.data(), 0xff, program.scratch_of(tile));
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
