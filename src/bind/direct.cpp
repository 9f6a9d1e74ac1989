#include "bind/direct.hpp"

namespace pando {
namespace {

int64_t block_extent(const Binder& b, int dim) { return dim < 0 ? 1 : b.op.block[dim]; }

}  // namespace

DirectOp make_direct(Binder& b, const kernels::ConvShape& shape, ImageDims dims, const Epilogue& epilogue,
                     int bias_input, int first_operand, kernels::ProductType type) {
  const Shape& out = b.view().out_shape();
  const int channel = narrow<int>(out.size()) - 1;
  DirectOp op{};
  op.y = b.output();
  op.epilogue = bind_epilogue(b, epilogue, bias_input, first_operand);
  by_image(op.epilogue, dims, channel);
  kernels::ResidualStrides residual;
  if (!op.epilogue.general && op.epilogue.operands == 1)
    residual = {true, op.epilogue.operand[0].stride[1], op.epilogue.operand[0].stride[2]};
  op.plan = kernels::plan_direct(shape, block_extent(b, dims.y), block_extent(b, dims.x), dims.x < 0 ? 1 : out[dims.x],
                                 residual, b.tiles.machine.l2_bytes, type);
  return op;
}

void by_image(EpilogueRefs& epilogue, ImageDims dims, int channel) {
  for (int i = 0; i < epilogue.operands; i++) {
    int64_t* stride = epilogue.operand[i].stride;
    auto at = [&](int dim) { return dim < 0 ? 0 : stride[dim]; };
    const int64_t mapped[4] = {at(dims.n), at(dims.y), at(dims.x), at(channel)};
    std::copy_n(mapped, 4, stride);
  }
}

// The kernel is 2-D: a 1-D convolution has a dimension y of extent 1.
kernels::DepthwiseShape depthwise_shape(const Binder& b, const Image& image) {
  const kernels::ConvShape& s = image.shape;
  const Shape& out = b.view().out_shape();
  const auto extent = [&](int dim) { return dim < 0 ? int64_t{1} : out[static_cast<size_t>(dim)]; };
  return {.h = s.in_h,
          .w = s.in_w,
          .ci = b.view().in_shape(0).back(),
          .oh = extent(image.dims.y),
          .ow = extent(image.dims.x),
          .co = out.back(),
          .kh = s.kh,
          .kw = s.kw,
          .stride_y = s.sy,
          .stride_x = s.sx,
          .dilation_y = s.dy,
          .dilation_x = s.dx,
          .pad_y = s.pad_y,
          .pad_x = s.pad_x,
          .x_n = s.x_n,
          .x_y = s.x_y,
          .x_x = s.x_x,
          .y_n = s.y_n,
          .y_y = s.y_y,
          .y_x = s.y_x};
}

kernels::ConvBox direct_box(const Box& box, ImageDims dims) {
  auto at = [&](int dim) { return dim < 0 ? Interval{0, 1} : box[dim]; };
  const Interval n = at(dims.n), y = at(dims.y), x = at(dims.x), c = box[box.rank - 2];  // the domain ends in ci or k
  return {n.lo, n.hi, y.lo, y.hi, x.lo, x.hi, c.lo, c.hi};
}

kernels::DirectArgs resolve(const DirectOp& op, const TileContext& context) {
  kernels::DirectArgs args;
  args.x = context.at<const float>(op.x);
  args.y = context.at<float>(op.y);
  args.weights = context.at<const std::byte>(op.weights);
  args.group_stride = op.group_stride;
  args.epilogue = resolve(op.epilogue, context);
  return args;
}

}  // namespace pando
