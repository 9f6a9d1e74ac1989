#include "dist/part_program.hpp"

#include <map>
#include <unordered_map>

#include "base/float_mode.hpp"
#include "base/process.hpp"
#include "dist/split_reductions.hpp"
#include "graph/ops/ops.hpp"

namespace pando::dist {
namespace {

using plan::Space;

// The tiles of a program whose operators are cut at the borders of parts.
class Builder {
 public:
  Builder(const Space& space, const std::vector<plan::Config>& configs)
      : space_(space), configs_(configs), split_(split_reductions(space, configs)) {
    TileOptions options;
    options.reuse = false;
    tiles_ = tile(split_.graph, Machine::host(), options);
    const Graph& g = *tiles_.graph;
    producer_ = Uses(g).producer;
    op_of_node_.assign(g.nodes.size(), none);
    for (uint32_t t = 0; t < tiles_.ops.size(); t++) op_of_node_[tiles_.ops[t].node] = t;
    boxes_.resize(tiles_.ops.size());
    owner_.resize(tiles_.ops.size());
    for (uint32_t o = 0; o < space.ops().size(); o++)
      for (uint32_t r = 0; r < split_.results[o].size(); r++) owner_[tile_op(split_.results[o][r])] = {o, r};
    find_parts();
  }

  void build(std::vector<PartTask>& tasks, std::vector<uint32_t>& first_task) {
    for (uint32_t o = 0; o < parts_.size(); o++) {
      first_task.push_back(static_cast<uint32_t>(tasks.size()));
      for (uint32_t i = 0; i < parts_[o].size(); i++) {
        tasks.push_back({o, i, configs_[o].devices[i], {}, {}, {}});
        task_of_.emplace(std::pair(o, i), static_cast<uint32_t>(tasks.size() - 1));
        task_ = &tasks.back();
        compute(tile_op(split_.results[o][parts_[o][i].reduction]), parts_[o][i].box);
      }
    }
    tasks.push_back({none, 0, static_cast<uint32_t>(space_.cluster().size()), {}, {}, {}});
    task_ = &tasks.back();
    for (ValueId v : tiles_.graph->outputs) need(v, whole(tiles_.graph->shape(v)));
    number_tiles(tasks);
  }

  // Once built.
  const TileGraph& tiles() const { return tiles_; }

 private:
  struct Part {
    Box box;  // of the domain of the operator that computes it
    uint32_t reduction;
  };
  struct Owner {
    uint32_t op = none, reduction = 0;  // none: computed by its readers
  };

  uint32_t tile_op(ValueId v) const { return op_of_node_[producer_[v]]; }

  void find_parts() {
    for (uint32_t o = 0; o < space_.ops().size(); o++) {
      const plan::PlannedOp& op = space_.ops()[o];
      const plan::Split& split = configs_[o].split;
      const plan::Piece& piece = space_.stages()[op.stages[0]].pieces[0];
      Extents grid = split.grid(op.domain.rank), at;
      at.rank = grid.rank;
      std::vector<Part> parts;
      for (uint32_t i = 0; i < split.parts(); i++) {
        Part p{piece.box(split, at), reduction_index(op.domain, split, at)};
        for (int d = 0; d < op.domain.rank; d++)  // a piece of a reduction has a domain of its own
          if (op.domain[d].tag == Tag::reduction) p.box[d] = {0, p.box[d].size()};
        parts.push_back(p);
        for (int d = grid.rank - 1; d >= 0 && ++at[d] == grid[d]; d--) at[d] = 0;
      }
      parts_.push_back(std::move(parts));
      OpTiles& tiles = tiles_.ops[tile_op(split_.results[o][0])];
      // Products of few rows read all of them; the general kernel has the same bits.
      if (tiles.row->algorithm == Algorithm::gemv && split.degree[static_cast<size_t>(tiles.domain.rank - 3)] > 1)
        for (ValueId v : split_.results[o]) {
          OpTiles& product = tiles_.ops[tile_op(v)];
          product.row = &find_row(*tiles_.graph->nodes[product.node].op, Algorithm::gemm);
        }
    }
  }

  // Has the task compute `box` of an operator's domain, after bringing what that needs.
  void compute(uint32_t t, const Box& box) {
    OpTiles& op = tiles_.ops[t];
    const Graph& g = *tiles_.graph;
    NodeView view{g, g.nodes[op.node]};
    Box all = aligned_box(box, box_alignment(view, op.domain, *op.row), op.domain);
    for (int i = 0; i < view.inputs(); i++)
      if (view.has(i))
        need(view.node.inputs[static_cast<size_t>(i)], apply(view.node.op->reads(view, i), all, view.in_shape(i)));
    // Steps hold positions in boxes_ until tiles are numbered.
    auto begin = static_cast<uint32_t>(boxes_[t].size());
    cut(all, op.block, boxes_[t]);
    task_->steps.push_back({begin, static_cast<uint32_t>(boxes_[t].size())});
    step_op_.push_back(t);
  }

  static void cut(const Box& box, const Extents& block, std::vector<Box>& out) {
    if (box.empty()) return;
    Extents grid;
    grid.rank = box.rank;
    uint64_t count = 1;
    for (int d = 0; d < box.rank; d++) {
      grid[d] = (box[d].size() + block[d] - 1) / block[d];
      count *= static_cast<uint64_t>(grid[d]);
    }
    for (uint64_t i = 0; i < count; i++)
      out.push_back(grid_box(grid, i, [&](int d, int64_t at) {
        int64_t lo = box[d].lo + at * block[d];
        return Interval{lo, std::min(lo + block[d], box[d].hi)};
      }));
  }

