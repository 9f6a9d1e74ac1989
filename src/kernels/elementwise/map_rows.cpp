#include "kernels/elementwise/map_rows.hpp"

#include <algorithm>
#include <cstring>

#include "kernels/simd.hpp"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/elementwise/map_rows.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/elementwise/map_instr-inl.hpp"
#include "kernels/halves-inl.hpp"

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

template <class T>
constexpr bool is_half = std::is_same_v<T, Half> || std::is_same_v<T, BFloat16>;

template <class T>
HWY_INLINE float widened(T v) {
  if constexpr (std::is_arithmetic_v<T>) return static_cast<float>(v);
  else return to_float(v);
}

// n contiguous elements as float32, exactly or rounded to the nearest.
template <class T>
HWY_INLINE void widen_row(const T* in, int64_t n, float* out) {
  const DF d;
  const hn::RebindToSigned<DF> di;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t c = 0;
  for (; (std::is_arithmetic_v<T> || is_half<T>)&&c + lanes <= n; c += lanes) {
    if constexpr (is_half<T>) hn::StoreU(load_widened(d, in + c), d, out + c);
    else if constexpr (sizeof(T) == 4) hn::StoreU(hn::ConvertTo(d, hn::LoadU(di, in + c)), d, out + c);
    else if constexpr (std::is_arithmetic_v<T>)
      hn::StoreU(hn::ConvertTo(d, hn::PromoteTo(di, hn::LoadU(hn::Rebind<T, DF>(), in + c))), d, out + c);
  }
  for (; c < n; c++) out[c] = widened(in[c]);
}
template <>
HWY_INLINE void widen_row(const float* in, int64_t n, float* out) {
  std::memcpy(out, in, static_cast<size_t>(n) * sizeof(float));
}

// The conversion back: truncated, integers wrap, what does not fit 32 bits and NaN count as the smallest of them.
template <class T>
HWY_INLINE void narrow_row(const float* in, int64_t n, T* out) {
  const DF d;
  const hn::RebindToSigned<DF> di;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t c = 0;
  if constexpr (std::is_integral_v<T> && sizeof(T) == 1) {
    const auto too_large = hn::Set(d, 0x1p31f);
    const auto low = hn::Set(di, 0xff);
    for (; c + lanes <= n; c += lanes) {
      const auto v = hn::LoadU(d, in + c);
      // Highway saturates what is too large, NaN included; in x86 the low bytes of both are zero.
      const auto whole = hn::ConvertTo(di, hn::IfThenElseZero(hn::Lt(v, too_large), v));
      hn::StoreU(hn::DemoteTo(hn::Rebind<uint8_t, DF>(), hn::And(whole, low)), hn::Rebind<uint8_t, DF>(),
                 reinterpret_cast<uint8_t*>(out + c));
    }
  }
  if constexpr (is_half<T>)
    for (; c + lanes <= n; c += lanes) store_narrowed(d, hn::LoadU(d, in + c), out + c);
  for (; c < n; c++) {
    const float v = in[c];
    if constexpr (!std::is_arithmetic_v<T>) out[c] = to_narrow<T>(v);
    else out[c] = static_cast<T>(v >= -0x1p31f && v < 0x1p31f ? static_cast<int32_t>(v) : INT32_MIN);
  }
}
template <>
HWY_INLINE void narrow_row(const float* in, int64_t n, float* out) {
  std::memcpy(out, in, static_cast<size_t>(n) * sizeof(float));
}
template <>
HWY_INLINE void narrow_row(const float* in, int64_t n, bool* out) {
  for (int64_t c = 0; c < n; c++) out[c] = in[c] != 0;
}

template <class T>
void materialise_as(const MapOperand& operand, const Chunk& chunk, float* out) {
  const T* data = static_cast<const T*>(operand.data);
  for (int64_t r = 0; r < chunk.rows; r++) {
    const T* in = data + (chunk.row + r) * operand.row_stride + chunk.col * operand.col_stride;
    float* row = out + r * chunk.cols;
    if (operand.col_stride == 1) widen_row(in, chunk.cols, row);
    else if (operand.col_stride == 0) std::fill_n(row, chunk.cols, widened(*in));
    else
      for (int64_t c = 0; c < chunk.cols; c++) row[c] = widened(in[c * operand.col_stride]);
  }
  std::fill(out + chunk.count(), out + chunk.padded(), 0.0f);
}

