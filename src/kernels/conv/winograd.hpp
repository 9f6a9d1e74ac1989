// Convolution by Winograd's F(4x4, 3x3): 3x3 kernel, stride 1, dilation 1, one group, channels-last float32. Each 4x4
// block of outputs costs 36 multiplications per pair of channels instead of 144.
#pragma once
#include <cstddef>

#include "kernels/conv/winograd_transforms.hpp"
#include "kernels/gemm/gemm.hpp"

namespace pando::kernels {

// What all tiles of one convolution share. Blocks of 4x4 outputs lie on a grid from output (0, 0), and input channels
// are summed in order: so results do not depend on boxes or on `group`.
struct WinogradShape {
  int64_t h, w, ci;       // input
  int64_t oh, ow, co;     // output
  int64_t pad_y, pad_x;   // zeros before the first row and column; those after follow from oh and ow
  int64_t x_n, x_y, x_x;  // strides of the input, elements; channels are dense
  int64_t y_n, y_y, y_x;  // of the output
  int64_t group;          // 4x4 blocks that are transformed together at most: winograd_group()
};

// As many blocks as keep both transformed sides in L2, within 1..gemm_max_n.
int64_t winograd_group(int64_t ci, double l2_bytes);

// Weights w [co, ci, 3, 3], each output channel times scale[co] (may be null), as u [co/32][36][ci][32], zero-padded.
// Sources may be unaligned bytes of a mapped file.
size_t winograd_weights_size(int64_t ci, int64_t co);  // floats
void pack_winograd_weights(const std::byte* w, const std::byte* scale, int64_t ci, int64_t co, float* u);

// The products' kernels: `blocks` over 64 input channels each, `rest` over what remains (either may be null).
struct WinogradGemm {
  const GemmFamily* blocks;
  const GemmFamily* rest;
};
WinogradGemm winograd_gemm(int64_t ci);
// Makes JIT kernels for boxes of `blocks` 4x4 blocks.
void winograd_prepare(const WinogradShape& shape, const WinogradGemm& gemm, int64_t blocks);

// Half-open ranges of outputs. y0, x0: multiples of 4; y1, x1: multiples of 4 or the image's end; c0: a multiple of 32,
// c1: such, or co.
struct WinogradBox {
  int64_t n0, n1, y0, y1, x0, x1, c0, c1;
  int64_t blocks() const { return (n1 - n0) * ((y1 - y0 + 3) / 4) * ((x1 - x0 + 3) / 4); }
};
// Enough for boxes of up to `blocks`.
size_t winograd_scratch_bytes(const WinogradShape& shape, int64_t blocks);

// x, u, y: element 0 of input, packed weights and output. Epilogue strides are of the dimensions n, y, x, c.
// scratch: 64-byte aligned.
void winograd_tile(const WinogradShape& shape, const WinogradBox& box, const WinogradGemm& gemm, const float* x,
                   const float* u, float* y, const EpilogueArgs& epilogue, std::byte* scratch);

}  // namespace pando::kernels
