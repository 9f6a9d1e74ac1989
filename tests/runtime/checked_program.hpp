// Random tile graphs whose kernels check that what they depend on was written, with plain memory accesses: a missing
// edge shows as a wrong value, and as a race under a thread sanitizer.
#pragma once
#include <gtest/gtest.h>

#include <atomic>
#include <random>
#include <set>

#include "runtime/engine.hpp"
#include "runtime/program_builder.hpp"

namespace pando::runtime {

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr bool sanitized = true;
#else
constexpr bool sanitized = false;
#endif

constexpr Policy policies[] = {Policy::depth_first, Policy::breadth_first, Policy::barrier};

struct GraphShape {
  uint32_t tiles = 500;
  double events = 0.1;     // chance that a tile is preceded by a new event
  uint32_t window = 40;    // how far back edges reach
  uint32_t max_edges = 4;  // into a node
  double roots = 0.05;     // chance of no predecessor
  size_t scratch_bytes = 512;
};

// Inputs: [0] one int64, the number of the run, never the same twice. Outputs: [0] an int64 per tile, the run's number.
class CheckedProgram {
 public:
  CheckedProgram(uint32_t seed, const GraphShape& shape) {
    std::mt19937 random(seed);
    auto chance = [&](double p) { return std::uniform_real_distribution<>(0, 1)(random) < p; };
    ProgramBuilder builder;
    std::vector<bool> is_event;
    std::vector<uint32_t> tile_of;                  // node -> tile
    std::vector<std::set<uint32_t>> before;         // node -> tiles whose results it may read
    std::vector<std::vector<uint32_t>> tile_reads;  // tile -> the same
    auto add = [&](bool event) {
      auto node = event ? builder.add_event() : builder.add_tile(static_cast<float>(1 + random() % 10));
      std::set<uint32_t> from, reads;
      if (node > 0 && (event || !chance(shape.roots)))
        for (uint32_t e = 1 + random() % shape.max_edges; e > 0; e--)
          from.insert(node - 1 - random() % std::min(node, shape.window));
      for (uint32_t f : from) {
        builder.add_edge(f, node);
        if (is_event[f]) reads.insert(before[f].begin(), before[f].end());
        else reads.insert(tile_of[f]);
      }
      is_event.push_back(event);
      tile_of.push_back(event ? UINT32_MAX : static_cast<uint32_t>(tile_reads.size()));
      if (!event) tile_reads.emplace_back(reads.begin(), reads.end());
      before.push_back(std::move(reads));
    };
    while (tile_reads.size() < shape.tiles) add(!is_event.empty() && chance(shape.events));

    program_ = builder.build(&CheckedProgram::kernel);
    for (uint32_t t = 0; t < program_->tiles; t++) {
      Block block{t, static_cast<uint32_t>(tile_reads[t].size()), shape.scratch_bytes};
      size_t at = program_->arguments.size();
      program_->code[t].tile = static_cast<uint32_t>(at);
      program_->arguments.resize((at + sizeof block + 4 * tile_reads[t].size() + 15) / 16 * 16);
      std::memcpy(&program_->arguments[at], &block, sizeof block);
      if (block.reads > 0)
        std::memcpy(&program_->arguments[at + sizeof block], tile_reads[t].data(), 4 * tile_reads[t].size());
    }
    program_->arena_bytes = 8 * size_t{program_->tiles};
    program_->scratch_bytes = shape.scratch_bytes;
    program_->inputs.push_back({"run", DType::i64, {1}});
    program_->outputs.push_back({"runs", DType::i64, {program_->tiles}});
  }
  std::shared_ptr<const Program> program() const { return program_; }
  static inline std::atomic<int> errors{0};

 private:
  struct Block {
    uint32_t tile, reads;
    size_t scratch_bytes;
  };
  static void kernel(const void*, const void* argument, const TileContext& context) {
    const Block& block = *static_cast<const Block*>(argument);
    auto reads = reinterpret_cast<const uint32_t*>(&block + 1);
    auto values = reinterpret_cast<int64_t*>(context.bases[0]);
    int64_t run = *reinterpret_cast<const int64_t*>(context.bases[2]);
    bool ok = values[block.tile] != run && reinterpret_cast<uintptr_t>(context.scratch) % 64 == 0;
    auto marks = reinterpret_cast<uint32_t*>(context.scratch);
    for (size_t i = 0; i < block.scratch_bytes / 4; i++) marks[i] = block.tile;
    for (uint32_t i = 0; i < block.reads; i++) ok &= values[reads[i]] == run;
    for (size_t i = 0; i < block.scratch_bytes / 4; i++) ok &= marks[i] == block.tile;
    values[block.tile] = run;
    reinterpret_cast<int64_t*>(context.bases[3])[block.tile] = run;
    if (!ok) errors.fetch_add(1, std::memory_order_relaxed);
  }
  std::shared_ptr<Program> program_;
};

// A context of a CheckedProgram with its input and output.
class CheckedRun {
 public:
  CheckedRun(Engine& engine, const CheckedProgram& program, const RunContext::Options& options = {})
      : engine_(engine), output_(program.program()->tiles), context_(engine, program.program(), options) {}

  // Runs to the end and checks all outputs; after a cancelled run they are not looked at. Returns run()'s value.
  bool run(const CancelToken* cancel = nullptr) {
    prepare(cancel);
    bool finished = engine_.run(context_, request_);
    if (finished) check();
    return finished;
  }
  void submit(std::function<void(bool)> done, const CancelToken* cancel = nullptr) {
    prepare(cancel);
    engine_.submit(context_, request_, std::move(done));
  }
  void check() const {
    int64_t wrong = 0;
    for (int64_t v : output_) wrong += v != number_;
    EXPECT_EQ(wrong, 0) << "tiles that did not run";
  }
  RunContext& context() { return context_; }

 private:
  void prepare(const CancelToken* cancel) {
    static std::atomic<int64_t> numbers{1};
    number_ = numbers.fetch_add(1, std::memory_order_relaxed);
    input_[0] = reinterpret_cast<const std::byte*>(&number_);
    outputs_[0] = reinterpret_cast<std::byte*>(output_.data());
    request_ = {input_, outputs_, cancel, nullptr};
  }
  Engine& engine_;
  int64_t number_ = 0;
  std::vector<int64_t> output_;
  const std::byte* input_[1];
  std::byte* outputs_[1];
  RunRequest request_;
  RunContext context_;  // last: its end waits for the run
};

}  // namespace pando::runtime
