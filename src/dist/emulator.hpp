// Runs plans for real on logical devices that share this machine: every part of an operator runs its real kernels,
// alone and on the calling thread; boxes that cross devices are really copied.
#pragma once
#include <functional>

#include "dist/clock.hpp"
#include "dist/storage.hpp"

namespace pando::dist {

class ReferenceKernel;

struct EmulateOptions {
  bool poison = false;  // fill the devices' memory with NaN first
  // Run now and then between tasks: times become those of a machine on which it takes reference_ns.
  ReferenceKernel* reference = nullptr;
  double reference_ns = 0;
};

// Times of one run: per operator of the plan and part, nanoseconds of its kernels; bytes that were copied.
struct PartTimes {
  std::vector<std::vector<int64_t>> ns;
  int64_t bytes_moved = 0;
  double reference_ns = 0;  // what the reference kernel took, the median; 0: it did not run
};

// The devices' memories; plans that run one after the other may share them.
using Memory = std::vector<DeviceStorage>;

// Plans of one space on the same inputs (dense, in the graph's order; they must outlive the emulator). Not thread-safe.
class Emulator {
 public:
  Emulator(const plan::Space& space, std::vector<const std::byte*> inputs, WeightCache* weights = nullptr,
           std::shared_ptr<Memory> memory = std::make_shared<Memory>())
      : space_(space), inputs_(std::move(inputs)), weights_(weights), memory_(std::move(memory)) {}

  PartProgram compile(const std::vector<plan::Config>& configs) const { return {space_, configs, weights_}; }
  // Task by task in the program's order. Throws out_of_memory.
  PartTimes run(const PartProgram& program, const EmulateOptions& options = {});
  // Wall time in nanoseconds of a run in which every logical device is a thread of its own, pinned to a CPU where there
  // are enough; readers copy what they need. `start`: per operator and part, in which order a device does what is
  // ready.
  int64_t run_wall(const PartProgram& program, const std::vector<std::vector<int64_t>>& start);
  // Output i of the last run.
  const std::byte* output(const PartProgram& program, uint32_t i) const {
    return (*memory_)[program.devices()].output(program.program(), i);
  }

 private:
  void prepare(const PartProgram& program);
  const plan::Space& space_;
  std::vector<const std::byte*> inputs_;
  WeightCache* weights_;
  std::shared_ptr<Memory> memory_;
  AlignedBuffer scratch_;
};

// The model's outputs without a plan, on one thread: what every plan must give.
std::vector<std::vector<std::byte>> run_unsplit(const plan::Space& space, std::span<const std::byte* const> inputs,
                                                WeightCache* weights = nullptr);

// As run_wall is expected to take: the reading device copies what a transfer brings, at the link's rate. Fills `start`
// as run_wall wants it.
Clock wall_clock(const plan::TaskGraph& graph, std::vector<std::vector<int64_t>>& start);

// The task graph's times with those of a run in place of the predicted ones: what the plan takes.
Clock emulated_clock(const plan::TaskGraph& graph, const PartTimes& times);

}  // namespace pando::dist
