// conv by batch-reduce GEMM over taps and blocks of input channels.
#include "bind/bind_ops.hpp"
#include "bind/direct.hpp"
#include "kernels/gemm/pack.hpp"

namespace pando {
namespace {

enum { input_x, input_w, input_bias, input_scale };

void run(const void* op_args, const void* tile_args, const TileContext& context) {
  const auto& op = *static_cast<const DirectOp*>(op_args);
  kernels::conv_direct(op.plan, resolve(op, context), *static_cast<const kernels::ConvBox*>(tile_args),
                       context.scratch);
}

}  // namespace

// Of one spatial dimension, it is x.
Image image_of_conv(const Binder& b) {
  const auto& attrs = b.node.as<ConvAttrs>();
  const Shape &x = b.view().in_shape(input_x), &w = b.view().in_shape(input_w);
  const Extents &xs = b.input_strides(input_x), &ys = b.output_strides();
  const int c = narrow<int>(x.size()) - 1, ix = c - 1, sx = c - 2;  // sx: the attributes' index of x
  kernels::ConvShape s;
  s.in_w = x[ix];
  s.x_n = xs[0];
  s.x_x = xs[ix];
  s.x_c = xs[c];
  s.y_n = ys[0];
  s.y_x = ys[ix];
  s.kw = w[2 + sx];
  s.sx = attrs.strides[sx];
  s.dx = attrs.dilations[sx];
  s.pad_x = attrs.pads_begin[sx];
  s.groups = attrs.group;
  s.ci = w[1];
  s.co = w[0] / attrs.group;
  if (c == 3) {
    s.in_h = x[1];
    s.x_y = xs[1];
    s.y_y = ys[1];
    s.kh = w[2];
    s.sy = attrs.strides[0];
    s.dy = attrs.dilations[0];
    s.pad_y = attrs.pads_begin[0];
  }
  return {s, c == 3 ? ImageDims{0, 1, 2} : ImageDims{0, -1, 1}};
}

const TileKernel conv_gemm_kernel{"conv gemm", run};

void bind_conv_gemm(Binder& b) {
  const auto& attrs = b.node.as<ConvAttrs>();
  const auto [s, dims] = image_of_conv(b);
  const auto type = b.op.row->algorithm == Algorithm::bf16 ? kernels::ProductType::bf16 : kernels::ProductType::f32;
  DirectOp op = make_direct(b, s, dims, attrs.epilogue, input_bias, conv_fixed_inputs, type);
  op.x = b.input(input_x);
  const int64_t taps = s.kh * s.kw;
  const bool bf16 = type == kernels::ProductType::bf16;
  op.group_stride = bf16 ? kernels::packed_bf16(s.co, taps, s.ci) : kernels::packed_floats(s.co, s.ci * taps);
  const TensorPtr w = b.view().in(input_w).constant,
                  scale = b.has(input_scale) ? b.view().in(input_scale).constant : nullptr;
  const int64_t group_stride = op.group_stride, value = kernels::value_bytes(type);
  op.weights = b.pack_weights(
      static_cast<size_t>(group_stride * s.groups * value), fmt::format("conv {}{}", s.groups, bf16 ? " bf16" : ""),
      {input_w, input_scale}, [=, s = s, &context = b.context()](std::byte* to) {
        const TensorPtr floats = as_float32(w);
        for (int64_t g = 0; g < s.groups; g++, to += group_stride * value) {
          context.check();
          const std::byte* from = floats->data + g * s.co * s.ci * taps * 4;
          const std::byte* factor = scale ? scale->data + g * s.co * 4 : nullptr;
          if (bf16)
            kernels::pack_bf16({from, s.ci * taps, 1, taps}, factor, s.co, taps, s.ci, reinterpret_cast<uint16_t*>(to));
          else kernels::pack_conv_weights(from, factor, s.co, s.ci, taps, reinterpret_cast<float*>(to));
        }
      });
  b.kernel(conv_gemm_kernel);
  b.op_args(op);
  b.scratch(op.plan.scratch_bytes());
  for (uint32_t i = 0; i < b.tile_count(); i++) b.tile_args(i, direct_box(b.box(i), dims));
}

}  // namespace pando
