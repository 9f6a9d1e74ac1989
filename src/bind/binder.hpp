// Binding: how a box of an operator becomes a kernel's arguments. One function per core operator, in bind/<op>.cpp.
#pragma once
#include <cstring>
#include <functional>

#include "base/compile_context.hpp"
#include "base/narrow.hpp"
#include "graph/ops/ops.hpp"
#include "runtime/program.hpp"
#include "tile/rows.hpp"

namespace pando {

// What runs tiles, by a name that files of Programs hold. All of them stand in tile_kernels().
struct TileKernel {
  const char* name;
  Kernel run;
};

// A constant's values as float32; itself where it is.
TensorPtr as_float32(const TensorPtr& constant);

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
  Ref raw_input(int i) const;  // the same, perhaps not aligned to its element: for kernels that copy bytes
  Ref output(int i = 0) const { return ref(node.outputs[i]); }
  const Extents& input_strides(int i) const { return tiles.storage[node.inputs[i]].strides; }
  const Extents& output_strides(int i = 0) const { return tiles.storage[node.outputs[i]].strides; }
  Ref ref(ValueId v) const;

  // ---- code ----
  const CompileContext& context() const;  // alive until bind() returns: also when weights are packed
  void kernel(const TileKernel& k);       // for the tiles that follow
  void scratch(size_t bytes);             // what a tile needs at most
  uint32_t function(const void* f);       // a JIT kernel's number in TileContext::functions
  uint32_t operator_entry();              // the node's number in TileContext::operators
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
  template <class T>
  void tile_args(uint32_t i, std::span<const T> list) {
    static_assert(std::is_trivially_copyable_v<T> && alignof(T) <= 16);
    set_tile(i, append(list.data(), list.size_bytes()));
  }

  // ---- weights ----
  // Reserves `bytes` (64-byte aligned) in memory of the Program's own; `fill(destination)` is called once all operators
  // are bound.
  Ref pack(size_t bytes, std::function<void(std::byte*)> fill);
  // The same for what is made from constant operands `inputs` (absent ones are skipped) by `recipe`, a text that names
  // the format and its parameters: shared with other Programs through BindOptions::weights. The operands' pages in a
  // mapped file are given back once they are packed.
  Ref pack_weights(size_t bytes, const std::string& recipe, std::initializer_list<int> inputs,
                   std::function<void(std::byte*)> fill);
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

// Packed weights of one model, kept while any of its Programs or the model itself lives: a new input shape packs
// nothing again. Thread-safe.
class WeightCache {
 public:
  // `file`: the model's bytes, which do not change: constants in it are known by their address, others by a hash of
  // their content. `release` (may be empty) is called with the bytes of the file that have been packed.
  WeightCache(std::span<const std::byte> file, std::function<void(const void*, size_t)> release);
  ~WeightCache();
  // The same of another file, say one of external data; none that is known again.
  void add_file(std::span<const std::byte> file, std::function<void(const void*, size_t)> release);
  struct State;
  State& state() { return *state_; }

 private:
  std::unique_ptr<State> state_;
};

struct BindOptions {
  WeightCache* weights = nullptr;             // shared packed weights; nullptr: of this Program alone
  std::function<void(double done)> progress;  // fraction of the weights packed
  bool tile_boxes = false;                    // fill Program::tile_box
  const CompileContext* context = nullptr;    // whose token stops it
};
// Throws Error that names the node. The Program keeps what it needs of the graph's constants alive.
std::shared_ptr<const Program> bind(const TileGraph& tiles, const BindOptions& options = {});

}  // namespace pando
