// pool: float32 images of one to three spatial dimensions, pixel by pixel.
#include "kernels/pool/pool.hpp"

#include "base/blocks.hpp"
#include "bind/bind_ops.hpp"
#include "bind/strided.hpp"
#include "graph/ops/window.hpp"

namespace pando {
namespace {

struct OpArgs {
  kernels::PoolOp op;
  bool count_include_pad;
  int64_t p;
  Ref in, out;
  WindowDim window[max_windowed_dims];  // absent leading dimensions have extent 1 and a kernel of 1
  int64_t in_extent[max_windowed_dims];
  int64_t in_stride[max_windowed_dims + 1], out_stride[max_windowed_dims + 1];  // the batch's comes first
};
struct TileArgs {
  Interval batch, spatial[max_windowed_dims], channels;
};

// One output pixel: where its taps begin, which of them lie inside, and what an average divides by.
void pixel(const OpArgs& op, const TileArgs& tile, const int64_t (&at)[max_windowed_dims], const float* in,
           float* out) {
  kernels::PoolTaps taps;
  int64_t from = 0, divisor = 1;
  for (int i = 0; i < max_windowed_dims; i++) {
    const WindowDim& w = op.window[i];
    const TapRange range = taps_inside(w, at[i], op.in_extent[i]);
    taps.extent[i] = range.last - range.first;
    taps.stride[i] = w.dilation * op.in_stride[i + 1];
    from += (at[i] * w.stride - w.before + range.first * w.dilation) * op.in_stride[i + 1];
    out += at[i] * op.out_stride[i + 1];
    // What ceil mode adds beyond the padding never counts.
    const WindowDim padded{w.kernel, w.stride, w.dilation, 0, 0};
    const TapRange counted =
        op.count_include_pad ? taps_inside(padded, at[i], op.in_extent[i] + w.before + w.after) : range;
    divisor *= counted.last - counted.first;
  }
  kernels::pool_pixel(op.op, in + from + tile.channels.lo, taps, static_cast<float>(std::max<int64_t>(divisor, 1)),
                      op.p, tile.channels.size(), out + tile.channels.lo);
}

void run(const void* op_args, const void* tile_args, const TileContext& context) {
  const auto& op = *static_cast<const OpArgs*>(op_args);
  const auto& tile = *static_cast<const TileArgs*>(tile_args);
  const float* in = context.at<const float>(op.in);
  float* out = context.at<float>(op.out);
  const Interval(&s)[max_windowed_dims] = tile.spatial;
  for (int64_t n = tile.batch.lo; n < tile.batch.hi; n++)
    for (int64_t a = s[0].lo; a < s[0].hi; a++)
      for (int64_t b = s[1].lo; b < s[1].hi; b++)
        for (int64_t c = s[2].lo; c < s[2].hi; c++)
          pixel(op, tile, {a, b, c}, in + n * op.in_stride[0], out + n * op.out_stride[0]);
}

}  // namespace

const TileKernel pool_kernel{"pool", run};

void bind_pool(Binder& b) {
  const auto& attrs = b.node.as<PoolAttrs>();
  const Shape& x = b.view().in_shape(0);
  const int rank = narrow<int>(x.size()), spatial = rank - 2, missing = max_windowed_dims - spatial;
  const Extents &in = b.input_strides(0), &out = b.output_strides();
  OpArgs args{};
  args.op = attrs.kind == PoolKind::max       ? kernels::PoolOp::max
            : attrs.kind == PoolKind::average ? kernels::PoolOp::average
                                              : kernels::PoolOp::lp;
  args.count_include_pad = attrs.count_include_pad;
  args.p = attrs.p;
  args.in = b.input(0);
  args.out = b.output();
  args.in_stride[0] = in[0];
  args.out_stride[0] = out[0];
  for (int i = 0; i < max_windowed_dims; i++) {
    const int d = i - missing;  // spatial dimension
    if (d < 0) {
      args.window[i] = {1, 1, 1, 0, 0};
      args.in_extent[i] = 1;
      continue;
    }
    args.window[i] = {attrs.kernel[d], attrs.strides[d], attrs.dilations[d], attrs.pads_begin[d], attrs.pads_end[d]};
    args.in_extent[i] = x[d + 1];
    args.in_stride[i + 1] = in[d + 1];
    args.out_stride[i + 1] = out[d + 1];
  }
  b.kernel(pool_kernel);
  b.op_args(args);
  for (uint32_t t = 0; t < b.tile_count(); t++) {
    const Box box = b.box(t);
    TileArgs tile{box[0], {{0, 1}, {0, 1}, {0, 1}}, box[rank - 1]};
    for (int d = 0; d < spatial; d++) tile.spatial[d + missing] = box[d + 1];
    b.tile_args(t, tile);
  }
}

}  // namespace pando
