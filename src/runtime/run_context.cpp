#include <algorithm>
#include <climits>
#include <numeric>

#include "base/process.hpp"
#include "base/sanitizer.hpp"
#include "runtime/engine_impl.hpp"
#include "runtime/thread.hpp"

namespace pando::runtime {
namespace {

// A run of a program with a wrong count or a cycle would never end, so it is refused here, in time linear in its edges.
void check(const Program& p) {
  size_t nodes = size_t{p.tiles} + p.events;
  if (nodes >= no_tile || p.successor_begin.size() != nodes + 1 || p.need.size() != nodes || p.code.size() != p.tiles ||
      p.priority.size() < p.tiles || p.successor_begin[0] != 0 || p.successor_begin[nodes] != p.successors.size() ||
      !std::is_sorted(p.successor_begin.begin(), p.successor_begin.end()))
    fail(ErrorCode::internal, "program: tables do not fit {} tiles and {} events", p.tiles, p.events);
  std::vector<uint32_t> left(nodes), order;
  for (uint32_t s : p.successors) {
    if (s >= nodes) fail(ErrorCode::internal, "program: edge to node {} of {}", s, nodes);
    left[s]++;
  }
  for (uint32_t n = 0; n < nodes; n++) {
    if (left[n] != p.need[n])
      fail(ErrorCode::internal, "program: node {} needs {} predecessors but has {}", n, p.need[n], left[n]);
    if (left[n] > 0) continue;
    if (n >= p.tiles) fail(ErrorCode::internal, "program: event {} has no predecessors", n);
    order.push_back(n);
  }
  for (size_t i = 0; i < order.size(); i++)
    for (uint32_t e = p.successor_begin[order[i]]; e < p.successor_begin[order[i] + 1]; e++)
      if (--left[p.successors[e]] == 0) order.push_back(p.successors[e]);
  if (order.size() != nodes) fail(ErrorCode::internal, "program: {} nodes lie on cycles", nodes - order.size());
  for (const TileCode& c : p.code)
    if (c.kernel >= p.kernels.size() || c.op > p.arguments.size() || c.tile > p.arguments.size())
      fail(ErrorCode::internal, "program: a tile's kernel or arguments lie outside the tables");
}

}  // namespace

RunContext::State::State(Engine& owner, std::shared_ptr<const Program> code_of, const Options& how)
    : engine(owner), program(std::move(code_of)), options(how) {
  const Program& p = *program;
  check(p);
  tiles = p.tiles;
  nodes = p.tiles + p.events;
  successor_begin = p.successor_begin.data();
  successors = p.successors.data();
  code = p.code.data();
  arguments = p.arguments.data();
  kernels = p.kernels.data();
  functions = p.functions.data();
  operators = p.operators.data();
  priority = p.priority.data();
  policy = options.policy;

  uint32_t sinks = 0;
  for (uint32_t n = 0; n < nodes; n++) sinks += successor_begin[n] == successor_begin[n + 1];
  need_with_final = p.need;
  need_with_final.push_back(sinks);
  need = need_with_final.data();
  counters = std::make_unique<std::atomic<uint32_t>[]>(nodes + 1);
  for (uint32_t n = 0; n <= nodes; n++) counters[n].store(need[n], std::memory_order_relaxed);

  for (uint32_t t = 0; t < tiles; t++)
    if (p.need[t] == 0) roots.push_back(t);
  std::stable_sort(roots.begin(), roots.end(), [&](uint32_t a, uint32_t b) { return priority[a] > priority[b]; });

  arena = AlignedBuffer(p.arena_bytes);
  for (const MemoryGap& gap : p.arena_gaps) poison(arena.data() + gap.begin, gap.bytes);
  base_table = {arena.data(), const_cast<std::byte*>(p.weights.data)};
  base_table.resize(base_table.size() + p.inputs.size() + p.outputs.size());
  // Kernels get one table of writable pointers; that they write outputs and arena only is bind's duty.
  for (const ProgramConstant& c : p.constants) base_table.push_back(const_cast<std::byte*>(c.data));
  bases = base_table.data();

  overflow_next.resize(tiles);
  steals = std::make_unique<StealCount[]>(static_cast<size_t>(engine.workers()));
  if (options.trace) {
    slice_table.assign(tiles, {0, UINT32_MAX, 0, false, 0, 0});
    for (uint32_t t = 0; t < tiles; t++) slice_table[t].tile = t;
    slices = slice_table.data();
    sorted_slices.reserve(tiles);
  }
}

void RunContext::State::begin(const RunRequest& request) {
  const Program& p = *program;
  if (request.inputs.size() != p.inputs.size() || request.outputs.size() != p.outputs.size())
    fail(ErrorCode::invalid_argument, "a run of this program takes {} inputs and {} outputs, not {} and {}",
         p.inputs.size(), p.outputs.size(), request.inputs.size(), request.outputs.size());
  // Acquire: the last run's end, with all counters re-armed.
  uint32_t expected = ended;
  if (!phase.compare_exchange_strong(expected, running, std::memory_order_acq_rel))
    fail(ErrorCode::invalid_argument, "the run context has a run in flight");
  // Relaxed stores and plain ones: workers see them through the queue that the run enters next.
  for (size_t i = 0; i < p.inputs.size(); i++)
    base_table[p.base_of_input(static_cast<uint32_t>(i))] = const_cast<std::byte*>(request.inputs[i]);
  for (size_t i = 0; i < p.outputs.size(); i++)
    base_table[p.base_of_output(static_cast<uint32_t>(i))] = request.outputs[i];
  cancel = request.cancel;
  tiles_done = request.tiles_done;
  plain = !cancel && !tiles_done && !options.trace && !options.empty_kernels && options.spin_kernels_us <= 0 &&
          options.random_delay_us == 0;
  cancelled.store(false, std::memory_order_relaxed);
  for (int w = 0; w < engine.workers(); w++) steals[static_cast<size_t>(w)].value.store(0, std::memory_order_relaxed);
}

bool RunContext::State::wait_until_ended(uint64_t ns) {
  do {
    uint32_t now = phase.load(std::memory_order_acquire);
    if (now == ended) return true;
    if (now == awaited || phase.compare_exchange_strong(now, awaited, std::memory_order_acquire))
      futex_wait(phase, awaited, ns);
  } while (ns == 0);
  return has_ended();
}

RunContext::RunContext(Engine& engine, std::shared_ptr<const Program> program, const Options& options)
    : state_(std::make_unique<State>(engine, std::move(program), options)) {
  engine.impl().enter(*state_);
}

void RunContext::State::forget_run() {
  if (has_ended()) return;
  for (uint32_t n = 0; n <= nodes; n++) counters[n].store(need[n], std::memory_order_relaxed);
  new (&done) std::function<void(bool)>();  // the parent's; another thread may have been moving it
  phase.store(ended, std::memory_order_release);
}

RunContext::~RunContext() {
  if (ExitGate::closed()) {  // see Engine::~Engine
    static_cast<void>(state_.release());
    return;
  }
  state_->wait_until_ended();
  state_->engine.impl().leave(*state_);
}

const Program& RunContext::program() const { return *state_->program; }

std::span<const TraceSlice> RunContext::trace() const {
  std::vector<TraceSlice>& sorted = state_->sorted_slices;
  sorted = state_->slice_table;
  std::sort(sorted.begin(), sorted.end(), [](const TraceSlice& a, const TraceSlice& b) {
    return a.begin_ns != b.begin_ns ? a.begin_ns < b.begin_ns : a.tile < b.tile;
  });
  return sorted;
}

RunStats RunContext::stats() const {
  RunStats stats;
  for (int w = 0; w < state_->engine.workers(); w++)
    stats.steals += state_->steals[static_cast<size_t>(w)].value.load(std::memory_order_relaxed);
  for (const TraceSlice& slice : state_->slice_table) stats.busy_ns += slice.end_ns - slice.begin_ns;
  return stats;
}

}  // namespace pando::runtime
