#include "bind/direct.hpp"

#include "kernels/gemm/pack.hpp"

namespace pando {
namespace {

int64_t block_extent(const Binder& b, int dim) { return dim < 0 ? 1 : b.op.block[dim]; }

const kernels::GemmFamily* family(const kernels::DirectPlan& plan) {
  return kernels::gemm_family(plan.kb, kernels::gemm_block, plan.ldb(), kernels::gemm_block);
}

}  // namespace

DirectOp make_direct(Binder& b, const kernels::ConvShape& shape, ImageDims dims, const Epilogue& epilogue,
                     int bias_input, int first_operand) {
  const Shape& out = b.view().out_shape();
  const int channel = static_cast<int>(out.size()) - 1;
  DirectOp op{};
  op.y = b.output();
  op.epilogue = bind_epilogue(b, epilogue, bias_input, first_operand);
  for (int i = 0; i < op.epilogue.operands; i++) {
    int64_t* stride = op.epilogue.operand[i].stride;
    auto at = [&](int dim) { return dim < 0 ? 0 : stride[dim]; };
    const int64_t mapped[4] = {at(dims.n), at(dims.y), at(dims.x), at(channel)};
    std::copy_n(mapped, 4, stride);
  }
  kernels::ResidualStrides residual;
  if (!op.epilogue.general && op.epilogue.operands == 1)
    residual = {true, op.epilogue.operand[0].stride[1], op.epilogue.operand[0].stride[2]};
  const Machine& machine = b.tiles.machine;
  op.plan = kernels::plan_direct(shape, block_extent(b, dims.y), block_extent(b, dims.x), dims.x < 0 ? 1 : out[dims.x],
                                 residual, machine.l1_bytes, machine.l2_bytes);
  const kernels::DirectPlan plan = op.plan;
  op.offsets = b.pack(2 * sizeof(kernels::GemmOffset) * static_cast<size_t>(plan.entries), [plan](std::byte* to) {
    auto* offsets = reinterpret_cast<kernels::GemmOffset*>(to);
    kernels::fill_offsets(plan, kernels::gemm_block, offsets, offsets + plan.entries);
  });
  op.gemm = b.function(family(plan));
  return op;
}

kernels::ConvBox direct_box(const Box& box, ImageDims dims) {
  auto at = [&](int dim) { return dim < 0 ? Interval{0, 1} : box[dim]; };
  const Interval n = at(dims.n), y = at(dims.y), x = at(dims.x), c = box[box.rank - 2];  // the domain ends in ci or k
  auto i = [](int64_t v) { return static_cast<int32_t>(v); };
  return {i(n.lo), i(n.hi), i(y.lo), i(y.hi), i(x.lo), i(x.hi), i(c.lo), i(c.hi)};
}

kernels::DirectArgs resolve(const DirectOp& op, const TileContext& context) {
  kernels::DirectArgs args;
  args.x = context.at<const float>(op.x);
  args.y = context.at<float>(op.y);
  args.group_stride = op.group_stride;
  args.epilogue = resolve(op.epilogue, context);
  const auto* offsets = context.at<const kernels::GemmOffset>(op.offsets);
  args.pass.gemm = static_cast<const kernels::GemmFamily*>(context.functions[op.gemm]);
  args.pass.weights = context.at<const float>(op.weights);
  args.pass.block_stride = op.plan.weights_k() * kernels::gemm_block;
  args.pass.a_offsets = offsets;
  args.pass.b_offsets = offsets + op.plan.entries;
  args.pass.entries = op.plan.entries;
  args.pass.chunk = op.plan.chunk;
  args.pass.bias = args.epilogue.bias;
  return args;
}

}  // namespace pando
