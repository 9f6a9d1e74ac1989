// What the runtime executes: a kernel, an argument block and counters per tile. It knows no operator names beyond
// labels for traces. Immutable and shared by all runs.
#pragma once
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "base/attributes.hpp"
#include "base/memory.hpp"
#include "base/shape.hpp"

namespace pando {

// An address in a run: base pointer number `base`, `offset` bytes on.
struct Ref {
  uint32_t base = UINT32_MAX;
  int64_t offset = 0;
  bool absent() const { return base == UINT32_MAX; }
};

struct OpDef;

// An operator and its attributes: for tiles that run its plain reference.
struct OperatorEntry {
  const OpDef* op = nullptr;
  Attributes attributes;
};

// What a kernel is given besides its arguments. `bases` is the run's table of base pointers; `scratch` belongs to the
// worker, is aligned to 64 bytes and holds Program::scratch_bytes; its content is undefined at entry.
struct TileContext {
  std::byte* const* bases;
  std::byte* scratch;
  const void* const* functions;    // Program::functions: JIT kernels by number
  const OperatorEntry* operators;  // Program::operators
  template <class T>
  T* at(Ref r) const {
    return r.absent() ? nullptr : reinterpret_cast<T*>(bases[r.base] + r.offset);
  }
};

// Runs one tile. `op` is the operator's argument block, `tile` the tile's. Must not throw, allocate or block.
using Kernel = void (*)(const void* op, const void* tile, const TileContext& context);

struct TileCode {
  uint32_t kernel = 0;  // Program::kernels
  uint32_t op = 0;      // byte offsets into ProgramData::arguments, multiples of 16
  uint32_t tile = 0;
  PANDO_FIELDS(kernel, op, tile)
};

struct ProgramPort {  // a model input or output
  std::string name;
  DType dtype = DType::f32;
  Shape shape;
  size_t bytes() const { return static_cast<size_t>(element_count(shape)) * size_of(dtype); }
  PANDO_FIELDS(name, dtype, shape)
};

struct TileLabel {
  std::string name, op, algorithm;
  double flops_per_tile = 0;  // of matrix operators: 2 per multiply-add, averaged over its tiles
  bool matrix = false;
  size_t scratch_bytes = 0;  // what a tile needs at most
  PANDO_FIELDS(name, op, algorithm, flops_per_tile, matrix, scratch_bytes)
};

struct MemoryGap {
  size_t begin = 0, bytes = 0;
  PANDO_FIELDS(begin, bytes)
};

// Numbers, names and offsets: nothing that depends on where things lie in this process.
struct ProgramData {
  // ---- the graph: tiles 0..tiles-1, then events; the runtime adds the final event itself ----
  uint32_t tiles = 0, events = 0;
  std::vector<uint32_t> successor_begin, successors, need;
  std::vector<float> priority;  // longest path to the end, per node
  // ---- the code ----
  std::vector<TileCode> code;  // per tile
  std::vector<std::byte> arguments;
  // ---- memory ----
  std::vector<ProgramPort> inputs, outputs;
  size_t arena_bytes = 0, scratch_bytes = 0;
  size_t packed_bytes = 0;            // packed weights, shared ones included
  std::vector<MemoryGap> arena_gaps;  // for the address sanitizer: bytes that no value ever covers
  // ---- for people ----
  std::vector<uint32_t> tile_label;  // per tile, into labels
  std::vector<TileLabel> labels;
  std::vector<std::string> tile_box;  // filled only when asked for: text of each tile's box
  PANDO_FIELDS(tiles, events, successor_begin, successors, need, priority, code, arguments, inputs, outputs,
               arena_bytes, scratch_bytes, packed_bytes, arena_gaps, tile_label, labels, tile_box)
};

// Memory that does not change: packed weights, constants of the model.
struct ProgramConstant {
  const std::byte* data = nullptr;
  size_t bytes = 0;
  std::shared_ptr<const void> owner;  // keeps them alive
};

// With the tables that the data refers to by number, filled when a Program is bound or read from a file.
struct Program : ProgramData {
  std::vector<Kernel> kernels;
  std::vector<const void*> functions;
  std::vector<OperatorEntry> operators;
  // Bases of a run: 0 the arena, 1 the Program's own tables, then inputs, then outputs, then `constants`.
  ProgramConstant weights;
  std::vector<ProgramConstant> constants;

  uint32_t base_of_input(uint32_t i) const { return 2 + i; }
  uint32_t base_of_output(uint32_t i) const { return 2 + static_cast<uint32_t>(inputs.size()) + i; }
  uint32_t base_of_constant(uint32_t i) const { return base_of_output(static_cast<uint32_t>(outputs.size())) + i; }
  size_t scratch_of(uint32_t tile) const {
    return tile_label.empty() ? scratch_bytes : labels[tile_label[tile]].scratch_bytes;
  }
};

}  // namespace pando
