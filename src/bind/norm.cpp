// norm: float32 rows of contiguous elements.
#include "kernels/norm/norm.hpp"

#include "bind/bind_ops.hpp"
#include "bind/strided.hpp"

namespace pando {
namespace {

struct OpArgs {
  kernels::NormRow norm;
  Ref scale, bias;
};

void run(const void* op_args, const void* tile_args, const TileContext& context) {
  const auto& op = *static_cast<const OpArgs*>(op_args);
  const auto& tile = *static_cast<const InOut*>(tile_args);
  const float *in = context.at<const float>(tile.in), *scale = context.at<const float>(op.scale),
              *bias = context.at<const float>(op.bias);
  float* out = context.at<float>(tile.out);
  tile.walk.for_each(tile.walk.rank,
                     [&](const auto& at) { kernels::norm_row(op.norm, in + at[0], scale, bias, out + at[1]); });
}

}  // namespace

const TileKernel norm_kernel{"norm", run};

void bind_norm(Binder& b) {
  const auto& attrs = b.node.as<NormAttrs>();
  const NodeView view = b.view();
  const int axis = narrow<int>(attrs.axis.index());
  const std::span<const int64_t> shape = view.out_shape();
  OpArgs args{{element_count(shape.subspan(static_cast<size_t>(axis))), attrs.epsilon, attrs.rms}, {}, {}};
  if (view.has(1)) args.scale = b.input(1);
  if (view.has(2)) args.bias = b.input(2);
  b.kernel(norm_kernel);
  b.op_args(args);
  for (uint32_t t = 0; t < b.tile_count(); t++) b.tile_args(t, in_out(b, b.box(t), [&](int d) { return d >= axis; }));
}

}  // namespace pando
