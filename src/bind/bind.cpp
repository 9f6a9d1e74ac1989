#include <xxhash.h>

#include <algorithm>
#include <mutex>
#include <optional>
#include <unordered_map>

#include "base/process.hpp"
#include "base/sanitizer.hpp"
#include "bind/bind_ops.hpp"
#include "graph/ops/common.hpp"
#include "kernels/simd.hpp"

namespace pando {

namespace {

// Packed weights, in memory of their own or in what small ones share.
struct Packed {
  std::byte* data = nullptr;
  size_t bytes = 0;
  std::shared_ptr<const AlignedBuffer> memory;
};

Packed own_memory(size_t bytes) {
  auto memory = std::make_shared<AlignedBuffer>(bytes);
  return {memory->data(), bytes, memory};
}

size_t round_up(size_t n, size_t to) { return (n + to - 1) / to * to; }

}  // namespace

struct WeightCache::State {
  struct File {
    std::span<const std::byte> bytes;
    std::function<void(const void*, size_t)> release;
  };
  ForkAwareMutex mutex;
  std::vector<File> files;
  std::unordered_map<std::string, Packed> packed;

  struct Place {
    size_t file, offset;
  };
  std::optional<Place> find(const std::byte* p) {
    std::lock_guard lock(mutex);
    for (size_t i = 0; i < files.size(); i++)
      if (const auto& b = files[i].bytes; p >= b.data() && p < b.data() + b.size())
        return Place{i, static_cast<size_t>(p - b.data())};
    return {};
  }
  void release(const Tensor& t) {
    const std::optional<Place> place = find(t.data);
    if (!place) return;
    std::unique_lock lock(mutex);
    auto release_bytes = files[place->file].release;
    lock.unlock();
    if (release_bytes) release_bytes(t.data, t.bytes());
  }
};

WeightCache::WeightCache(std::span<const std::byte> file, std::function<void(const void*, size_t)> release)
    : state_(new State{}) {
  if (!file.empty()) add_file(file, std::move(release));
}
WeightCache::~WeightCache() = default;

void WeightCache::add_file(std::span<const std::byte> file, std::function<void(const void*, size_t)> release) {
  if (file.empty() || state_->find(file.data())) return;
  std::lock_guard lock(state_->mutex);
  state_->files.push_back({file, std::move(release)});
}

struct Binder::State {
  const TileGraph& tiles;
  Program& program;
  WeightCache::State* cache;
  const CompileContext& context;
  struct Packing {
    std::string key;        // in the cache; empty: the Program's own
    size_t offset = 0;      // in the Program's own weights; bytes of shared ones
    uint32_t constant = 0;  // the constant that stands for shared weights
    std::vector<TensorPtr> from;
    std::function<void(std::byte*)> fill;
  };
  std::vector<Packing> packings;
  size_t own_bytes = 0;
  std::vector<uint32_t> base_of_buffer;  // constants get a base when first referred to

  std::vector<uint32_t> raw_base_of_buffer;  // the same constants, where alignment does not matter
  // Packings that other Programs may share, by key: the constant that stands for them.
  std::unordered_map<std::string, uint32_t> asked_for = {};
  std::unordered_map<const void*, uint32_t> number_of_function = {};
  std::vector<MemoryGap> own_gaps = {};  // between the Program's own weights
  size_t scratch_bytes = 0;              // of the operator that is being bound