// Calls f with a value of the C++ type, one of those of map programs.
template <class F>
void with_map_type(DType type, F f) {
  dispatch(type, [&](auto tag) {
    if constexpr (sizeof(tag) < 4 || std::is_same_v<decltype(tag), int32_t> || std::is_same_v<decltype(tag), float>)
      f(tag);
  });
}

// Dense copy of an operand's part of the chunk, zero-padded.
void materialise(const MapOperand& operand, const Chunk& chunk, float* out) {
  with_map_type(operand.type, [&](auto tag) {
    using T = decltype(tag);
    using Stored = std::conditional_t<std::is_same_v<T, bool>, uint8_t, T>;  // 0 or 1
    materialise_as<Stored>(operand, chunk, out);
  });
}

void store_rows(const float* from, int64_t rows, int64_t cols, int64_t stride, DType type, void* to) {
  with_map_type(type, [&](auto tag) {
    auto* out = static_cast<decltype(tag)*>(to);
    for (int64_t r = 0; r < rows; r++) narrow_row(from + r * cols, cols, out + r * stride);
  });
}

// Whether the elements of a chunk lie one after the other.
bool is_dense(const Chunk& chunk, int64_t row_stride, int64_t col_stride) {
  return col_stride == 1 && (chunk.rows == 1 || row_stride == chunk.cols);
}

// State of one map_rows call: scratch registers, and which chunk shape a broadcast operand was laid out for.
struct Interpreter {
  const MapCode& code;
  const MapOperand* operands;
  void* out;
  int64_t out_row_stride;
  DType type;
  Registers& registers;
  int64_t laid_out[max_map_inputs] = {};  // elements of a constant operand that lie in its register

  const float* operand(int i, const Chunk& chunk) {
    const MapOperand& o = operands[i];
    if (o.type == DType::f32 && is_dense(chunk, o.row_stride, o.col_stride) && chunk.count() % 16 == 0)
      return static_cast<const float*>(o.data) + chunk.row * o.row_stride + chunk.col;
    float* reg = registers.data[i];
    if (o.row_stride == 0 && o.col_stride == 0) {  // one value: laid out once
      if (laid_out[i] < chunk.padded()) {
        materialise(o, {0, 0, 1, 1}, reg);
        std::fill_n(reg, chunk.padded(), *reg);
        laid_out[i] = chunk.padded();
      }
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
    const bool direct = type == DType::f32 && is_dense(chunk, out_row_stride, 1) && chunk.count() % 16 == 0;
    const int64_t first = chunk.row * out_row_stride + chunk.col;
    float* destination = direct ? static_cast<float*>(out) + first : nullptr;
    for (int i = 0; i < code.count; i++) {
      const MapInstr& instr = code.code[i];
      const int target = code.inputs + i;
      float* result = direct && i + 1 == code.count ? destination : registers.data[target];
      run_instr(instr, value[instr.a], value[instr.b], value[instr.c], result, chunk.padded());
      value[target] = result;
    }
    if (direct) return;
    store_rows(value[code.inputs + code.count - 1], chunk.rows, chunk.cols, out_row_stride, type,
               static_cast<std::byte*>(out) + first * static_cast<int64_t>(size_of(type)));
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

void map_rows(const MapCode& code, const MapOperand* operands, void* out, int64_t out_row_stride, int64_t rows,
              int64_t cols, DType type) {
  Registers registers;  // uninitialised: only what a chunk uses is touched
  Interpreter interpreter{code, operands, out, out_row_stride, type, registers};
  MapOperand flat[max_map_inputs];
  bool flattens = out_row_stride == cols || rows == 1;
  for (int i = 0; i < code.inputs; i++) {
    const MapOperand& o = operands[i];
    flat[i] = {o.data, 0, o.col_stride, o.type};
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

void map_rows(const MapCode& code, const MapOperand* operands, void* out, int64_t out_row_stride, int64_t rows,
              int64_t cols, DType type) {
  if (rows <= 0 || cols <= 0) return;
  HWY_DYNAMIC_DISPATCH(map_rows)(code, operands, out, out_row_stride, rows, cols, type);
}

}  // namespace pando::kernels
#endif  // HWY_ONCE
