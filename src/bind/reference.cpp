// Runs an operator's plain reference as a tile: for operators and types without a kernel of their own.
#include "bind/bind_ops.hpp"

namespace pando {
namespace {

constexpr int max_operands = 16;

struct Operand {
  Ref ref;  // of the box's first element
  DType dtype;
  Extents shape, strides;
};

struct OpArgs {
  uint32_t entry;  // Program::operators
  int inputs, outputs;
};

void run(const void* op_args, const void* tile_args, const TileContext& context) {
  const auto& op = *static_cast<const OpArgs*>(op_args);
  const auto* operands = static_cast<const Operand*>(tile_args);
  View views[max_operands];
  for (int i = 0; i < op.inputs + op.outputs; i++) {
    const Operand& o = operands[i];
    views[i] = {context.at<std::byte>(o.ref), o.dtype, o.shape, o.strides};
  }
  size_t inputs = static_cast<size_t>(op.inputs), outputs = static_cast<size_t>(op.outputs);
  const OperatorEntry& entry = context.operators[op.entry];
  entry.op->evaluate(entry.attributes, {views, inputs}, {views + inputs, outputs});
}

Operand operand(const Binder& b, ValueId v, const Box& box) {
  const Value& value = b.tiles.graph->values[v];
  Operand o{b.ref(v), value.dtype, {}, b.tiles.storage[v].strides};
  int64_t first = 0;
  o.shape.rank = box.rank;
  for (int i = 0; i < box.rank; i++) {
    o.shape[i] = box[i].size();
    first += box[i].lo * o.strides[i];
  }
  o.ref.offset += first * static_cast<int64_t>(size_of(value.dtype));
  return o;
}

}  // namespace

const TileKernel reference_kernel{"reference", run};

void bind_reference(Binder& b) {
  NodeView view = b.view();
  if (view.inputs() + view.outputs() > max_operands)
    fail(ErrorCode::not_supported, "node '{}' ({}): more than {} operands are not supported", b.node.name,
         b.node.op->name, max_operands);
  if (b.tile_count() > 1 && !b.node.op->by_box)
    fail(ErrorCode::internal, "node '{}' ({}): its reference cannot run box by box, but it was cut", b.node.name,
         b.node.op->name);
  b.kernel(reference_kernel);
  b.op_args(OpArgs{b.operator_entry(), view.inputs(), view.outputs()});
  // Operands differ from tile to tile when the operator may be evaluated box by box.
  for (uint32_t t = 0; t < b.tile_count(); t++) {
    Box box = b.box(t);
    bool all = b.tile_count() == 1 && box == whole(b.op.domain);
    std::vector<Operand> operands;  // inputs, then outputs
    for (int i = 0; i < view.inputs(); i++) {
      Operand& o = operands.emplace_back();
      if (view.has(i))
        o = operand(b, b.node.inputs[i],
                    all ? whole(view.in_shape(i)) : apply(b.node.op->reads(view, i), box, view.in_shape(i)));
    }
    for (int i = 0; i < view.outputs(); i++)
      operands.push_back(
          operand(b, b.node.outputs[i],
                  all ? whole(view.out_shape(i)) : apply(b.node.op->writes(view, i), box, view.out_shape(i))));
    b.tile_args(t, std::span<const Operand>(operands));
  }
}

}  // namespace pando
