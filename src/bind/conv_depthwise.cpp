// conv with one input channel per group.
#include "bind/bind_ops.hpp"
#include "bind/epilogue.hpp"
#include "kernels/conv/depthwise.hpp"

namespace pando {
namespace {

struct DepthwiseOp {
  kernels::DepthwiseShape shape;
  Ref x, weights, y;
  EpilogueRefs epilogue;
};

void run(const void* op_args, const void* tile_args, const TileContext& context) {
  const auto& op = *static_cast<const DepthwiseOp*>(op_args);
  const auto& box = *static_cast<const kernels::DepthwiseBox*>(tile_args);
  kernels::depthwise_tile(op.shape, box, context.at<const float>(op.x), context.at<const float>(op.weights),
                          context.at<float>(op.y), resolve(op.epilogue, context));
}

// The kernel is 2-D: a 1-D convolution gets a dimension y of extent 1.
kernels::DepthwiseShape shape_1d(const Binder& b, const ConvAttrs& a) {
  const NodeView node = b.view();
  const Shape &in = node.in_shape(0), &w = node.in_shape(1), &out = node.out_shape();
  const Extents &xs = b.input_strides(0), &ys = b.output_strides();
  return {.h = 1,
          .w = in[1],
          .ci = in[2],
          .oh = 1,
          .ow = out[1],
          .co = out[2],
          .kh = 1,
          .kw = w[2],
          .stride_y = 1,
          .stride_x = a.strides[0],
          .dilation_y = 1,
          .dilation_x = a.dilations[0],
          .pad_y = 0,
          .pad_x = a.pads_begin[0],
          .x_n = xs[0],
          .x_y = 0,
          .x_x = xs[1],
          .y_n = ys[0],
          .y_y = 0,
          .y_x = ys[1]};
}

kernels::DepthwiseShape shape_2d(const Binder& b, const ConvAttrs& a) {
  const NodeView node = b.view();
  const Shape &in = node.in_shape(0), &w = node.in_shape(1), &out = node.out_shape();
  const Extents &xs = b.input_strides(0), &ys = b.output_strides();
  return {.h = in[1],
          .w = in[2],
          .ci = in[3],
          .oh = out[1],
          .ow = out[2],
          .co = out[3],
          .kh = w[2],
          .kw = w[3],
          .stride_y = a.strides[0],
          .stride_x = a.strides[1],
          .dilation_y = a.dilations[0],
          .dilation_x = a.dilations[1],
          .pad_y = a.pads_begin[0],
          .pad_x = a.pads_begin[1],
          .x_n = xs[0],
          .x_y = xs[1],
          .x_x = xs[2],
          .y_n = ys[0],
          .y_y = ys[1],
          .y_x = ys[2]};
}

void insert_row_dimension(EpilogueRefs& epilogue) {
  for (int i = 0; i < epilogue.operands; i++) {
    int64_t* stride = epilogue.operand[i].stride;
    stride[3] = stride[2];
    stride[2] = stride[1];
    stride[1] = 0;
  }
}

}  // namespace

const TileKernel conv_depthwise_kernel{"conv depthwise", run};

void bind_conv_depthwise(Binder& b) {
  const auto& attrs = b.node.as<ConvAttrs>();
  const bool flat = b.view().out_shape().size() == 3;
  DepthwiseOp op{};
  op.shape = flat ? shape_1d(b, attrs) : shape_2d(b, attrs);
  op.x = b.input(0);
  op.y = b.output();
  op.epilogue = bind_epilogue(b, attrs.epilogue, 2, conv_fixed_inputs);
  if (flat) insert_row_dimension(op.epilogue);
  const Tensor* w = &b.constant(1);
  const Tensor* scale = b.has(3) ? &b.constant(3) : nullptr;
  op.weights = b.pack_weights(w->bytes(), "depthwise", {1, 3}, [w, scale](std::byte* to) {
    kernels::pack_depthwise_weights(w->data, scale ? scale->data : nullptr, w->shape[0],
                                    element_count(w->shape) / w->shape[0], reinterpret_cast<float*>(to));
  });
  b.kernel(conv_depthwise_kernel);
  b.op_args(op);
  for (uint32_t i = 0; i < b.tile_count(); i++) {
    const Box box = b.box(i);
    const Interval row = flat ? Interval{0, 1} : box[1], column = box[flat ? 1 : 2], channel = box[flat ? 2 : 3];
    b.tile_args(
        i, kernels::DepthwiseBox{box[0].lo, box[0].hi, row.lo, row.hi, column.lo, column.hi, channel.lo, channel.hi});
  }
}

}  // namespace pando
