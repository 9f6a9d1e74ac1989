// Convolution, and the matrix product as its 1x1 case, by products with packed weights on channels-last data.
//
// Images are [n][y][x][channels], a matrix is one image row whose pixels are its rows. An output pixel's chain of fused
// multiply-adds runs over (kh, kw, ci) in that order, whatever the tile.
#pragma once
#include "kernels/gemm/pass.hpp"

namespace pando::kernels {

struct ConvShape {
  int64_t in_h = 1, in_w = 1;
  int64_t x_n = 0, x_y = 0, x_x = 0, x_c = 1;  // strides of the input (elements)
  int64_t y_n = 0, y_y = 0, y_x = 0;           // of the output; its channels are contiguous
  int64_t kh = 1, kw = 1, sy = 1, sx = 1, dy = 1, dx = 1, pad_y = 0, pad_x = 0;
  int64_t ci = 1, co = 1, groups = 1;  // ci, co: of one group
};

// How the operator runs; fixed when it is bound. Trivially copyable.
struct DirectPlan {
  ConvShape shape;
  // Where the values of a tap are contiguous in memory, they are read in place, those outside the image from a column
  // of zeros. Else the part of the image under a block is copied to scratch, with its zeros.
  bool copied = false;
  bool merged = false;                  // copied, and a tap is a whole row of the kernel: few input channels
  ProductType type = ProductType::f32;  // bf16: copied, rounded
  int64_t pitch = 1;                    // values from pixel to pixel of the copy
  int64_t taps = 1;
  int64_t k = 1;                           // values of a tap
  int64_t block_rows = 1, block_cols = 1;  // output pixels handled at once: their input stays in L2
  int64_t chunk_taps = 1, chunk_k = 1;     // see MatrixPass
  bool flat = false;                       // rows of the output follow each other: blocks of whole rows are one run
  int64_t flat_cols = 0;                   // width of a whole output row

  size_t scratch_bytes() const;
};

// For tiles of at most `rows` x `cols` output pixels of an output `out_w` wide. l2: bytes of the cache.
// `residual` tells that one is read in place: {y, x} strides of it.
struct ResidualStrides {
  bool present = false;
  int64_t y = 0, x = 0;
};
DirectPlan plan_direct(const ConvShape& shape, int64_t rows, int64_t cols, int64_t out_w, ResidualStrides residual,
                       double l2, ProductType type = ProductType::f32);

struct ConvBox {  // of the output
  int64_t n0, n1, y0, y1, x0, x1, c0, c1;
};
// Pointers of a run. Packed weights of a group follow those of the one before.
struct DirectArgs {
  const float* x = nullptr;
  float* y = nullptr;
  const void* weights = nullptr;
  int64_t group_stride = 0;  // values of a group's packed weights
  EpilogueArgs epilogue;     // its operands have strides {n, y, x, channel}
};

// c0 must be a multiple of 32 when there is one group; more groups: all channels. `scratch` is aligned to 64 bytes.
void conv_direct(const DirectPlan& plan, const DirectArgs& args, const ConvBox& box, std::byte* scratch);

}  // namespace pando::kernels
