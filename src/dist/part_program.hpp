// A plan compiled for logical devices: for every part of every operator the tiles that compute it and the boxes that it
// needs from parts elsewhere.
//
// A part runs the algorithm that was chosen for the whole operator, in tiles of the size chosen for it, so its results
// have the same bits. Every device has memory of its own for all values at the same offsets (nothing is used again, so
// that what was not brought there cannot be there); weights and the model's inputs are shared.
#pragma once
#include "bind/binder.hpp"
#include "kernels/strided.hpp"
#include "plan/space.hpp"

namespace pando::dist {

// A box of a value, to be copied between equal places of two devices' memories. Strides in elements.
struct Move {
  uint32_t task = 0;    // whose result it is
  uint32_t source = 0;  // the device of that task
  Ref place;            // of element 0 of the box
  kernels::Walk<2> walk;
  size_t element = 4;
  int64_t bytes = 0;
};

struct TileRange {
  uint32_t begin = 0, end = 0;
};

// A part of an operator. Kernels with blocks compute up to the blocks' borders: those boxes are needed then, too.
struct PartTask {
  uint32_t op = 0, part = 0;  // of the plan
  uint32_t device = 0;
  std::vector<uint32_t> needs;   // tasks whose results it reads, here or elsewhere; each once
  std::vector<Move> moves;       // from other devices
  std::vector<TileRange> steps;  // first what only the reader computes (copies, sums of partial results), then the part
};

class PartProgram {
 public:
  // Throws not_supported: training, reductions that cannot be cut. `weights` may be null; it outlives the program.
  PartProgram(const plan::Space& space, const std::vector<plan::Config>& configs, WeightCache* weights = nullptr);
  const Program& program() const { return *program_; }
  // In an order in which every task comes after those that it needs: by operator, then by part. The last one brings the
  // model's outputs together on a device of its own, number devices().
  const std::vector<PartTask>& tasks() const { return tasks_; }
  uint32_t task(uint32_t op, uint32_t part) const { return first_task_[op] + part; }
  uint32_t devices() const { return devices_; }
  // Runs the tiles of a task. `bases` as in TileContext; `scratch`: 64-byte aligned, Program::scratch_bytes.
  void run(const PartTask& task, std::byte* const* bases, std::byte* scratch) const;

 private:
  std::shared_ptr<const Program> program_;
  std::vector<PartTask> tasks_;
  std::vector<uint32_t> first_task_;
  uint32_t devices_ = 0;
};

// Runs all tiles in order with `bases` (arena, weights, inputs, outputs, constants): the reference for parts.
void run_tiles(const Program& program, TileRange tiles, std::byte* const* bases, std::byte* scratch);

}  // namespace pando::dist
