// Normalizations of float32 rows. Input and output may be the same memory.
#pragma once
#include <cstdint>

namespace pando::kernels {

// Layer normalization of n contiguous elements: (x - mean) / sqrt(variance + epsilon) * scale + bias, variance from the
// differences (two passes); `rms`: without the mean. Sums in 16 partials, in double. scale and bias may be null.
struct NormRow {
  int64_t n;
  float epsilon;
  bool rms;
};
void norm_row(const NormRow& norm, const float* x, const float* scale, const float* bias, float* y);

// Local response normalization over n contiguous channels: x / (bias + alpha / size * s)^beta, s the sum of squares of
// channels c - (size - 1) / 2 .. c + size / 2. `squares` is scratch of lrn_scratch(n, size) floats.
struct LrnRow {
  int64_t n, size;
  float alpha, beta, bias;
};
inline int64_t lrn_scratch(int64_t n, int64_t size) { return n + size + 32; }
void lrn_row(const LrnRow& lrn, const float* x, float* y, float* squares);

}  // namespace pando::kernels
