// Joining map programs.
#pragma once
#include <optional>

#include "base/map_program.hpp"
#include "graph/graph.hpp"

namespace pando {

// A program and what its first registers stand for.
struct BoundProgram {
  MapProgram program;
  std::vector<ValueId> operands;
};

// `second` with every read of operand `link` replaced by the result of `first`. Equal operands share a register, the
// order of first use is kept. Nothing when the result would be too long.
std::optional<BoundProgram> merge(const BoundProgram& first, const BoundProgram& second, ValueId link);

// Only arithmetic from float32 to float32: no casts, comparisons, logic or bits.
bool is_float_program(const MapProgram& program);

}  // namespace pando
