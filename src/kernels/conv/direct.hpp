// Convolution, and the matrix product as its 1x1 case, by batch-reduce GEMM on channels-last data.
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
  int kh = 1, kw = 1, sy = 1, sx = 1, dy = 1, dx = 1, pad_y = 0, pad_x = 0;
  int ci = 1, co = 1, groups = 1;  // ci, co: of one group
};

// How the operator runs; fixed when it is bound. Trivially copyable.
struct DirectPlan {
  ConvShape shape;
  // Input of a block of output pixels: read in place, or gathered into scratch, zero-bordered, so that the pixels of
  // each tap follow each other without gaps.
  bool in_place = false;
  bool merged = false;  // k runs over all kw * ci values of a kernel row, which follow each other: few input channels
  int kb = 1;           // k of one kernel call
  int entries = 1, chunk = 1;
  int block_rows = 1, block_cols = 1;  // output pixels handled at once: their input stays in L2
  // Gathered layout [part][row plane][column plane][row][column][inner]. Rows of a plane lie sy apart in the image,
  // columns of a plane sx: then every input pixel is gathered once, and a run is one row. Narrow images instead have
  // one column plane per column of the kernel, and no columns beyond those of the output: rows follow each other as one
  // run.
  bool shared_columns = false;
  int inner = 1, parts = 1, row_planes = 1, column_planes = 1, plane_rows = 1, plane_cols = 1;
  int64_t gathered_floats = 0;
  bool flat = false;  // rows of the output follow each other: blocks of whole rows are one run
  int flat_cols = 0;  // width of a whole output row

  int64_t weights_k() const { return static_cast<int64_t>(shape.kh) * shape.kw * shape.ci; }
  int ldb() const { return in_place ? static_cast<int>(shape.x_x) : inner; }
  size_t scratch_bytes() const {
    return static_cast<size_t>(gathered_floats + 16) * sizeof(float) +
           pass_scratch_bytes(static_cast<int64_t>(block_rows) * block_cols);
  }
};

// For tiles of at most `rows` x `cols` output pixels of an output `out_w` wide. l1, l2: bytes of the caches.
// `residual` tells that one is read in place: {y, x} strides of it.
struct ResidualStrides {
  bool present = false;
  int64_t y = 0, x = 0;
};
DirectPlan plan_direct(const ConvShape& shape, int64_t rows, int64_t cols, int64_t out_w, ResidualStrides residual,
                       double l1, double l2);
// plan.entries offsets each (bytes): into a block of packed weights (column stride lda), into the input.
void fill_offsets(const DirectPlan& plan, int64_t lda, GemmOffset* a, GemmOffset* b);

struct ConvBox {  // of the output
  int32_t n0, n1, y0, y1, x0, x1, c0, c1;
};
// Pointers of a run. pass.weights is of group 0; a group's packed weights follow each other. The epilogue's operands
// have strides {n, y, x, channel}.
struct DirectArgs {
  const float* x;
  float* y;
  MatrixPass pass;
  int64_t group_stride = 0;  // floats of a group's packed weights
  EpilogueArgs epilogue;
};

// c0 must be a multiple of 32 when there is one group; more groups: all channels.
void conv_direct(const DirectPlan& plan, const DirectArgs& args, const ConvBox& box, std::byte* scratch);

// Gathers pixels of parts * floats values each: dst[part * part_stride + i * floats + c] =
// src[i * src_stride + (part * floats + c) * src_c] for i < count.
struct PixelGather {
  int64_t src_stride, src_c, part_stride, parts, floats;
};
void gather_pixels(float* dst, const float* src, const PixelGather& g, int64_t count);

}  // namespace pando::kernels
