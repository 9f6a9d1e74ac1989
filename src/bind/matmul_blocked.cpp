// matmul with weights in blocks: few rows by codes that are unpacked in registers, many by columns that are unpacked
// into scratch, or rows rounded to 8 bits where the model allows that and the CPU multiplies bytes.
#include "bind/bind_ops.hpp"
#include "bind/direct.hpp"
#include "kernels/gemm/blocked.hpp"
#include "kernels/gemm/integer_dots.hpp"
#include "kernels/gemm/pack.hpp"

namespace pando {
namespace {

enum { input_a, input_b, input_bias };

struct BlockedOp {
  DirectOp direct;
  BlockFormat format;
  kernels::BlockedForm form;
  bool unpacks;            // whole columns, for the direct method
  int64_t unpacked_bytes;  // of scratch, before the direct method's
};

kernels::BlockedWeights weights_of(const BlockedOp& op, const void* data) {
  return {static_cast<const std::byte*>(data), op.direct.plan.shape.ci, op.format};
}

void run_unpacked(const BlockedOp& op, const kernels::ConvBox& box, kernels::DirectArgs args, std::byte* scratch) {
  const kernels::BlockedWeights weights = weights_of(op, args.weights);
  auto* column = reinterpret_cast<float*>(scratch);
  kernels::ConvBox part = box;
  for (int64_t c = box.c0; c < box.c1; c += kernels::gemm_block) {
    kernels::unpack_column(weights, c / kernels::gemm_block, column);
    args.weights = column - c * weights.k;  // column block c / 32 is the only one
    part.c0 = c;
    part.c1 = std::min<int64_t>(box.c1, c + kernels::gemm_block);
    kernels::conv_direct(op.direct.plan, args, part, scratch + op.unpacked_bytes);
  }
}

void run_rows(const BlockedOp& op, const kernels::ConvBox& box, const kernels::DirectArgs& args, std::byte* scratch) {
  const kernels::ConvShape& s = op.direct.plan.shape;
  const kernels::EpilogueOperand* residual = args.epilogue.residual();
  for (int64_t n = box.n0; n < box.n1; n++)
    for (int64_t y = box.y0; y < box.y1; y++) {
      kernels::BlockedProduct p{};
      p.a = args.x + n * s.x_n + y * s.x_y + box.x0 * s.x_x;
      p.rows = box.x1 - box.x0, p.row_stride = s.x_x, p.k_stride = s.x_c;
      p.weights = weights_of(op, args.weights);
      p.bias = args.epilogue.bias;
      p.y = args.y + n * s.y_n + y * s.y_y + box.x0 * s.y_x, p.y_stride = s.y_x;
      if (residual) {
        const auto& stride = residual->stride;
        p.residual = residual->data + n * stride[0] + y * stride[1] + box.x0 * stride[2];
        p.residual_stride = stride[2];
      }
      kernels::blocked_product(op.form, p, box.c0, box.c1, args.epilogue, scratch);
      const int64_t at[4] = {n, y, box.x0, box.c0};
      if (args.epilogue.code)
        kernels::run_epilogue_code(args.epilogue, 4, 2, at, p.rows, box.c1 - box.c0, p.y + box.c0, s.y_x);
    }
}

void run(const void* op_args, const void* tile_args, const TileContext& context) {
  const auto& op = *static_cast<const BlockedOp*>(op_args);
  const auto& box = *static_cast<const kernels::ConvBox*>(tile_args);
  if (op.unpacks) run_unpacked(op, box, resolve(op.direct, context), context.scratch);
  else run_rows(op, box, resolve(op.direct, context), context.scratch);
}

}  // namespace

const TileKernel blocked_kernel{"blocked", run};

void bind_matmul_blocked(Binder& b) {
  const auto& attrs = b.node.as<MatMulAttrs>();
  const auto [s, dims] = image_of_matmul(b);
  BlockedOp op{};
  op.direct = make_direct(b, s, dims, attrs.epilogue, input_bias, matmul_fixed_inputs);
  op.direct.x = b.input(input_a);
  op.format = attrs.blocks;
  op.form = attrs.rounds_rows && kernels::has_dots() ? kernels::BlockedForm::bytes : kernels::BlockedForm::floats;
  op.unpacks = op.form == kernels::BlockedForm::floats && b.op.row->algorithm == Algorithm::blocked;
  op.unpacked_bytes = (kernels::packed_floats(kernels::gemm_block, s.ci) * 4 + 63) / 64 * 64;
  const kernels::BlockedWeights weights = weights_of(op, nullptr);
  const TensorPtr w = b.view().in(input_b).constant;
  const float alpha = attrs.alpha;
  const int64_t n = s.co;
  op.direct.weights = b.pack_weights(static_cast<size_t>(weights.bytes(n)),
                                     fmt::format("blocked {} {} {}", op.format.size, op.format.bits, alpha), {input_b},
                                     [=](std::byte* to) { kernels::pack_blocked(w->data, n, alpha, weights, to); });
  b.kernel(blocked_kernel);
  b.op_args(op);
  if (op.unpacks) b.scratch(static_cast<size_t>(op.unpacked_bytes) + op.direct.plan.scratch_bytes());
  else b.scratch(kernels::blocked_scratch_bytes(op.form, b.op.block[dims.x], weights));
  for (uint32_t i = 0; i < b.tile_count(); i++) b.tile_args(i, direct_box(b.box(i), dims));
}

}  // namespace pando