  std::optional<Packed> find_packed(const std::string& key) const {
    if (!cache) return {};
    std::lock_guard lock(cache->mutex);
    auto known = cache->packed.find(key);
    return known == cache->packed.end() ? std::nullopt : std::optional(known->second);
  }
  Packed keep_packed(const std::string& key, const Packed& made) {
    if (!cache) return made;
    std::lock_guard lock(cache->mutex);
    return cache->packed.emplace(key, made).first->second;
  }
  uint32_t add_constant(ProgramConstant constant) {
    program.constants.push_back(std::move(constant));
    return narrow<uint32_t>(program.constants.size() - 1);
  }
};

Binder::Binder(State& state, const OpTiles& tiles_of_op)
    : tiles(state.tiles), op(tiles_of_op), node(state.tiles.graph->nodes[tiles_of_op.node]), state_(state) {}

namespace {

constexpr uint32_t base_arena = 0, base_weights = 1;

// What a constant is known by: its place in one of the model's files, or a hash of its content.
std::string identity(const Tensor& t, WeightCache::State& cache) {
  std::string shape = to_string(t.shape);
  if (auto place = cache.find(t.data)) return fmt::format("{}@{}+{}", shape, place->file, place->offset);
  XXH128_hash_t hash = XXH3_128bits(t.data, t.bytes());
  return fmt::format("{}#{:x}{:016x}", shape, hash.high64, hash.low64);
}

// Constants that kernels read in place must be aligned to their element; bytes of a mapped file may not be, and are
// copied once for all Programs.
uint32_t add_aligned(const Tensor& t, Binder::State& state) {
  const bool aligned = reinterpret_cast<uintptr_t>(t.data) % size_of(t.dtype) == 0;
  // The address sanitizer does not see the ends of a tensor in a file: there it is copied.
  if (aligned && (!address_sanitizer || t.bytes() == 0)) return state.add_constant({t.data, t.bytes(), t.owner});
  std::string key = state.cache ? "aligned " + identity(t, *state.cache) : std::string();
  std::optional<Packed> copy = state.find_packed(key);
  if (!copy) {
    const Packed made = own_memory(t.bytes());
    std::memcpy(made.data, t.data, t.bytes());
    copy = state.keep_packed(key, made);
  }
  return state.add_constant({copy->data, copy->bytes, copy->memory});
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
  if (base == UINT32_MAX)
    base = state_.program.base_of_constant(add_aligned(*tiles.graph->values[buffer.value].constant, state_));
  return {base, bytes};
}

Ref Binder::raw_input(int i) const {
  const Storage& s = tiles.storage[node.inputs[i]];
  const Buffer& buffer = tiles.buffers[s.buffer];
  if (buffer.kind != BufferKind::constant) return input(i);
  uint32_t& base = state_.raw_base_of_buffer[s.buffer];
  if (base == UINT32_MAX) {
    const Tensor& t = *tiles.graph->values[buffer.value].constant;
    base = state_.program.base_of_constant(state_.add_constant({t.data, t.bytes(), t.owner}));
  }
  return {base, s.offset * static_cast<int64_t>(size_of(tiles.graph->values[node.inputs[i]].dtype))};
}

void Binder::kernel(const TileKernel& k) { state_.program.kernels.push_back(k.run); }

const CompileContext& Binder::context() const { return state_.context; }

void Binder::scratch(size_t bytes) {
  constexpr size_t max_scratch = size_t{1} << 34;  // each worker has one: windows of absurd extents ask for more
  if (bytes > max_scratch)
    fail(ErrorCode::not_supported, "a tile would need {} bytes of scratch, at most {} are supported", bytes,
         max_scratch);
  state_.scratch_bytes = std::max(state_.scratch_bytes, bytes);
  state_.program.scratch_bytes = std::max(state_.program.scratch_bytes, round_up(bytes, 64));
}

uint32_t Binder::function(const void* f) {
  auto& list = state_.program.functions;
  auto [at, is_new] = state_.number_of_function.try_emplace(f, narrow<uint32_t>(list.size()));
  if (is_new) list.push_back(f);
  return at->second;
}

uint32_t Binder::operator_entry() {
  state_.program.operators.push_back({node.op, node.attrs});
  return narrow<uint32_t>(state_.program.operators.size() - 1);
}

uint32_t Binder::append(const void* data, size_t bytes) {
  auto& blob = state_.program.arguments;
  size_t at = round_up(blob.size(), 16);
  if (at + bytes > UINT32_MAX) fail(ErrorCode::not_supported, "more than 4 GiB of tile arguments are not supported");
  blob.resize(at + bytes);
  std::memcpy(blob.data() + at, data, bytes);
  return narrow<uint32_t>(at);
}

void Binder::set_tile(uint32_t i, uint32_t offset) {
  state_.program.code[op.first_tile + i] = {narrow<uint32_t>(state_.program.kernels.size() - 1), op_offset_, offset};
}

Ref Binder::pack(size_t bytes, std::function<void(std::byte*)> fill) {
  size_t at = state_.own_bytes;
  state_.packings.push_back({{}, at, 0, {}, std::move(fill)});
  state_.own_bytes = at + round_up(bytes + gap_bytes, 64);
  if (address_sanitizer) state_.own_gaps.push_back({at + bytes, state_.own_bytes - at - bytes});
  return {base_weights, static_cast<int64_t>(at)};
}

TensorPtr as_float32(const TensorPtr& constant) {
  if (constant->dtype == DType::f32) return constant;
  auto floats = make_tensor(DType::f32, constant->shape, Contents::unset);
  auto* to = reinterpret_cast<float*>(writable(*floats));
  const int64_t count = element_count(constant->shape);
  if (constant->dtype == DType::f16)
    for (int64_t i = 0; i < count; i++) to[i] = to_float(load<Half>(constant->data, i));
  else
    for (int64_t i = 0; i < count; i++) to[i] = to_float(load<BFloat16>(constant->data, i));
  return floats;
}

Ref Binder::pack_weights(size_t bytes, const std::string& recipe, std::initializer_list<int> inputs,
                         std::function<void(std::byte*)> fill) {
  std::string key = fmt::format("{} {}", recipe, bytes);
  std::vector<TensorPtr> from;
  for (int i : inputs)
    if (has(i)) from.push_back(view().in(i).constant);
  if (state_.cache)
    for (const TensorPtr& t : from) key += ' ' + identity(*t, *state_.cache);
  if (auto known = state_.find_packed(key)) {
    state_.program.packed_bytes += known->bytes;
    return {state_.program.base_of_constant(state_.add_constant({known->data, known->bytes, known->memory})), 0};
  }
  if (state_.cache) {  // operators with the same weights: cells of a recurrent layer
    if (auto other = state_.asked_for.find(key); other != state_.asked_for.end())
      return {state_.program.base_of_constant(other->second), 0};
  }
  uint32_t constant = state_.add_constant({});  // its memory comes when it is filled
  if (state_.cache) state_.asked_for.emplace(key, constant);
  state_.packings.push_back({std::move(key), bytes, constant, std::move(from), std::move(fill)});
  return {state_.program.base_of_constant(constant), 0};
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
    program.labels.push_back({display_name(*tiles.graph, node), node.op->name, name_of(op.row->algorithm),
                              flops / op.tile_count, node.op->matrix});
  }
  if (options.tile_boxes)
    for (uint32_t t = 0; t < tiles.tiles; t++) program.tile_box.push_back(to_string(tiles.box(t)));
}

// Bytes of the arena that no buffer covers.
std::vector<MemoryGap> gaps_of(const TileGraph& tiles) {
  std::vector<std::pair<size_t, size_t>> covered;  // begin, end
  for (const Buffer& b : tiles.buffers)
    if (b.kind == BufferKind::arena && b.bytes > 0)
      covered.emplace_back(static_cast<size_t>(b.offset), static_cast<size_t>(b.offset + b.bytes));
  const size_t end = round_up(static_cast<size_t>(tiles.arena_bytes), 64);
  covered.emplace_back(end, end);
  std::sort(covered.begin(), covered.end());
  std::vector<MemoryGap> gaps;
  size_t at = 0;
  for (auto [from, to] : covered) {
    if (from > at) gaps.push_back({at, from - at});
    at = std::max(at, to);
  }
  return gaps;
}

bool writes_nothing(const NodeView& node) {
  for (int i = 0; i < node.outputs(); i++)
    if (element_count(node.out_shape(i)) > 0) return false;
  return true;
}

// For results without elements: kernels need not know of them.
void run_nothing(const void*, const void*, const TileContext&) {}
void bind_nothing(Binder& b) {
  b.kernel(nothing_kernel);
  b.op_args(char{});
  for (uint32_t t = 0; t < b.tile_count(); t++) b.tile_args(t, char{});
}

// Memory for all weights to pack. Small ones lie side by side: in pages of their own they would need hundreds of
// entries of the TLB, and their loads end at the end of a page what a CPU reads ahead.
std::vector<Packed> memory_for(const std::vector<Binder::State::Packing>& packings) {
  constexpr size_t small = address_sanitizer ? 0 : size_t{1} << 20;
  const auto shares = [](const auto& p) { return !p.key.empty() && p.offset < small; };
  size_t shared = 0;
  for (const auto& p : packings)
    if (shares(p)) shared += round_up(p.offset, 64);
  Packed rest = own_memory(shared);
  std::vector<Packed> memory(packings.size());
  for (size_t i = 0; i < packings.size(); i++) {
    if (shares(packings[i])) {
      memory[i] = {rest.data, packings[i].offset, rest.memory};
      rest.data += round_up(packings[i].offset, 64);
    } else if (!packings[i].key.empty()) {
      memory[i] = own_memory(packings[i].offset);
    }
  }
  return memory;
}

// Packs what the operators asked for, one after the other, so that the pages of a mapped file come and go in turn.
void fill_weights(Binder::State& state, const BindOptions& options) {
  Program& program = state.program;
  const Packed own = own_memory(state.own_bytes);
  program.weights = {own.data, own.bytes, own.memory};
  for (const MemoryGap& gap : state.own_gaps) poison(own.data + gap.begin, gap.bytes);
  const std::vector<Packed> memory = memory_for(state.packings);
  for (size_t i = 0; i < state.packings.size(); i++) {
    Binder::State::Packing& p = state.packings[i];
    state.context.check();
    if (options.progress) options.progress(static_cast<double>(i) / static_cast<double>(state.packings.size()));
    if (p.key.empty()) {
      p.fill(own.data + p.offset);
      continue;
    }
    p.fill(memory[i].data);
    p.fill = nullptr;
    program.constants[p.constant] = {memory[i].data, memory[i].bytes, memory[i].memory};
    program.packed_bytes += memory[i].bytes;
    if (!state.cache) continue;
    for (const TensorPtr& t : p.from) state.cache->release(*t);
    state.keep_packed(p.key, memory[i]);
  }
}

}  // namespace

