// map: programs run by kernels/elementwise in float32, whatever the types of operands and result.
#include <cmath>
#include <cstring>
#include <numeric>

#include "bind/bind_ops.hpp"
#include "bind/strided.hpp"
#include "graph/quantization.hpp"
#include "kernels/elementwise/byte_table.hpp"
#include "kernels/elementwise/map_rows.hpp"
#include "kernels/elementwise/quantized_sum.hpp"

namespace pando {
namespace {

using kernels::MapOperand;
constexpr int max_operands = max_map_inputs + 1;  // the output comes last

struct OpArgs {
  bool is_table;  // of what a byte becomes
  uint8_t table[256];
  bool is_sum;  // of bytes: `sum` says how
  kernels::QuantizedSum sum;
  kernels::MapCode code;
  DType type[max_operands];
  Ref ref[max_operands];
  int64_t stride[max_operands][max_rank];
};
struct TileArgs {
  Box box;
};

// The inner two dimensions, once merged, are a block of rows; the ones outside are looped over.
void run(const void* op_args, const void* tile_args, const TileContext& context) {
  const auto& op = *static_cast<const OpArgs*>(op_args);
  const Box& box = static_cast<const TileArgs*>(tile_args)->box;
  const int inputs = op.code.inputs;
  std::byte* base[max_operands];
  const auto bytes = [&](int i, int64_t elements) { return elements * static_cast<int64_t>(size_of(op.type[i])); };
  kernels::Walk<max_operands> walk;
  walk.operands = inputs + 1;
  for (int i = 0; i <= inputs; i++) base[i] = context.at<std::byte>(op.ref[i]);
  for (int d = 0; d < box.rank; d++) {
    int64_t strides[max_operands];
    for (int i = 0; i <= inputs; i++) {
      strides[i] = op.stride[i][d];
      base[i] += bytes(i, box[d].lo * strides[i]);
    }
    walk.add(box[d].size(), strides);
  }
  walk.collapse();
  const int64_t zeros[max_operands] = {};
  // map_rows wants contiguous output columns and two dimensions.
  if (walk.rank == 0 || (walk.stride[inputs][walk.rank - 1] != 1 && walk.rank < max_rank)) walk.add(1, zeros);
  const int col = walk.rank - 1, row = col - 1;
  // NOLINTNEXTLINE(clang-analyzer-core.UndefinedBinaryOperatorResult): add() has set the dimension
  const auto dense = [&](int i) { return walk.stride[i][col] == 1 || walk.extent[col] == 1; };
  const bool is_sum = op.is_sum && dense(0) && dense(1), is_table = op.is_table && dense(0);
  walk.for_each(std::max(row, 0), [&](const auto& at) {
    if (is_sum || is_table) {
      for (int64_t r = 0; r < (row < 0 ? 1 : walk.extent[row]); r++) {
        const auto from = [&](int i) { return base[i] + at[i] + (row < 0 ? 0 : r * walk.stride[i][row]); };
        if (is_sum) kernels::quantized_sum(op.sum, from(0), from(1), walk.extent[col], from(inputs));
        else
          kernels::look_up_bytes(op.table, reinterpret_cast<const uint8_t*>(from(0)), walk.extent[col],
                                 reinterpret_cast<uint8_t*>(from(inputs)));
      }
      return;
    }
    MapOperand operands[max_map_inputs];
    for (int i = 0; i < inputs; i++)
      operands[i] = {base[i] + bytes(i, at[i]), row < 0 ? 0 : walk.stride[i][row], walk.stride[i][col], op.type[i]};
    kernels::map_rows(op.code, operands, base[inputs] + bytes(inputs, at[inputs]),
                      row < 0 ? 0 : walk.stride[inputs][row], row < 0 ? 1 : walk.extent[row], walk.extent[col],
                      op.type[inputs]);
  });
}

// Two tensors of bytes, and a divisor that is one finite number.
void recognize_sum(const Binder& b, const MapProgram& program, OpArgs& args) {
  const std::optional<QuantizedSum> s = as_quantized_sum(program);
  const auto is_byte = [](DType t) { return t == DType::u8 || t == DType::i8; };
  if (!s || !is_byte(args.type[0]) || !is_byte(args.type[1]) || !is_byte(args.type[3])) return;
  const TensorPtr& divisor = b.view().in(2).constant;
  if (!divisor || divisor->dtype != DType::f32 || element_count(divisor->shape) != 1) return;
  const auto operand = [&](int i) {
    return kernels::QuantizedSum::Operand{static_cast<float>(s->operand[i].offset),
                                          static_cast<float>(s->operand[i].scale), args.type[i] == DType::i8};
  };
  kernels::QuantizedSum& sum = args.sum;
  sum.a = operand(0), sum.b = operand(1);
  const MapInstr& in = s->activation;
  sum.floor = in.op == MapOp::relu ? 0 : in.op == MapOp::clip ? static_cast<float>(in.p0) : -INFINITY;
  sum.ceiling = in.op == MapOp::clip ? static_cast<float>(in.p1) : INFINITY;
  std::memcpy(&sum.divisor, divisor->data, sizeof sum.divisor);
  sum.zero = static_cast<float>(s->zero), sum.lo = static_cast<float>(s->lo), sum.hi = static_cast<float>(s->hi);
  // With these no step gives NaN or infinity, and the reciprocal is a normal number.
  const auto plain = [](float x) { return std::abs(x) >= 1e-30f && std::abs(x) <= 1e30f; };
  const auto small = [](float x) { return std::abs(x) <= 1e6f; };
  const auto range = [](float x) { return x >= -128 && x <= 255; };
  args.is_sum = plain(sum.a.scale) && plain(sum.b.scale) && plain(sum.divisor) && small(sum.a.offset) &&
                small(sum.b.offset) && small(sum.zero) && range(sum.lo) && range(sum.hi) && sum.floor <= sum.ceiling;
}

// A function of one operand of bytes, whatever else it takes being one constant each: all that it can give.
void make_table(const Binder& b, const MapProgram& program, OpArgs& args) {
  if (program.code.size() < 2 || size_of(args.type[0]) != 1 || size_of(args.type[program.inputs]) != 1) return;
  uint8_t bytes[256];
  std::iota(std::begin(bytes), std::end(bytes), uint8_t{0});
  MapOperand operands[max_map_inputs] = {{bytes, 0, 1, args.type[0]}};
  for (int i = 1; i < program.inputs; i++) {
    const TensorPtr& constant = b.view().in(i).constant;
    if (!constant || element_count(constant->shape) != 1) return;
    operands[i] = {constant->data, 0, 0, args.type[i]};
  }
  if (b.view().in(0).constant) return;  // of one element, perhaps, beside a larger operand
  kernels::map_rows(args.code, operands, args.table, 256, 1, 256, args.type[program.inputs]);
  args.is_table = true;
}

}  // namespace

const TileKernel map_kernel{"map", run};

void bind_map(Binder& b) {
  const MapProgram& program = b.node.as<MapAttrs>().program;
  const int rank = narrow<int>(b.view().out_shape().size());
  OpArgs args{};
  args.code = kernels::to_map_code(program);
  for (int i = 0; i <= program.inputs; i++) {
    const bool out = i == program.inputs;
    const Extents strides = out ? b.output_strides() : broadcast_strides(b, i, rank);
    args.type[i] = out ? b.view().out().dtype : b.view().in(i).dtype;
    args.ref[i] = out ? b.output() : b.input(i);
    std::copy_n(strides.v.begin(), max_rank, args.stride[i]);
  }
  recognize_sum(b, program, args);
  make_table(b, program, args);
  b.kernel(map_kernel);
  b.op_args(args);
  for (uint32_t t = 0; t < b.tile_count(); t++) b.tile_args(t, TileArgs{b.box(t)});
}

}  // namespace pando
