// conv by Winograd's F(4x4, 3x3).
#include "bind/bind_ops.hpp"
#include "bind/epilogue.hpp"
#include "kernels/conv/winograd.hpp"

namespace pando {
namespace {

struct WinogradOp {
  kernels::WinogradShape shape;
  Ref x, weights, y;
  uint32_t blocks, rest;  // functions; UINT32_MAX when absent
  EpilogueRefs epilogue;
};

void run(const void* op_args, const void* tile_args, const TileContext& context) {
  const auto& op = *static_cast<const WinogradOp*>(op_args);
  const auto& box = *static_cast<const kernels::WinogradBox*>(tile_args);
  auto family = [&](uint32_t i) {
    return i == UINT32_MAX ? nullptr : static_cast<const kernels::GemmFamily*>(context.functions[i]);
  };
  kernels::winograd_tile(op.shape, box, {family(op.blocks), family(op.rest)}, context.at<const float>(op.x),
                         context.at<const float>(op.weights), context.at<float>(op.y), resolve(op.epilogue, context),
                         context.scratch);
}

}  // namespace

const TileKernel conv_winograd_kernel{"conv winograd", run};

void bind_conv_winograd(Binder& b) {
  const auto& attrs = b.node.as<ConvAttrs>();
  const NodeView node = b.view();
  const Shape &in = node.in_shape(0), &out = node.out_shape();
  const Extents &xs = b.input_strides(0), &ys = b.output_strides();
  WinogradOp op{};
  op.shape = {.h = in[1],
              .w = in[2],
              .ci = in[3],
              .oh = out[1],
              .ow = out[2],
              .co = out[3],
              .pad_y = attrs.pads_begin[0],
              .pad_x = attrs.pads_begin[1],
              .x_n = xs[0],
              .x_y = xs[1],
              .x_x = xs[2],
              .y_n = ys[0],
              .y_y = ys[1],
              .y_x = ys[2],
              .group = kernels::winograd_group(in[3], b.tiles.machine.l2_bytes)};
  op.x = b.input(0);
  op.y = b.output();
  op.epilogue = bind_epilogue(b, attrs.epilogue, 2, conv_fixed_inputs);
  const TensorPtr w = b.view().in(1).constant;
  const Tensor* scale = b.has(3) ? &b.constant(3) : nullptr;
  const size_t bytes = kernels::winograd_weights_size(in[3], out[3]) * sizeof(float);
  op.weights = b.pack_weights(bytes, "winograd", {1, 3}, [w, scale](std::byte* to) {
    kernels::pack_winograd_weights(as_float32(w)->data, scale ? scale->data : nullptr, w->shape[1], w->shape[0],
                                   reinterpret_cast<float*>(to));
  });
  const kernels::WinogradGemm gemm = kernels::winograd_gemm(in[3]);
  op.blocks = gemm.blocks ? b.function(gemm.blocks) : UINT32_MAX;
  op.rest = gemm.rest ? b.function(gemm.rest) : UINT32_MAX;

  b.kernel(conv_winograd_kernel);
  b.op_args(op);
  for (uint32_t i = 0; i < b.tile_count(); i++) {
    const Box box = b.box(i);
    const kernels::WinogradBox tile{box[0].lo, box[0].hi, box[1].lo, box[1].hi,
                                    box[2].lo, box[2].hi, box[3].lo, box[3].hi};
    kernels::winograd_prepare(op.shape, gemm, tile.blocks());
    b.scratch(kernels::winograd_scratch_bytes(op.shape, tile.blocks()));
    b.tile_args(i, tile);
  }
}

}  // namespace pando
