// The two transforms of Winograd's F(4x4, 3x3) that run for every 4x4 block of outputs, vectorized over channels.
#pragma once
#include <cstdint>

#include "kernels/conv/epilogue.hpp"

namespace pando::kernels {

inline constexpr int winograd_points = 36;  // 6 x 6
inline constexpr int winograd_block = 32;   // output channels that are multiplied and transformed together

// v[e * v_stride + c] = (B^T d B)[e] for each channel c; d[i] is patch[i][c], a 6x6 patch of pixels, row-major.
// v is written up to the next multiple of 16 channels.
void winograd_input(const float* const* patch, int64_t channels, float* v, int64_t v_stride);

// One 4x4 block of outputs, of which `rows` x `cols` exist.
struct WinogradOutput {
  float* y;
  int64_t y_row, y_col;   // strides
  const float* residual;  // of the first output, or null
  int64_t residual_row, residual_col;
  int rows, cols;
};
// y(i, j)[c] = finish((A^T m A)[i][j] + bias[c]), m[e] = m[e * m_stride + c]; bias may be null. m has
// winograd_block readable channels, of which the first `channels` are stored. A general epilogue
// (code) is left to the caller.
void winograd_output(const float* m, int64_t m_stride, int64_t channels, const float* bias,
                     const EpilogueArgs& epilogue, const WinogradOutput& out);

}  // namespace pando::kernels
