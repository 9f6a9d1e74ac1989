// map: one instruction in the operands' own type.
#include "kernels/elementwise/map_typed.hpp"

#include "bind/bind_ops.hpp"
#include "bind/strided.hpp"

namespace pando {
namespace {

constexpr int max_operands = 4;  // the output comes last

struct OpArgs {
  MapInstr instr;
  int inputs;
  DType type[max_operands];
  Ref ref[max_operands];
  int64_t stride[max_operands][max_rank];
};
struct TileArgs {
  Box box;
};

void run(const void* op_args, const void* tile_args, const TileContext& context) {
  const auto& op = *static_cast<const OpArgs*>(op_args);
  const Box& box = static_cast<const TileArgs*>(tile_args)->box;
  const int out = op.inputs;
  kernels::Walk<max_operands> walk;
  walk.operands = out + 1;
  for (int d = 0; d < box.rank; d++) {
    int64_t strides[max_operands];
    for (int i = 0; i <= out; i++) strides[i] = op.stride[i][d];
    walk.add(box[d].size(), strides);
  }
  std::byte* base[max_operands];
  const auto bytes = [&](int i, int64_t elements) { return elements * static_cast<int64_t>(size_of(op.type[i])); };
  for (int i = 0; i <= out; i++) {
    base[i] = context.at<std::byte>(op.ref[i]);
    for (int d = 0; d < box.rank; d++) base[i] += bytes(i, box[d].lo * op.stride[i][d]);
  }
  walk.collapse();
  const int64_t zeros[max_operands] = {};
  if (walk.rank == 0) walk.add(1, zeros);
  const int last = walk.rank - 1;
  const DType type = op.type[out > 1 ? out - 1 : 0];
  const kernels::TypedMap map = kernels::find_typed_map(op.instr, type, op.type[out]);
  kernels::TypedRow row{};
  for (int i = 0; i < out; i++) row.stride[i] = walk.stride[i][last];
  row.out_stride = walk.stride[out][last];
  row.n = walk.extent[last];
  walk.for_each(last, [&](const auto& at) {
    for (int i = 0; i < out; i++) row.in[i] = base[i] + bytes(i, at[i]);
    row.out = base[out] + bytes(out, at[out]);
    map(op.instr, row);
  });
}

}  // namespace

const TileKernel map_typed_kernel{"map typed", run};

void bind_map_typed(Binder& b) {
  const MapInstr& instr = b.node.as<MapAttrs>().program.code[0];
  const int rank = narrow<int>(b.view().out_shape().size());
  const uint8_t operands[] = {instr.a, instr.b, instr.c};
  OpArgs args{};
  args.instr = instr;
  args.inputs = operand_count(instr.op);
  const auto add = [&](int i, DType type, Ref ref, const Extents& strides) {
    args.type[i] = type;
    args.ref[i] = ref;
    std::copy_n(strides.v.begin(), max_rank, args.stride[i]);
  };
  for (int i = 0; i < args.inputs; i++)
    add(i, b.view().in(operands[i]).dtype, b.input(operands[i]), broadcast_strides(b, operands[i], rank));
  add(args.inputs, b.view().out().dtype, b.output(), b.output_strides());
  b.kernel(map_typed_kernel);
  b.op_args(args);
  for (uint32_t t = 0; t < b.tile_count(); t++) b.tile_args(t, TileArgs{b.box(t)});
}

}  // namespace pando
