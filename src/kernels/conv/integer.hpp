// Convolution of 8-bit integers, and the matrix product as its 1x1 case, with packed weights: exact sums in 32 bits,
// then float32 for the epilogue, then the type of the result.
#pragma once
#include "kernels/conv/direct.hpp"
#include "kernels/gemm/integer.hpp"

namespace pando::kernels {

// How the operator runs; fixed when it is bound. Trivially copyable. Strides of `shape` are elements.
struct IntegerPlan {
  ConvShape shape;
  IntegerForm form = IntegerForm::pairs;
  bool is_signed = false;  // x is i8
  int32_t zero = 0;        // of x: what padding holds
  bool merged = false;     // a tap is a whole row of the kernel: few input channels
  int64_t taps = 1, k = 1;
  int64_t pitch = 1;  // values from pixel to pixel of the copy
  int64_t block_rows = 1, block_cols = 1;
  DType out = DType::i32;  // i32: the sums
  // The epilogue is round(v * scale) + zero, within lo..hi, to 8 bits; scale is its first operand, or one number.
  bool requantize = false, one_scale = false;
  float scale = 0, out_zero = 0, lo = 0, hi = 0;

  size_t scratch_bytes() const;
};
IntegerPlan plan_integer(const ConvShape& shape, bool is_signed, int32_t zero, int64_t rows, int64_t cols, double l2);

// For weights w [co][ci][kh][kw] by strides: where pack_integer_weights finds the values of a tap.
struct IntegerArgs {
  const std::byte* x = nullptr;
  std::byte* y = nullptr;
  const std::byte* weights = nullptr;
  int64_t group_bytes = 0;         // of a group's packed weights
  const int32_t* start = nullptr;  // per output channel, of each group a whole number of blocks: integer_start()
  int64_t group_start = 0;         // ints of a group
  const int32_t* bias = nullptr;   // per output channel, added to `start`; or null
  EpilogueArgs epilogue;           // its bias is not used
};
// What sums begin with in this form: bias - zero * (sum of the channel's weights), since `dots` multiplies x itself.
// `w`: [co][values] of one group; bias may be null.
void integer_start(const IntegerPlan& plan, const int8_t* w, int64_t co, int64_t values, const int32_t* bias,
                   int32_t* start);

// Ends the sums of `pixels` pixels along x, 32 ints apart, for `channels` channels; at: n, y, x and channel of the
// first one. `floats`: scratch for as many.
struct IntegerPlace {
  int64_t n, y, x, c;
};
void store_sums(const IntegerPlan& plan, const IntegerArgs& args, const int32_t* sums, const IntegerPlace& at,
                int64_t pixels, int64_t channels, float* floats);

void conv_integer(const IntegerPlan& plan, const IntegerArgs& args, const ConvBox& box, std::byte* scratch);

}  // namespace pando::kernels
