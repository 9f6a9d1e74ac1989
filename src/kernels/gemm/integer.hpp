// Products of 8-bit integers with packed weights: exact sums in 32 bits, and their way back to 8 bits.
//
//   sum(i, j) = start(i) + sum over t, p of weights(t, p, i) * column(t, j)[p]    i < channels, t < taps, p < k
//
// Two forms, by what the CPU has. `dots`: bytes without sign times bytes with sign, four products at a time (VNNI's
// vpdpbusd), exact. `pairs`: 16-bit integers, two at a time (pmaddwd), exact as well. No form saturates. Sums wrap
// around, so every order gives the same bits.
#pragma once
#include <cstddef>
#include <cstdint>

#include "base/blocks.hpp"

namespace pando::kernels {

enum class IntegerForm : uint8_t { pairs, dots };
// The best one that the CPU and the limit of the instruction set allow.
IntegerForm integer_form();

inline constexpr int integer_block = column_block;  // output channels of a block of packed weights
// Values of k that are multiplied at a time, and bytes of a value of a column or a weight.
constexpr int integer_group(IntegerForm f) { return f == IntegerForm::dots ? 4 : 2; }
constexpr int64_t padded_k(IntegerForm f, int64_t k) {
  return (k + integer_group(f) - 1) / integer_group(f) * integer_group(f);
}
constexpr int64_t integer_value_bytes(IntegerForm f) { return f == IntegerForm::dots ? 1 : 2; }

// Bytes of the packed weights of `co` channels: [co / 32][taps][padded k / group][32][group].
size_t integer_weights_bytes(IntegerForm form, int64_t co, int64_t taps, int64_t k);
// w(o, t, p), -128..127, at w[o * stride_o + t * stride_t + p * stride_p]. Rest: zeros.
struct IntegerWeights {
  const int8_t* w;
  int64_t stride_o, stride_t, stride_p;
};
void pack_integer_weights(IntegerForm form, const IntegerWeights& from, int64_t co, int64_t taps, int64_t k,
                          std::byte* to);

// y = saturate(round_half_even(clip(float(sum) * scale)) + zero): lo and hi bound the result, zero included.
struct Requantize {
  const float* scale;    // of channel 0 of the block
  int64_t scale_stride;  // 1, or 0: one for all
  float zero, lo, hi;
};

// One block of at most 32 output channels for n columns.
struct IntegerBlock {
  const std::byte* weights;
  const void* const* columns;      // [taps][column_stride], n of them are used; values are u8 (dots) or i16 (pairs)
  int64_t column_stride, taps, k;  // k: padded
  int64_t n, channels;
  const int32_t* start;  // [32]
  int32_t* sums;         // [n][32]
  // Of the form `dots`, instead of sums: bytes of the columns, y_stride apart.
  const Requantize* requantize;
  std::byte* y;
  int64_t y_stride;
};
void integer_block_sums(IntegerForm form, const IntegerBlock& block);

// rows x channels sums, 32 apart, to bytes `stride` apart (u8, or i8 with the same bits).
void requantize_rows(const Requantize& how, const int32_t* sums, int64_t rows, int64_t channels, std::byte* y,
                     int64_t stride);
// n bytes with sign, each 128 higher.
void flip_signs(const std::byte* x, int64_t n, uint8_t* to);
// n bytes, with sign or not, less `zero`.
void widen_bytes(const std::byte* x, bool is_signed, int32_t zero, int64_t n, int16_t* to);
void widen_bytes(const std::byte* x, bool is_signed, int32_t zero, int64_t n, float* to);
// Sums that were added up in float32, `from_stride` apart, plus a bias per channel, to rows 32 ints apart.
void sums_of_floats(const float* from, int64_t from_stride, int64_t rows, int64_t channels, const int32_t* bias,
                    int32_t* sums);
// To float32.
void float_rows(const int32_t* sums, int64_t rows, int64_t channels, float* y, int64_t stride);

}  // namespace pando::kernels
