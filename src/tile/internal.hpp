// The steps of tile(): each fills its part of the TileGraph. Private to this folder.
#pragma once
#include <map>

#include "tile/boxes.hpp"
#include "tile/rows.hpp"
#include "tile/tile_graph.hpp"

namespace pando::tiling {

// ---- cost.cpp ----
// Predicted microseconds of one box on one core: arithmetic at the row's efficiency plus the bytes it touches.
double box_us(const NodeView& view, const Box& box, const AlgorithmRow& row, const Machine& machine);
double winograd_us(const NodeView& view, const Box& box, const AlgorithmRow& row, const Machine& machine);

// ---- split.cpp ----
// Chooses the block extents of operators. Operators that look alike (algorithm, domain, operands' shapes) are cut
// alike, and searched once.
class Splitter {
 public:
  Splitter(const Graph& graph, const std::vector<Storage>& storage, const Machine& machine, const TileOptions& options)
      : graph_(graph), storage_(storage), machine_(machine), options_(options) {}
  OpTiles split(NodeId node);  // everything but first_tile

 private:
  struct Choice {
    Extents block;
    double us;
  };
  const Graph& graph_;
  const std::vector<Storage>& storage_;
  const Machine& machine_;
  const TileOptions& options_;
  std::map<std::vector<int64_t>, Choice> known_;
};

// ---- storage.cpp ----
// Decides which views are addresses. Inserts copies (whole slices) where a concat's operand or a graph output cannot
// lie in place. Fills storage and buffers; executed[node] is false for views that became addresses.
void assign_storage(Graph& graph, TileGraph& out, std::vector<bool>& executed, const CompileContext& context);

// ---- edges.cpp ----
// Dependencies while they are collected: predecessors per node, tiles before events.
struct Links {
  std::vector<std::vector<uint32_t>> before;         // per tile: tiles and events (events as tiles + index)
  std::vector<std::vector<uint32_t>> event_members;  // per event: the tiles it waits for
};
// Finds the tiles that wrote what each tile reads.
class EdgeFinder {
 public:
  EdgeFinder(const Graph& graph, const std::vector<bool>& executed, const TileGraph& tiles,
             const CompileContext& context);
  // Adds the data edges of the tiles of operator `op`.
  void link(uint32_t op, bool barrier, Links& links);

  // A set of tiles of one operator: a sub-grid.
  struct Range {
    uint32_t op;
    std::array<uint32_t, max_rank> lo, hi;  // of the operator's grid, half-open
    bool operator==(const Range&) const = default;
    uint64_t count() const;
  };
  // The tiles that wrote `box` of value `v`, views looked through.
  void producers(ValueId v, const Box& box, std::vector<Range>& out);
  void members(const Range& range, std::vector<uint32_t>& tiles) const;

 private:
  const Graph& graph_;
  const TileGraph& tiles_;
  const CompileContext& context_;
  std::vector<NodeId> producer_;      // per value: node that makes it
  std::vector<uint32_t> op_of_node_;  // per node: index into ops; none for views
  ViewWalk walk_;
  uint64_t edges_ = 0;
  struct Hash {
    size_t operator()(const Range& r) const;
  };
  static void remove_repeated(std::vector<Range>& list);
  struct EventTable;
  std::shared_ptr<EventTable> events_;  // events made so far, by range
};

// ---- reuse.cpp ----
// Places the arena's buffers so that they share memory in turn, and adds the edges that make a tile wait for the
// readers and writers of the bytes it overwrites. Called operator by operator, after the data edges of that operator.
class ArenaPlanner {
 public:
  ArenaPlanner(const Graph& graph, TileGraph& tiles, bool reuse, const CompileContext& context);
  ~ArenaPlanner();
  void link(uint32_t op, Links& links);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Bytes of its buffer that a box of a value spans.
Interval byte_span(const TileGraph& tiles, ValueId v, const Box& box);

}  // namespace pando::tiling
