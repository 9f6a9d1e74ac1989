// conv with one input channel per group.
#include "bind/bind_ops.hpp"
#include "bind/direct.hpp"

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

}  // namespace

const TileKernel conv_depthwise_kernel{"conv depthwise", run};

void bind_conv_depthwise(Binder& b) {
  const auto& attrs = b.node.as<ConvAttrs>();
  const Image image = image_of_conv(b);
  DepthwiseOp op{};
  op.shape = depthwise_shape(b, image);
  op.x = b.input(0);
  op.y = b.output();
  op.epilogue = bind_epilogue(b, attrs.epilogue, 2, conv_fixed_inputs);
  by_image(op.epilogue, image.dims, narrow<int>(b.view().out_shape().size()) - 1);
  const TensorPtr w = b.view().in(1).constant;
  const Tensor* scale = b.has(3) ? &b.constant(3) : nullptr;
  const size_t bytes = static_cast<size_t>(element_count(w->shape)) * sizeof(float);
  op.weights = b.pack_weights(bytes, "depthwise", {1, 3}, [w, scale](std::byte* to) {
    kernels::pack_depthwise_weights(as_float32(w)->data, scale ? scale->data : nullptr, w->shape[0],
                                    element_count(w->shape) / w->shape[0], reinterpret_cast<float*>(to));
  });
  b.kernel(conv_depthwise_kernel);
  b.op_args(op);
  for (uint32_t i = 0; i < b.tile_count(); i++) {
    const kernels::ConvBox box = direct_box(b.box(i), image.dims);
    b.tile_args(i, kernels::DepthwiseBox{box.n0, box.n1, box.y0, box.y1, box.x0, box.x1, box.c0, box.c1});
  }
}

}  // namespace pando
