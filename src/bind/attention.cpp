// attention: float32 heads with contiguous rows, one head and range of queries after the other.
#include "kernels/attention/attention.hpp"

#include "bind/bind_ops.hpp"
#include "bind/strided.hpp"

namespace pando {
namespace {

enum { input_q, input_k, input_v, input_mask, input_keep, input_fill };
enum { dim_b, dim_s, dim_h };  // of the domain

struct Operand {
  Ref ref;
  int64_t b, s, h;  // strides
};

// An operand over the scores; its other strides are in the head's arguments.
struct Mask {
  Ref ref;
  int64_t b, h;
};

struct OpArgs {
  Operand q, k, v, y;
  Mask mask, keep, fill;
  kernels::AttentionHead head;  // without addresses
  uint32_t scores, values;      // Program::functions
};
struct TileArgs {
  Interval b, s, h;
};

void run(const void* op_args, const void* tile_args, const TileContext& context) {
  const auto& op = *static_cast<const OpArgs*>(op_args);
  const auto& tile = *static_cast<const TileArgs*>(tile_args);
  const kernels::AttentionKernels gemm{static_cast<const kernels::GemmFamily*>(context.functions[op.scores]),
                                       static_cast<const kernels::GemmFamily*>(context.functions[op.values])};
  kernels::AttentionHead head = op.head;
  head.begin = tile.s.lo;
  head.end = tile.s.hi;
  for (int64_t b = tile.b.lo; b < tile.b.hi; b++)
    for (int64_t h = tile.h.lo; h < tile.h.hi; h++) {
      const auto at = [&](const Operand& o) { return context.at<float>(o.ref) + b * o.b + h * o.h; };
      head.q = at(op.q);
      head.k = at(op.k);
      head.v = at(op.v);
      head.y = at(op.y);
      const auto mask_at = [&](const Mask& m) -> const float* {
        const float* first = context.at<const float>(m.ref);
        return first == nullptr ? nullptr : first + b * m.b + h * m.h;
      };
      head.mask.data = mask_at(op.mask);
      head.keep.data = mask_at(op.keep);
      head.fill.data = mask_at(op.fill);
      kernels::attention_head(head, gemm, context.scratch);
    }
}

}  // namespace

const TileKernel attention_kernel{"attention", run};

void bind_attention(Binder& b) {
  const NodeView view = b.view();
  const auto& attrs = b.node.as<AttentionAttrs>();
  const Shape &q = view.in_shape(input_q), &v = view.in_shape(input_v);
  const int64_t keys = v[1], d = q[3], dv = v[3];
  const auto operand = [](Ref ref, const Extents& s) { return Operand{ref, s[0], s[1], s[2]}; };
  OpArgs args{};
  args.q = operand(b.input(input_q), b.input_strides(input_q));
  args.k = operand(b.input(input_k), b.input_strides(input_k));
  args.v = operand(b.input(input_v), b.input_strides(input_v));
  args.y = operand(b.output(), b.output_strides());
  const auto bind_mask = [&](int input, Mask& mask, kernels::ScoreOperand& scores) {
    if (!view.has(input)) return;
    const Extents strides = broadcast_strides(b, input, 4);  // [B, H, S, T]
    mask = {b.input(input), strides[0], strides[1]};
    scores.query = strides[2];
    scores.key = strides[3];
  };
  bind_mask(input_mask, args.mask, args.head.mask);
  bind_mask(input_keep, args.keep, args.head.keep);
  bind_mask(input_fill, args.fill, args.head.fill);
  args.head.q_stride = args.q.s;
  args.head.k_stride = args.k.s;
  args.head.v_stride = args.v.s;
  args.head.y_stride = args.y.s;
  args.head.d = d;
  args.head.dv = dv;
  args.head.queries = q[1];
  args.head.keys = keys;
  args.head.scale = attrs.scale;
  args.head.causal = attrs.causal;
  const kernels::AttentionKernels gemm = kernels::attention_kernels(d, dv);
  args.scores = b.function(gemm.scores);
  args.values = b.function(gemm.values);
  b.kernel(attention_kernel);
  b.scratch(kernels::attention_scratch_bytes(d, dv, keys));
  b.op_args(args);
  for (uint32_t t = 0; t < b.tile_count(); t++) {
    const Box box = b.box(t);
    kernels::prepare(gemm, dv, box[dim_s].size());
    if (attrs.causal && !view.has(input_fill)) kernels::prepare(gemm, dv, 1);  // queries that are done one by one
    b.tile_args(t, TileArgs{box[dim_b], box[dim_s], box[dim_h]});
  }
}

}  // namespace pando
