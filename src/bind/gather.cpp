// gather: rows copied whole where what follows the axis is contiguous.
#include "bind/bind_ops.hpp"
#include "bind/strided.hpp"
#include "graph/ops/common.hpp"

namespace pando {
namespace {

struct OpArgs {
  int64_t rows;      // of the data along the axis
  int64_t row_step;  // bytes
  DType index_type;
};
// Over the output's dimensions: those before the axis, those of the indices, and the merged rest, one row of `bytes`.
struct TileArgs {
  Ref data, indices, out;
  kernels::Walk<3> walk;  // data, indices, out; strides of data and out in bytes
  int64_t bytes;
};

template <class T>
void copy_rows(const OpArgs& op, const TileArgs& tile, const TileContext& context) {
  const std::byte* data = context.at<const std::byte>(tile.data);
  const std::byte* indices = context.at<const std::byte>(tile.indices);
  std::byte* out = context.at<std::byte>(tile.out);
  tile.walk.for_each(tile.walk.rank, [&](const auto& at) {
    int64_t i = static_cast<int64_t>(load<T>(indices, at[1]));
    if (i < 0) i += op.rows;
    i = std::clamp<int64_t>(i, 0, op.rows - 1);
    std::memcpy(out + at[2], data + at[0] + i * op.row_step, static_cast<size_t>(tile.bytes));
  });
}

void run(const void* op_args, const void* tile_args, const TileContext& context) {
  const auto& op = *static_cast<const OpArgs*>(op_args);
  const auto& tile = *static_cast<const TileArgs*>(tile_args);
  if (op.index_type == DType::i64) copy_rows<int64_t>(op, tile, context);
  else copy_rows<int32_t>(op, tile, context);
}

}  // namespace

const TileKernel gather_kernel{"gather", run};

void bind_gather(Binder& b) {
  const NodeView view = b.view();
  const Shape &data = view.in_shape(0), &indices = view.in_shape(1), &out = view.out_shape();
  const int axis = narrow<int>(b.node.as<GatherAttrs>().axis.index());
  const int index_rank = narrow<int>(indices.size()), out_rank = narrow<int>(out.size());
  const Extents &data_strides = b.input_strides(0), &index_strides = b.input_strides(1),
                &out_strides = b.output_strides();
  const DType type = view.in(1).dtype;
  const int64_t size = static_cast<int64_t>(size_of(view.in(0).dtype));
  b.kernel(gather_kernel);
  b.op_args(OpArgs{data[static_cast<size_t>(axis)], data_strides[axis] * size, type});
  for (uint32_t t = 0; t < b.tile_count(); t++) {
    const Box box = b.box(t);
    TileArgs tile{b.raw_input(0), b.input(1), b.output(), {}, size};
    tile.out.offset += corner(box, out_strides) * size;
    tile.walk.operands = 3;
    kernels::Walk<2> rest;
    rest.operands = 2;
    for (int d = 0; d < out_rank; d++) {
      const bool index = d >= axis && d < axis + index_rank;
      const int from = d < axis ? d : d - index_rank + 1;  // the data's dimension
      const int64_t step = index ? 0 : data_strides[from];
      const int64_t strides[] = {step * size, index ? index_strides[d - axis] : 0, out_strides[d] * size};
      tile.data.offset += box[d].lo * strides[0];
      if (index) tile.indices.offset += box[d].lo * index_strides[d - axis] * static_cast<int64_t>(size_of(type));
      const int64_t both[] = {step * size, out_strides[d] * size};
      if (d >= axis + index_rank) rest.add(box[d].size(), both);
      else tile.walk.add(box[d].size(), strides);
    }
    rest.collapse();
    int last = rest.rank - 1;
    if (last >= 0 && rest.stride[0][last] == size && rest.stride[1][last] == size)
      tile.bytes = rest.extent[last--] * size;
    for (int d = 0; d <= last; d++) {
      const int64_t strides[] = {rest.stride[0][d], 0, rest.stride[1][d]};
      tile.walk.add(rest.extent[d], strides);
    }
    b.tile_args(t, tile);
  }
}

}  // namespace pando
