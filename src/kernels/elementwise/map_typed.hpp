// Maps of one instruction in the operands' own type: float64, integers of 32 and 64 bits; casts between any types.
#pragma once
#include <cstddef>

#include "base/map_program.hpp"

namespace pando::kernels {

// n elements of a row; strides in elements.
struct TypedRow {
  const std::byte* in[3];
  int64_t stride[3];
  std::byte* out;
  int64_t out_stride;
  int64_t n;
};
using TypedMap = void (*)(const MapInstr& instr, const TypedRow& row);

// For what has_typed_body says. `type` is that of operand a, and for `where` that of the other two.
TypedMap find_typed_map(const MapInstr& instr, DType type, DType result);

}  // namespace pando::kernels
