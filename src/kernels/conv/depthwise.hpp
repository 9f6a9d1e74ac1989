// Depthwise convolution, channels-last float32: output channel k sees input channel k / (co / ci) alone. 2-D; a 1-D
// convolution is one with a single row.
#pragma once
#include <cstddef>

#include "kernels/conv/epilogue.hpp"

namespace pando::kernels {

// What all tiles of one convolution share; strides in elements, channels are dense.
struct DepthwiseShape {
  int64_t h, w, ci;
  int64_t oh, ow, co;
  int64_t kh, kw;
  int64_t stride_y, stride_x, dilation_y, dilation_x;
  int64_t pad_y, pad_x;  // zeros before the first row and column; those after follow from oh and ow
  int64_t x_n, x_y, x_x;
  int64_t y_n, y_y, y_x;
};

// Half-open ranges of outputs.
struct DepthwiseBox {
  int64_t n0, n1, y0, y1, x0, x1, c0, c1;
};

// Weights w [co, 1, taps], each output channel times scale[co] (may be null), as packed [taps][co]. Sources may be
// unaligned bytes of a mapped file.
void pack_depthwise_weights(const std::byte* w, const std::byte* scale, int64_t co, int64_t taps, float* packed);

// x, weights, y: element 0 of input, packed weights and output. Epilogue strides are of the dimensions n, y, x, c. Each
// output is the chain of fused multiply-adds from its bias through the taps in row-major order; taps on padding are
// left out. So results do not depend on boxes.
void depthwise_tile(const DepthwiseShape& shape, const DepthwiseBox& box, const float* x, const float* weights,
                    float* y, const EpilogueArgs& epilogue);

}  // namespace pando::kernels
