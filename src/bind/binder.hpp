// Binding: how a box of an operator becomes a kernel's arguments. One function per core operator, in bind/<op>.cpp.
#pragma once
#include <cstring>
#include <functional>

#include "graph/ops/ops.hpp"
#include "runtime/program.hpp"
#include "tile/tile_graph.hpp"

namespace pando {

// Given to an operator's bind function; appends to the Program being made.
class Binder {
 public:
  const TileGraph& tiles;
  const OpTiles& op;
  const Node& node;
  NodeView view() const { return {*tiles.graph, node}; }
  uint32_t tile_count() const { return op.tile_count; }
  Box box(uint32_t i) const { return tiles.box(op.first_tile + i); }  // i: 0..tile_count-1

  // ---- operands ----
  bool has(int input) const { return view().has(input); }
  Ref input(int i) const { return ref(node.inputs[i]); }  // element 0; absent when the operand is absent
  Ref output(int i = 0) const { return ref(node.outputs[i]); }
  const Extents& input_strides(int i) const { return tiles.storage[node.inputs[i]].strides; }
  const Extents& output_strides(int i = 0) const { return tiles.storage[node.outputs[i]].strides; }
  Ref ref(ValueId v) const;

  // ---- code ----
  void kernel(Kernel k);            // for the tiles that follow
  void scratch(size_t bytes);       // what a tile needs at most
  uint32_t function(const void* f); // a JIT kernel's number in TileContext::functions
  uint32_t attributes(std::any a);  // a struct's number in TileContext::attributes
  // The operator's argument block; a trivially copyable struct. Call once, before the tiles'.
  template <class T>
  void op_args(const T& args) {
    static_assert(std::is_trivially_copyable_v<T> && alignof(T) <= 16);
    op_offset_ = append(&args, sizeof args);
  }
  // The argument block of tile i: each tile must be given one (or none_args).
  template <class T>
  void tile_args(uint32_t i, const T& args) {
    static_assert(std::is_trivially_copyable_v<T> && alignof(T) <= 16);
    set_tile(i, append(&args, sizeof args));
  }

  // ---- weights ----
  // Reserves `bytes` (64-byte aligned) in the packed weights; `fill(destination)` is called once all are reserved.
  Ref pack(size_t bytes, std::function<void(std::byte*)> fill);
  // A constant operand's bytes, and a note that the mapped file's pages are no longer needed once packed.
  const Tensor& constant(int input) const { return *tiles.graph->values[node.inputs[input]].constant; }

  struct State;
  Binder(State& state, const OpTiles& op);

 private:
  uint32_t append(const void* data, size_t bytes);
  void set_tile(uint32_t i, uint32_t offset);
  State& state_;
  uint32_t op_offset_ = 0;
};

using BindFn = void (*)(Binder&);
// bind/<op>.cpp defines one each; registry.cpp lists them. Every operator without one, and every algorithm `reference`,
// runs its plain reference through bind_reference.
void bind_reference(Binder&);

struct BindOptions {
  std::function<bool(double done)> progress;  // fraction of the weights packed; returning false cancels
  bool tile_boxes = false;                     // fill Program::tile_box
};
// Throws Error that names the node. The Program keeps what it needs of the graph's constants alive.
std::shared_ptr<const Program> bind(const TileGraph& tiles, const BindOptions& options = {});

}  // namespace pando
