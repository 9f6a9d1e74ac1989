// Runs a map program (base/map_program.hpp) over a block of float32 rows, a chunk at a time so that registers stay in
// L1.
#pragma once
#include <cstdint>

#include "base/map_program.hpp"

namespace pando::kernels {

// Trivially copyable copy of a MapProgram, for argument blocks.
struct MapCode {
  MapInstr code[max_map_instrs];
  uint8_t count = 0, inputs = 1;
};
MapCode to_map_code(const MapProgram& program);

// Element (r, c) lies at data[r * row_stride + c * col_stride]; strides may be 0 (broadcast). Elements of another type
// than float32 are converted when they are read: see is_program_type.
struct MapOperand {
  const void* data;
  int64_t row_stride, col_stride;
  DType type = DType::f32;
};

// out[r * out_row_stride + c] = program(operands at (r, c)), for r < rows, c < cols. `out` may be an operand itself
// (same type and strides): each element is read before it is written. Bits do not depend on how a range is cut into
// calls. The result is converted to `type` as the operator Cast does it.
void map_rows(const MapCode& code, const MapOperand* operands, void* out, int64_t out_row_stride, int64_t rows,
              int64_t cols, DType type = DType::f32);

}  // namespace pando::kernels
