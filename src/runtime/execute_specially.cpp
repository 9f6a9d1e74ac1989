// How a tile runs when anything but its kernel is asked for.
#include "runtime/engine_impl.hpp"
#include "runtime/thread.hpp"

namespace pando::runtime {
namespace {

void spin_for(double us) {
  uint64_t end = now_ns() + static_cast<uint64_t>(us * 1e3);
  while (now_ns() < end) pause_cpu();
}

}  // namespace

void Worker::execute_specially(RunContext::State& run, uint32_t tile, bool stolen) {
  // Once a tile was skipped all later ones are: they would compute from what was never written.
  bool skip = run.cancel && (run.cancelled.load(std::memory_order_relaxed) || run.cancel->cancelled());
  if (skip) run.cancelled.store(true, std::memory_order_relaxed);

  const RunContext::Options& options = run.options;
  if (options.random_delay_us > 0) {
    uint32_t attempt = 0;  // draws a number from the worker's generator
    next_victim(number_, UINT32_MAX, attempt, random_);
    spin_for(random_ % (options.random_delay_us + 1));
  }
  uint64_t begin = run.slices ? now_ns() : 0;
  if (skip || options.empty_kernels) {
    // nothing
  } else if (options.spin_kernels_us > 0) {
    spin_for(options.spin_kernels_us);
  } else {
    execute(run, tile);
  }
  if (run.slices) {
    TraceSlice& slice = run.slices[tile];  // of this tile alone; readied_by was written by who readied it
    slice.worker = static_cast<uint16_t>(number_);
    slice.stolen = stolen;
    slice.begin_ns = begin;
    slice.end_ns = now_ns();
  }
  if (run.tiles_done && !skip) run.tiles_done->fetch_add(1, std::memory_order_relaxed);
}

}  // namespace pando::runtime
