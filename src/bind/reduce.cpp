// reduce: float32 along contiguous elements or down columns.
#include "kernels/reduce/reduce.hpp"

#include "bind/bind_ops.hpp"
#include "bind/strided.hpp"

namespace pando {
namespace {

struct OpArgs {
  kernels::Reduction kind;
  kernels::ReducedDims reduced;
  int64_t n;  // of the contiguous dimension; 0: columns
};

void run(const void* op_args, const void* tile_args, const TileContext& context) {
  const auto& op = *static_cast<const OpArgs*>(op_args);
  const auto& tile = *static_cast<const Columns*>(tile_args);
  const float* in = context.at<const float>(tile.io.in);
  float* out = context.at<float>(tile.io.out);
  tile.io.walk.for_each(tile.io.walk.rank, [&](const auto& at) {
    if (op.n == 0) kernels::reduce_columns(op.kind, in + at[0], op.reduced, tile.cols, out + at[1]);
    else out[at[1]] = kernels::reduce_contiguous(op.kind, in + at[0], op.reduced, op.n);
  });
}

kernels::Reduction reduction(ReduceKind kind) {
  switch (kind) {
    case ReduceKind::sum: return kernels::Reduction::sum;
    case ReduceKind::mean: return kernels::Reduction::mean;
    case ReduceKind::max: return kernels::Reduction::max;
    case ReduceKind::min: return kernels::Reduction::min;
    default: return kernels::Reduction::prod;
  }
}

}  // namespace

const TileKernel reduce_kernel{"reduce", run};

void bind_reduce(Binder& b) {
  const auto& attrs = b.node.as<ReduceAttrs>();
  const Shape& shape = b.view().in_shape(0);
  const auto is_reduced = [&](int d) { return std::find(attrs.axes.begin(), attrs.axes.end(), d) != attrs.axes.end(); };
  kernels::Walk<1> reduced;
  reduced.operands = 1;
  for (int64_t axis : attrs.axes)
    reduced.add(shape[static_cast<size_t>(axis)], &b.input_strides(0).v[static_cast<size_t>(axis)]);
  reduced.collapse();
  // Which of the two ways depends on the whole shape, not on boxes: it decides the order of a sum.
  OpArgs args{reduction(attrs.kind), {}, 0};
  if (reduced.rank > 0 && reduced.stride[0][reduced.rank - 1] == 1) args.n = reduced.extent[--reduced.rank];
  args.reduced.rank = reduced.rank;
  std::copy_n(reduced.extent, reduced.rank, args.reduced.extent);
  std::copy_n(reduced.stride[0], reduced.rank, args.reduced.stride);
  b.kernel(reduce_kernel);
  b.op_args(args);
  for (uint32_t t = 0; t < b.tile_count(); t++) {
    const Box box = b.box(t);
    if (args.n == 0) b.tile_args(t, with_columns(b, box, is_reduced));
    else b.tile_args(t, Columns{in_out(b, box, is_reduced), 1});
  }
}

}  // namespace pando