  void need(ValueId v, const Box& box) {
    if (box.empty() || producer_[v] == none) return;
    const Graph& g = *tiles_.graph;
    NodeView view{g, g.nodes[producer_[v]]};
    int output = 0;
    while (view.node.outputs[static_cast<size_t>(output)] != v) output++;
    uint32_t t = op_of_node_[producer_[v]];
    if (t == none) {  // an address
      for (int i = 0; i < view.inputs(); i++)
        need(view.node.inputs[static_cast<size_t>(i)], apply(view.node.op->reads(view, i), box, view.in_shape(i)));
      return;
    }
    Access writes = view.node.op->writes(view, output);
    if (owner_[t].op == none) return compute(t, writers(writes, box, tiles_.ops[t].domain));
    const std::vector<Part>& parts = parts_[owner_[t].op];
    const plan::Config& config = configs_[owner_[t].op];
    for (uint32_t i = 0; i < parts.size(); i++) {
      if (parts[i].reduction != owner_[t].reduction) continue;
      Box read = intersect(apply(writes, parts[i].box, g.shape(v)), box);
      if (read.empty()) continue;
      uint32_t from = task_of_.at({owner_[t].op, i});
      std::vector<uint32_t>& needs = task_->needs;
      if (std::find(needs.begin(), needs.end(), from) == needs.end()) needs.push_back(from);
      if (config.devices[i] != task_->device) move(v, read, from, config.devices[i]);
    }
  }

  void move(ValueId v, const Box& box, uint32_t from, uint32_t source) {
    const Storage& s = tiles_.storage[v];
    const Buffer& buffer = tiles_.buffers[s.buffer];
    Move m;
    m.task = from;
    m.source = source;
    m.element = size_of(tiles_.graph->values[v].dtype);
    m.bytes = box.count() * static_cast<int64_t>(m.element);
    int64_t offset = s.offset;
    m.walk.operands = 2;
    for (int d = 0; d < box.rank; d++) {
      const int64_t strides[] = {s.strides[d], s.strides[d]};
      offset += box[d].lo * s.strides[d];
      m.walk.add(box[d].size(), strides);
    }
    m.walk.collapse();
    bool output = buffer.kind == BufferKind::output;
    auto inputs = static_cast<uint32_t>(tiles_.graph->inputs.size());
    m.place = {output ? 2 + inputs + buffer.index : 0, buffer.offset + offset * static_cast<int64_t>(m.element)};
    for (const Move& known : task_->moves)  // an operand that is read twice
      if (known.task == from && known.place.base == m.place.base && known.place.offset == m.place.offset &&
          known.bytes == m.bytes)
        return;
    task_->moves.push_back(m);
  }

  void number_tiles(std::vector<PartTask>& tasks) {
    tiles_.tiles = 0;
    tiles_.tile_op.clear();
    for (uint32_t t = 0; t < tiles_.ops.size(); t++) {
      OpTiles& op = tiles_.ops[t];
      op.first_tile = tiles_.tiles;
      op.tile_count = static_cast<uint32_t>(boxes_[t].size());
      op.boxes = std::move(boxes_[t]);
      tiles_.tiles += op.tile_count;
      tiles_.tile_op.resize(tiles_.tiles, t);
    }
    size_t step = 0;
    for (PartTask& task : tasks)
      for (TileRange& r : task.steps) {
        uint32_t first = tiles_.ops[step_op_[step++]].first_tile;
        r = {r.begin + first, r.end + first};
      }
    // Tasks say who waits for whom: the program needs no edges.
    tiles_.events = 0;
    tiles_.successor_begin.assign(tiles_.tiles + 1, 0);
    tiles_.successors.clear();
    tiles_.need.assign(tiles_.tiles, 0);
    tiles_.to_end_us.assign(tiles_.tiles, 0);
  }

  const Space& space_;
  const std::vector<plan::Config>& configs_;
  SplitGraph split_;
  TileGraph tiles_;
  std::vector<NodeId> producer_;
  std::vector<uint32_t> op_of_node_;  // per node: index into tiles_.ops
  std::vector<Owner> owner_;          // per operator of tiles_
  std::vector<std::vector<Part>> parts_;
  std::vector<std::vector<Box>> boxes_;
  std::map<std::pair<uint32_t, uint32_t>, uint32_t> task_of_;
  std::vector<uint32_t> step_op_;  // of all steps in order
  PartTask* task_ = nullptr;
};

}  // namespace

PartProgram::PartProgram(const Space& space, const std::vector<plan::Config>& configs, WeightCache* weights)
    : devices_(static_cast<uint32_t>(space.cluster().size())) {
  if (space.training()) fail(ErrorCode::not_supported, "a training step has no kernels yet: only inference can be run");
  Builder builder(space, configs);
  builder.build(tasks_, first_task_);
  BindOptions options;
  options.weights = weights;
  program_ = bind(builder.tiles(), options);
}

void run_tiles(const Program& p, TileRange tiles, std::byte* const* bases, std::byte* scratch) {
  ScopedExitGate inside;
  ScopedFloatMode mode;
  TileContext context{bases, scratch, p.functions.data(), p.operators.data()};
  const std::byte* arguments = p.arguments.data();
  for (uint32_t t = tiles.begin; t < tiles.end; t++) {
    if (ExitGate::closed()) ExitGate::halt();
    const TileCode& c = p.code[t];
    p.kernels[c.kernel](arguments + c.op, arguments + c.tile, context);
  }
}

void PartProgram::run(const PartTask& task, std::byte* const* bases, std::byte* scratch) const {
  for (TileRange r : task.steps) run_tiles(*program_, r, bases, scratch);
}

}  // namespace pando::dist
