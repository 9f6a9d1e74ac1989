#include "kernels/elementwise/map_rows.hpp"

#include <algorithm>
#include <cstring>

#include "kernels/simd.hpp"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/elementwise/map_rows.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/elementwise/map_instr-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace pando::kernels {
namespace HWY_NAMESPACE {
namespace {

constexpr int64_t chunk_size = 512;  // floats: with the few registers of a usual program a chunk stays in L1

// A block of rows, small enough for the scratch registers.
struct Chunk {
  int64_t row, col, rows, cols;
  int64_t count() const { return rows * cols; }
  int64_t padded() const { return (count() + 15) & ~int64_t{15}; }  // instructions work on whole blocks of 16
};

struct Registers {
  alignas(64) float data[max_map_inputs + max_map_instrs][chunk_size];
};

// Dense copy of an operand's part of the chunk, zero-padded.
void materialise(const MapOperand& operand, const Chunk& chunk, float* out) {
  for (int64_t r = 0; r < chunk.rows; r++) {
    const float* in = operand.data + (chunk.row + r) * operand.row_stride + chunk.col * operand.col_stride;
    float* row = out + r * chunk.cols;
    if (operand.col_stride == 1) std::memcpy(row, in, static_cast<size_t>(chunk.cols) * sizeof(float));
    else if (operand.col_stride == 0) std::fill_n(row, chunk.cols, *in);
    else
      for (int64_t c = 0; c < chunk.cols; c++) row[c] = in[c * operand.col_stride];
  }
  std::fill(out + chunk.count(), out + chunk.padded(), 0.0f);
}

// Whether the elements of a chunk lie one after the other.
bool is_dense(const Chunk& chunk, int64_t row_stride, int64_t col_stride) {
  return col_stride == 1 && (chunk.rows == 1 || row_stride == chunk.cols);
}

// State of one map_rows call: scratch registers, and which chunk shape a broadcast operand was laid out for.
struct Interpreter {
  const MapCode& code;
  const MapOperand* operands;
  float* out;
  int64_t out_row_stride;
  Registers& registers;
  int64_t laid_out[max_map_inputs] = {};  // elements of a constant operand that lie in its register

  const float* operand(int i, const Chunk& chunk) {
    const MapOperand& o = operands[i];
    if (is_dense(chunk, o.row_stride, o.col_stride) && chunk.count() % 16 == 0)
      return o.data + chunk.row * o.row_stride + chunk.col;
    float* reg = registers.data[i];
    if (o.row_stride == 0 && o.col_stride == 0) {  // one value: laid out once
      if (laid_out[i] < chunk.padded()) std::fill_n(reg, chunk.padded(), *o.data), laid_out[i] = chunk.padded();
    } else if (o.row_stride == 0 && chunk.col == 0 && chunk.rows > 1) {  // one row, again and again
      if (laid_out[i] < chunk.padded()) materialise(o, chunk, reg), laid_out[i] = chunk.padded();
    } else {
      materialise(o, chunk, reg);
    }
    return reg;
  }

  void run(const Chunk& chunk) {
    const float* value[max_map_inputs + max_map_instrs];
    for (int i = 0; i < code.inputs; i++) value[i] = operand(i, chunk);
    const bool direct = is_dense(chunk, out_row_stride, 1) && chunk.count() % 16 == 0;
    float* destination = out + chunk.row * out_row_stride + chunk.col;
    for (int i = 0; i < code.count; i++) {
      const MapInstr& instr = code.code[i];
      const int target = code.inputs + i;
      float* result = direct && i + 1 == code.count ? destination : registers.data[target];
      run_instr(instr, value[instr.a], value[instr.b], value[instr.c], result, chunk.padded());
      value[target] = result;
    }
    if (direct) return;
    const float* result = value[code.inputs + code.count - 1];
    for (int64_t r = 0; r < chunk.rows; r++)
      std::memcpy(destination + r * out_row_stride, result + r * chunk.cols,
                  static_cast<size_t>(chunk.cols) * sizeof(float));
  }
};

// A row after the other, in chunks; what is left over after whole blocks of 16 is a chunk of its own.
void run_rows(Interpreter& interpreter, int64_t rows, int64_t cols) {
  for (int64_t r = 0; r < rows; r++)
    for (int64_t c = 0; c < cols;) {
      int64_t n = std::min(chunk_size, cols - c);
      if (n > 16) n &= ~int64_t{15};
      interpreter.run({r, c, 1, n});
      c += n;
    }
}

}  // namespace

void map_rows(const MapCode& code, const MapOperand* operands, float* out, int64_t out_row_stride, int64_t rows,
              int64_t cols) {
  Registers registers;  // uninitialised: only what a chunk uses is touched
  Interpreter interpreter{code, operands, out, out_row_stride, registers};
  MapOperand flat[max_map_inputs];
  bool flattens = out_row_stride == cols || rows == 1;
  for (int i = 0; i < code.inputs; i++) {
    const MapOperand& o = operands[i];
    flat[i] = {o.data, 0, o.col_stride};
    flattens = flattens && (rows == 1 || o.row_stride == o.col_stride * cols);
  }
  if (flattens) {
    interpreter.operands = flat;
    run_rows(interpreter, 1, rows * cols);
  } else if (cols >= chunk_size / 2) {
    run_rows(interpreter, rows, cols);
  } else {  // short rows: several at a time
    const int64_t at_once = chunk_size / cols;
    for (int64_t r = 0; r < rows; r += at_once) interpreter.run({r, 0, std::min(at_once, rows - r), cols});
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace pando::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pando::kernels {

HWY_EXPORT(map_rows);

void map_rows(const MapCode& code, const MapOperand* operands, float* out, int64_t out_row_stride, int64_t rows,
              int64_t cols) {
  if (rows <= 0 || cols <= 0) return;
  HWY_DYNAMIC_DISPATCH(map_rows)(code, operands, out, out_row_stride, rows, cols);
}

}  // namespace pando::kernels
#endif  // HWY_ONCE
