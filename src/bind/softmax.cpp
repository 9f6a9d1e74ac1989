// softmax: float32 along contiguous elements or down columns.
#include "kernels/reduce/softmax.hpp"

#include "bind/bind_ops.hpp"
#include "bind/strided.hpp"

namespace pando {
namespace {

struct OpArgs {
  bool log, contiguous;
  int64_t n, in_step, out_step;
};

void run(const void* op_args, const void* tile_args, const TileContext& context) {
  const auto& op = *static_cast<const OpArgs*>(op_args);
  const auto& tile = *static_cast<const Columns*>(tile_args);
  const float* in = context.at<const float>(tile.io.in);
  float* out = context.at<float>(tile.io.out);
  tile.io.walk.for_each(tile.io.walk.rank, [&](const auto& at) {
    if (op.contiguous) kernels::softmax_row(op.log, in + at[0], out + at[1], op.n);
    else kernels::softmax_columns(op.log, in + at[0], op.in_step, out + at[1], op.out_step, op.n, tile.cols);
  });
}

}  // namespace

const TileKernel softmax_kernel{"softmax", run};

void bind_softmax(Binder& b) {
  const auto& attrs = b.node.as<SoftmaxAttrs>();
  const int axis = narrow<int>(attrs.axis.index());
  OpArgs args{attrs.log, false, b.view().out_shape()[static_cast<size_t>(axis)], b.input_strides(0)[axis],
              b.output_strides()[axis]};
  args.contiguous = args.in_step == 1 && args.out_step == 1;
  const auto inner = [&](int d) { return d == axis; };
  b.kernel(softmax_kernel);
  b.op_args(args);
  for (uint32_t t = 0; t < b.tile_count(); t++) {
    const Box box = b.box(t);
    b.tile_args(t, args.contiguous ? Columns{in_out(b, box, inner), 1} : with_columns(b, box, inner));
  }
}

}  // namespace pando
