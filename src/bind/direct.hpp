// What convolution by GEMM and the matrix product share: both run kernels::conv_direct.
#pragma once
#include <functional>

#include "bind/binder.hpp"
#include "bind/epilogue.hpp"
#include "kernels/conv/depthwise.hpp"
#include "kernels/conv/direct.hpp"

namespace pando {

// Which dimension of the output is the kernel's n, y and x; -1: none, its extent is 1. The last one is the channels.
struct ImageDims {
  int n = -1, y = -1, x = -1;
};

struct DirectOp {
  kernels::DirectPlan plan;
  Ref x, y, weights;  // weights absent: given with the run
  int64_t group_stride = 0;
  EpilogueRefs epilogue;  // operand strides {n, y, x, channel}
};
static_assert(std::is_trivially_copyable_v<DirectOp>);

// Plans for the boxes of b.op. The caller adds x, weights and, for each tile, its box.
DirectOp make_direct(Binder& b, const kernels::ConvShape& shape, ImageDims dims, const Epilogue& epilogue,
                     int bias_input, int first_operand, kernels::ProductType type = kernels::ProductType::f32);
// The image of a convolution of one or two spatial dimensions, and of a product by a matrix: strides of its input and
// output, window, channels.
struct Image {
  kernels::ConvShape shape;
  ImageDims dims;
};
Image image_of_conv(const Binder& b);
Image image_of_matmul(const Binder& b);
kernels::DepthwiseShape depthwise_shape(const Binder& b, const Image& image);
// Strides of the epilogue's operands from the output's dimensions to {n, y, x, channel}.
void by_image(EpilogueRefs& epilogue, ImageDims dims, int channel);
// The tile's box in the kernel's terms.
kernels::ConvBox direct_box(const Box& box, ImageDims dims);
// Addresses of a run. op.weights may be absent: then the caller sets them.
kernels::DirectArgs resolve(const DirectOp& op, const TileContext& context);

}  // namespace pando
