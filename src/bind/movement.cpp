// Copies: transpose, expand and constant pad; reshape and slice where storage cannot make them addresses. Each output
// element has one source, found by strides from the output's own index.
#include "bind/bind_ops.hpp"
#include "graph/ops/common.hpp"
#include "kernels/move/copy.hpp"

namespace pando {
namespace {

struct OpArgs {
  Ref from;  // where index 0 of the output would be read
  Ref to;
  int64_t from_stride[max_rank], to_stride[max_rank];
  Box covered;  // the part of the output that the operand fills; the rest, if any, gets `value`
  uint32_t element;
  std::byte value[8];
};
struct TileArgs {
  Box box;
};

void run(const void* op_args, const void* tile_args, const TileContext& context) {
  const auto& op = *static_cast<const OpArgs*>(op_args);
  const Box& box = static_cast<const TileArgs*>(tile_args)->box;
  const int64_t element = op.element;
  std::byte* to = context.at<std::byte>(op.to);
  const Box part = intersect(box, op.covered);
  if (part != box) {
    kernels::Walk<1> walk;
    walk.operands = 1;
    int64_t at = 0;
    for (int d = 0; d < box.rank; d++) {
      at += box[d].lo * op.to_stride[d];
      walk.add(box[d].size(), &op.to_stride[d]);
    }
    kernels::fill_nd(to + at * element, walk, op.value, op.element);
  }
  if (part.empty()) return;
  kernels::Walk<2> walk;
  walk.operands = 2;
  int64_t in = 0, out = 0;
  for (int d = 0; d < part.rank; d++) {
    const int64_t strides[] = {op.from_stride[d], op.to_stride[d]};
    in += part[d].lo * strides[0];
    out += part[d].lo * strides[1];
    walk.add(part[d].size(), strides);
  }
  kernels::copy_nd(context.at<std::byte>(op.from) + in * element, to + out * element, walk, op.element);
}

// The operand is read with `stride`, `first` elements on from its begin for index 0 of the output.
void read_with(const Binder& b, OpArgs& args, const Extents& stride, int64_t first, const Box& covered) {
  args.from = b.input(0);
  args.from.offset += first * static_cast<int64_t>(args.element);
  std::copy_n(stride.v.begin(), max_rank, args.from_stride);
  args.covered = covered;
}

void read_transposed(const Binder& b, OpArgs& args, const Box& all) {
  Extents stride = b.input_strides(0);
  const auto& perm = b.node.as<TransposeAttrs>().perm;
  for (int i = 0; i < all.rank; i++) stride[i] = b.input_strides(0)[narrow<int>(perm[i])];
  read_with(b, args, stride, 0, all);
}

void read_slice(const Binder& b, OpArgs& args, const Box& all) {
  const auto& a = b.node.as<SliceAttrs>();
  Extents stride = b.input_strides(0);
  int64_t first = 0;
  for (int i = 0; i < all.rank; i++) {
    first += a.starts[i] * stride[i];
    stride[i] = a.sizes[i] > 1 ? stride[i] * a.steps[i] : 0;
  }
  read_with(b, args, stride, first, all);
}

void read_expanded(const Binder& b, OpArgs& args, const Box& all) {
  View in{nullptr, DType::u8, Extents(b.view().in_shape(0)), b.input_strides(0)};
  read_with(b, args, broadcast_strides(in, all.rank), 0, all);
}

void read_padded(const Binder& b, OpArgs& args, const Box& all) {
  const auto& a = b.node.as<PadAttrs>();
  const Extents& stride = b.input_strides(0);
  Box covered = all;
  int64_t first = 0;
  for (int i = 0; i < all.rank; i++) {
    first -= a.begin[i] * stride[i];
    covered[i] = {std::max<int64_t>(a.begin[i], 0), std::min(all[i].hi, a.begin[i] + b.view().in_shape(0)[i])};
  }
  read_with(b, args, stride, first, covered);
  View value{args.value, b.view().out().dtype, {}, {}};
  store_as(value, 0, a.value);
}

// ---- reshape: row-major order on both sides ----

struct ReshapeArgs {
  Ref from, to;
  uint32_t element;
  int rank;
  int64_t stride[2][max_rank];  // of the output: in row-major order, in memory
  kernels::Walk<1> source;
};

void run_reshape(const void* op_args, const void* tile_args, const TileContext& context) {
  const auto& op = *static_cast<const ReshapeArgs*>(op_args);
  const Box& box = static_cast<const TileArgs*>(tile_args)->box;
  kernels::Walk<2> target;
  target.operands = 2;
  int64_t linear = 0, out = 0;
  for (int d = 0; d < op.rank; d++) {
    const int64_t strides[] = {op.stride[0][d], op.stride[1][d]};
    linear += box[d].lo * strides[0];
    out += box[d].lo * strides[1];
    target.add(box[d].size(), strides);
  }
  kernels::copy_reshaped(context.at<std::byte>(op.from), op.source, linear,
                         context.at<std::byte>(op.to) + out * static_cast<int64_t>(op.element), target, op.element);
}

// `read` fills in where the output comes from.
void bind_copy(Binder& b, void (*read)(const Binder&, OpArgs&, const Box& all)) {
  OpArgs args{};
  args.to = b.output();
  args.element = narrow<uint32_t>(size_of(b.view().out().dtype));
  std::copy_n(b.output_strides().v.begin(), max_rank, args.to_stride);
  read(b, args, whole(b.view().out_shape()));
  b.kernel(copy_kernel);
  b.op_args(args);
  for (uint32_t t = 0; t < b.tile_count(); t++) b.tile_args(t, TileArgs{b.box(t)});
}

}  // namespace

const TileKernel copy_kernel{"copy", run};
const TileKernel reshape_kernel{"reshape", run_reshape};

void bind_transpose(Binder& b) { bind_copy(b, read_transposed); }
void bind_slice(Binder& b) { bind_copy(b, read_slice); }
void bind_expand(Binder& b) { bind_copy(b, read_expanded); }
void bind_pad(Binder& b) { bind_copy(b, read_padded); }

void bind_reshape(Binder& b) {
  ReshapeArgs args{};
  const Shape &in = b.view().in_shape(0), &out = b.view().out_shape();
  args.from = b.input(0);
  args.to = b.output();
  args.element = narrow<uint32_t>(size_of(b.view().out().dtype));
  args.rank = narrow<int>(out.size());
  Extents order = dense_strides(out);
  for (int d = 0; d < args.rank; d++) {
    args.stride[0][d] = order[d];
    args.stride[1][d] = b.output_strides()[d];
  }
  args.source.operands = 1;
  for (size_t d = 0; d < in.size(); d++) args.source.add(in[d], &b.input_strides(0).v[d]);
  b.kernel(reshape_kernel);
  b.op_args(args);
  for (uint32_t t = 0; t < b.tile_count(); t++) b.tile_args(t, TileArgs{b.box(t)});
}

}  // namespace pando
