// A model cut into tiles: boxes of operators, the edges between them, and where every value lies.
#pragma once
#include <memory>

#include "base/compile_context.hpp"
#include "base/machine.hpp"
#include "graph/graph.hpp"

namespace pando {

// How an operator computes. Chosen by shape, machine type and tuning only, never by timing at load: it decides bits.
enum class Algorithm : uint8_t {
  reference,  // the operator's own plain reference, one tile (or boxes, when it allows)
  gemm,       // batch-reduce GEMM over taps and channel blocks
  winograd,   // F(4x4, 3x3)
  bf16,       // the same with operands rounded to bfloat16
  depthwise,  // one input channel per output channel
  gemv,       // a few rows against a large matrix: bound by reading weights
  gemv_half,  // the same with weights of 16 bits
  blocked,    // products with weights that are quantized in blocks
  gemv_blocked,
  flash,    // attention with a running maximum
  typed,    // element-wise in the operands' own type
  vector,   // row-wise vector code (map, softmax, norm, pool, reduce, movement)
  integer,  // products of bytes, exact sums
  integer_depthwise,
};
struct AlgorithmRow;  // tile/rows.hpp
const char* name_of(Algorithm a);

// Where a value's elements lie. Views share their buffer.
struct Storage {
  uint32_t buffer = UINT32_MAX;
  int64_t offset = 0;  // elements, from the buffer's begin
  Extents strides;     // elements
};

enum class BufferKind : uint8_t { arena, input, output, constant };
struct Buffer {
  BufferKind kind = BufferKind::arena;
  int64_t bytes = 0;
  int64_t offset = 0;    // arena: bytes from the arena's begin, a multiple of 64
  ValueId value = none;  // input, output, constant: the graph's value
  uint32_t index = 0;    // input, output: position in the graph's list
};

// One operator's tiles: a regular grid of boxes over its domain, numbered row-major from first_tile; or the boxes that
// are listed, none larger than `block`.
struct OpTiles {
  NodeId node = 0;
  const AlgorithmRow* row = nullptr;  // how it computes
  Domain domain;
  Extents block;  // extent of a box per domain dimension (the last one of a dimension may be smaller)
  Extents grid;   // boxes per domain dimension
  uint32_t first_tile = 0, tile_count = 0;
  double tile_us = 0;      // predicted time of one tile
  std::vector<Box> boxes;  // empty: the grid
};

struct TileOptions {
  // Every operator by its plain reference.
  bool references = false;
  double tile_us = 0;    // target time of a tile; 0: chosen
  bool barrier = false;  // no tile starts before all tiles of its producers' operators have finished
  bool reuse = true;     // let values share memory in turn
  bool winograd = true;
  Precision precision = Precision::model;
  const CompileContext* context = nullptr;  // whose token stops it
};

// Nodes 0..tiles-1 are tiles, tiles..tiles+events-1 events: counters without work. Edges are CSR over both.
struct TileGraph {
  std::shared_ptr<const Graph> graph;
  Machine machine;
  std::vector<OpTiles> ops;       // in the serial reference order: edges go forward in it
  std::vector<uint32_t> tile_op;  // tile -> index into ops
  uint32_t tiles = 0, events = 0;
  std::vector<uint32_t> successor_begin;  // tiles + events + 1
  std::vector<uint32_t> successors;
  std::vector<uint32_t> need;    // distinct incoming edges per node
  std::vector<float> to_end_us;  // longest predicted path from the node's start to the end: the priority
  std::vector<Storage> storage;  // per value of the graph
  std::vector<Buffer> buffers;
  int64_t arena_bytes = 0;
  uint32_t reuse_edges = 0;

  Box box(uint32_t tile) const;  // of the operator's domain
};

// Cuts, links and stores. The graph must be verified and optimized; it is copied into the result, with copies inserted
// where a view cannot be an address. Throws Error that names the node.
TileGraph tile(Graph graph, const Machine& machine, const TileOptions& options = {});

// Boxes that an operator's kernel can be given: per dimension they begin at a multiple of this, and end at one or at
// the domain's end. The extent: only the whole dimension. (tile() cuts at coarser borders still, for speed.)
Extents box_alignment(const NodeView& view, const Domain& domain, const AlgorithmRow& row);
// The smallest box of such borders around `box`.
Box aligned_box(const Box& box, const Extents& alignment, const Domain& domain);

// How tile() expects a box of an operator to be computed, its operands lying densely: the row, and microseconds on one
// core of the machine.
struct KernelEstimate {
  const AlgorithmRow* row = nullptr;
  double us = 0;
};
KernelEstimate estimate_kernel(const NodeView& view, const Box& box, const Machine& machine);

}  // namespace pando
