// pool: images of one to three spatial dimensions, pixel by pixel.
#include "kernels/pool/pool.hpp"

#include "base/blocks.hpp"
#include "bind/bind_ops.hpp"
#include "bind/strided.hpp"
#include "graph/ops/window.hpp"

namespace pando {
namespace {

struct OpArgs {
  kernels::PoolOp op;
  DType type;  // float32, or bytes of which the largest is taken
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
void pixel(const OpArgs& op, const TileArgs& tile, int64_t n, const int64_t (&at)[max_windowed_dims],
           const std::byte* in, std::byte* out) {
  kernels::PoolTaps taps;
  int64_t from = n * op.in_stride[0] + tile.channels.lo, to = n * op.out_stride[0] + tile.channels.lo, divisor = 1;
  for (int i = 0; i < max_windowed_dims; i++) {
    const WindowDim& w = op.window[i];
    const TapRange range = taps_inside(w, at[i], op.in_extent[i]);
    taps.extent[i] = range.last - range.first;
    taps.stride[i] = w.dilation * op.in_stride[i + 1];
    from += (at[i] * w.stride - w.before + range.first * w.dilation) * op.in_stride[i + 1];
    to += at[i] * op.out_stride[i + 1];
    // What ceil mode adds beyond the padding never counts.
    const WindowDim padded{w.kernel, w.stride, w.dilation, 0, 0};
    const TapRange counted =
        op.count_include_pad ? taps_inside(padded, at[i], op.in_extent[i] + w.before + w.after) : range;
    divisor *= counted.last - counted.first;
  }
  if (op.type != DType::f32)
    return kernels::max_pool_pixel(op.type == DType::i8, in + from, taps, tile.channels.size(), out + to);
  kernels::pool_pixel(op.op, reinterpret_cast<const float*>(in) + from, taps,
                      static_cast<float>(std::max<int64_t>(divisor, 1)), op.p, tile.channels.size(),
                      reinterpret_cast<float*>(out) + to);
}

void run(const void* op_args, const void* tile_args, const TileContext& context) {
  const auto& op = *static_cast<const OpArgs*>(op_args);
  const auto& tile = *static_cast<const TileArgs*>(tile_args);
  const auto* in = context.at<const std::byte>(op.in);
  auto* out = context.at<std::byte>(op.out);
  const Interval(&s)[max_windowed_dims] = tile.spatial;
  for (int64_t n = tile.batch.lo; n < tile.batch.hi; n++)
    for (int64_t a = s[0].lo; a < s[0].hi; a++)
      for (int64_t b = s[1].lo; b < s[1].hi; b++)
        for (int64_t c = s[2].lo; c < s[2].hi; c++) pixel(op, tile, n, {a, b, c}, in, out);
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
  args.type = b.view().out().dtype;
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