const TileKernel nothing_kernel{"nothing", run_nothing};

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
  if (address_sanitizer) program->arena_gaps = gaps_of(tiles);
  program->code.resize(tiles.tiles);
  describe_ports(*tiles.graph, *program);
  label(tiles, options, *program);

  const CompileContext own;
  Binder::State state{tiles,
                      *program,
                      options.weights ? &options.weights->state() : nullptr,
                      options.context ? *options.context : own,
                      {},
                      0,
                      std::vector<uint32_t>(tiles.buffers.size(), UINT32_MAX),
                      std::vector<uint32_t>(tiles.buffers.size(), UINT32_MAX)};
  for (const OpTiles& op : tiles.ops) {
    state.context.check();
    Binder binder(state, op);
    BindFn fn = find_bind(op.row->key);
    if (writes_nothing(binder.view())) fn = bind_nothing;
    state.scratch_bytes = 0;
    try {
      fn(binder);
    } catch (const Error& e) {  // of checks that do not know the node
      if (e.code() != ErrorCode::not_supported || std::string_view(e.what()).starts_with("node '")) throw;
      fail(e.code(), "node '{}' ({}): {}", display_name(*tiles.graph, binder.node), binder.node.op->name, e.what());
    }
    program->labels[static_cast<size_t>(&op - tiles.ops.data())].scratch_bytes = state.scratch_bytes;
  }
  fill_weights(state, options);
  return program;
}

}  // namespace pando
