#include <algorithm>

#include "bind/bind_ops.hpp"
#include "kernels/simd.hpp"

namespace pando {

struct Binder::State {
  const TileGraph& tiles;
  Program& program;
  struct Packing {
    size_t offset;
    std::function<void(std::byte*)> fill;
  };
  std::vector<Packing> packings;
  size_t weight_bytes = 0;
  std::vector<uint32_t> base_of_buffer;  // constants get a base when first referred to
};

Binder::Binder(State& state, const OpTiles& tiles_of_op)
    : tiles(state.tiles), op(tiles_of_op), node(state.tiles.graph->nodes[tiles_of_op.node]), state_(state) {}

namespace {

constexpr uint32_t base_arena = 0, base_weights = 1;

size_t round_up(size_t n, size_t to) { return (n + to - 1) / to * to; }

// Constants that kernels read in place must be aligned to their element; bytes of a mapped file may not be.
const std::byte* aligned_constant(const Tensor& t, Program& program) {
  size_t align = size_of(t.dtype);
  if (reinterpret_cast<uintptr_t>(t.data) % align == 0) {
    program.owners.push_back(t.owner);
    return t.data;
  }
  auto copy = make_tensor(t.dtype, t.shape);
  std::memcpy(writable(*copy), t.data, t.bytes());
  program.owners.push_back(copy->owner);
  return copy->data;
}

}  // namespace

Ref Binder::ref(ValueId v) const {
  if (v == none) return {};
  const Storage& s = tiles.storage[v];
  const Buffer& buffer = tiles.buffers[s.buffer];
  int64_t bytes = s.offset * static_cast<int64_t>(size_of(tiles.graph->values[v].dtype));
  switch (buffer.kind) {
    case BufferKind::arena: return {base_arena, buffer.offset + bytes};
    case BufferKind::input: return {state_.program.base_of_input(buffer.index), bytes};
    case BufferKind::output: return {state_.program.base_of_output(buffer.index), bytes};
    case BufferKind::constant: break;
  }
  uint32_t& base = state_.base_of_buffer[s.buffer];
  if (base == UINT32_MAX) {
    Program& p = state_.program;
    base = p.base_of_constant(static_cast<uint32_t>(p.constants.size()));
    p.constants.push_back(aligned_constant(*tiles.graph->values[buffer.value].constant, p));
  }
  return {base, bytes};
}

void Binder::kernel(Kernel k) { state_.program.kernels.push_back(k); }

void Binder::scratch(size_t bytes) {
  state_.program.scratch_bytes = std::max(state_.program.scratch_bytes, round_up(bytes, 64));
}

uint32_t Binder::function(const void* f) {
  auto& list = state_.program.functions;
  auto at = std::find(list.begin(), list.end(), f);
  if (at == list.end()) at = list.insert(at, f);
  return static_cast<uint32_t>(at - list.begin());
}

uint32_t Binder::attributes(std::any a) {
  state_.program.attributes.push_back(std::move(a));
  return static_cast<uint32_t>(state_.program.attributes.size() - 1);
}

uint32_t Binder::append(const void* data, size_t bytes) {
  auto& blob = state_.program.arguments;
  size_t at = round_up(blob.size(), 16);
  if (at + bytes > UINT32_MAX) fail(ErrorCode::not_supported, "more than 4 GiB of tile arguments are not supported");
  blob.resize(at + bytes);
  std::memcpy(blob.data() + at, data, bytes);
  return static_cast<uint32_t>(at);
}

void Binder::set_tile(uint32_t i, uint32_t offset) {
  state_.program.code[op.first_tile + i] = {static_cast<uint32_t>(state_.program.kernels.size() - 1), op_offset_, offset};
}

Ref Binder::pack(size_t bytes, std::function<void(std::byte*)> fill) {
  size_t at = state_.weight_bytes;
  state_.packings.push_back({at, std::move(fill)});
  state_.weight_bytes = at + round_up(bytes, 64);
  return {base_weights, static_cast<int64_t>(at)};
}

namespace {

void describe_ports(const Graph& graph, Program& program) {
  auto port = [&](ValueId v) { return ProgramPort{graph.values[v].name, graph.values[v].dtype, graph.shape(v)}; };
  for (ValueId v : graph.inputs) program.inputs.push_back(port(v));
  for (ValueId v : graph.outputs) program.outputs.push_back(port(v));
}

void label(const TileGraph& tiles, const BindOptions& options, Program& program) {
  program.tile_label = tiles.tile_op;
  for (const OpTiles& op : tiles.ops) {
    const Node& node = tiles.graph->nodes[op.node];
    NodeView view{*tiles.graph, node};
    double flops = node.op->matrix ? node.op->operations(view, whole(op.domain)) : 0;
    program.labels.push_back({node.name, node.op->name, name_of(op.algorithm), flops / op.tile_count, node.op->matrix});
  }
  if (options.tile_boxes)
    for (uint32_t t = 0; t < tiles.tiles; t++) program.tile_box.push_back(to_string(tiles.box(t)));
}

}  // namespace

std::shared_ptr<const Program> bind(const TileGraph& tiles, const BindOptions& options) {
  kernels::apply_isa_limit();
  auto program = std::make_shared<Program>();
  program->tiles = tiles.tiles;
  program->events = tiles.events;
  program->successor_begin = tiles.successor_begin;
  program->successors = tiles.successors;
  program->need = tiles.need;
  program->priority = tiles.to_end_us;
  program->arena_bytes = round_up(static_cast<size_t>(tiles.arena_bytes), 64);
  program->code.resize(tiles.tiles);
  describe_ports(*tiles.graph, *program);
  label(tiles, options, *program);

  Binder::State state{tiles, *program, {}, 0, std::vector<uint32_t>(tiles.buffers.size(), UINT32_MAX)};
  for (const OpTiles& op : tiles.ops) {
    Binder binder(state, op);
    const OpDef& def = *binder.node.op;
    BindFn fn = op.algorithm == Algorithm::reference ? bind_reference : find_bind(def);
    fn(binder);
  }
  program->weights = AlignedBuffer(state.weight_bytes);
  double done = 0;
  for (auto& packing : state.packings) {
    if (options.progress && !options.progress(done / static_cast<double>(state.packings.size())))
      fail(ErrorCode::cancelled, "loading was cancelled");
    packing.fill(program->weights.data() + packing.offset);
    packing.fill = nullptr;
    done++;
  }
  return program;
}

}  // namespace pando
