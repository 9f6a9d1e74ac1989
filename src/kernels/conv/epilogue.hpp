// What matrix kernels do with each output element before they store it: bias, residual, activation; or any map program.
#pragma once
#include "base/shape.hpp"
#include "kernels/elementwise/map_rows.hpp"

namespace pando::kernels {

// relu: max(0, v); clip: min(hi, max(lo, v)); leaky_relu: max(v, slope * v), 0 <= slope <= 1. NaN stays NaN.
enum class Activation : uint8_t { none, relu, clip, leaky_relu };

// An operand broadcast to the output: strides (elements) per output dimension, 0 where it is broadcast.
struct EpilogueOperand {
  const float* data;
  int64_t stride[max_rank];
};

// y = act(v + bias + residual), or act(v + bias) + residual when residual_last; with `code`, instead: v + bias is
// stored (activation is none), then the program runs over it in place, register 0 = the element, registers 1.. =
// operand[0..].
// Built anew for each tile: only the first `operands` operands are set.
struct EpilogueArgs {
  const float* bias = nullptr;  // [output channels], from channel 0 of the operator
  Activation activation = Activation::none;
  bool residual_last = false;
  float lo = 0, hi = 0, slope = 0;
  int operands = 0;               // without code: 0, or 1 for the residual (its channel stride is 1)
  const MapCode* code = nullptr;  // null: the fast path
  EpilogueOperand operand[max_map_inputs];

  EpilogueArgs() {}  // leaves operand[] unset
  const EpilogueOperand* residual() const { return code == nullptr && operands == 1 ? &operand[0] : nullptr; }
};

// Runs args.code over a block of rows along output dimension `row_dim` and columns along the last one, `rank` - 1.
// `at` are the output coordinates of the block's first element. The elements come from `in`, and go to `out`, which may
// be the same, converted to `type`.
struct EpilogueBlock {
  const float* in;
  int64_t in_stride;
  void* out;
  int64_t out_stride;
  DType type = DType::f32;
};
void run_epilogue_code(const EpilogueArgs& args, int rank, int row_dim, const int64_t* at, int64_t rows, int64_t cols,
                       const EpilogueBlock& block);
inline void run_epilogue_code(const EpilogueArgs& args, int rank, int row_dim, const int64_t* at, int64_t rows,
                              int64_t cols, float* out, int64_t out_row_stride) {
  run_epilogue_code(args, rank, row_dim, at, rows, cols, {out, out_row_stride, out, out_row_stride});
}

}  // namespace pando::kernels
