// lrn: float32 rows of contiguous channels.
#include "bind/bind_ops.hpp"
#include "bind/strided.hpp"
#include "kernels/norm/norm.hpp"

namespace pando {
namespace {

void run(const void* op_args, const void* tile_args, const TileContext& context) {
  const auto& op = *static_cast<const kernels::LrnRow*>(op_args);
  const auto& tile = *static_cast<const InOut*>(tile_args);
  const float* in = context.at<const float>(tile.in);
  float* out = context.at<float>(tile.out);
  tile.walk.for_each(tile.walk.rank, [&](const auto& at) {
    kernels::lrn_row(op, in + at[0], out + at[1], reinterpret_cast<float*>(context.scratch));
  });
}

}  // namespace

const TileKernel lrn_kernel{"lrn", run};

void bind_lrn(Binder& b) {
  const auto& attrs = b.node.as<LrnAttrs>();
  const int last = narrow<int>(b.view().out_shape().size()) - 1;
  const int64_t n = b.view().out_shape().back();
  b.kernel(lrn_kernel);
  b.scratch(static_cast<size_t>(kernels::lrn_scratch(n, attrs.size)) * sizeof(float));
  b.op_args(kernels::LrnRow{n, attrs.size, attrs.alpha, attrs.beta, attrs.bias});
  for (uint32_t t = 0; t < b.tile_count(); t++) b.tile_args(t, in_out(b, b.box(t), [&](int d) { return d == last; }));
}

}  // namespace pando
