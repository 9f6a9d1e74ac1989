// lstm: a product for the input and one for the state per step and block of 32 units, float32 with constant weights.
#include "bind/bind_ops.hpp"
#include "bind/strided.hpp"
#include "graph/ops/ops.hpp"
#include "kernels/gemm/gemm.hpp"
#include "kernels/gemm/pack.hpp"
#include "kernels/recurrent/lstm_cell.hpp"

namespace pando {
namespace {

using namespace recurrent;
constexpr int64_t gates = 4, block = kernels::gemm_block;

struct Operand {  // [batch, time, features], features contiguous
  Ref ref;
  int64_t b = 0, t = 0;
};

struct OpArgs {
  Operand x, y, cell, h, c;
  Ref w, r, bias, peepholes;
  int64_t peephole_stride;
  int64_t steps, features, units, padded;          // padded: units in whole blocks
  uint32_t input_product, product, first_product;  // Program::functions; first: of the state before all steps
};
struct TileArgs {
  Interval b;
};

// sums[j][gate][unit] (+)= weights * column j of `columns`.
void multiply(const OpArgs& op, const TileContext& context, uint32_t family, const float* weights, int64_t depth,
              const float* columns, int n, bool accumulate, float* sums) {
  const auto& product = *static_cast<const kernels::GemmFamily*>(context.functions[family]);
  const kernels::GemmOffset zero = 0;
  for (int64_t row = 0; row < gates * op.padded; row += block)
    product(block, n, accumulate, weights + row * depth, columns, sums + row, 1, &zero, &zero);
}

// How many samples from `b` on one product takes.
int columns_at(Interval batch, int64_t b) {
  return saturated<int>(std::min<int64_t>(kernels::gemm_max_n, batch.hi - b));
}

void run(const void* op_args, const void* tile_args, const TileContext& context) {
  const auto& op = *static_cast<const OpArgs*>(op_args);
  const Interval batch = static_cast<const TileArgs*>(tile_args)->b;
  const auto at = [&](const Operand& o, int64_t b, int64_t t) -> float* {
    return o.ref.absent() ? nullptr : context.at<float>(o.ref) + b * o.b + t * o.t;
  };
  const float *w = context.at<const float>(op.w), *r = context.at<const float>(op.r);
  auto* sums = reinterpret_cast<float*>(context.scratch);
  for (int64_t b = batch.lo; b < batch.hi; b += kernels::gemm_max_n) {
    const int n = columns_at(batch, b);
    for (int64_t t = 0; t < op.steps; t++) {
      multiply(op, context, op.input_product, w, op.features, at(op.x, b, t), n, false, sums);
      const float* state = t > 0 ? at(op.y, b, t - 1) : at(op.h, b, 0);
      if (state) multiply(op, context, t > 0 ? op.product : op.first_product, r, op.units, state, n, true, sums);
      for (int64_t j = 0; j < n; j++)
        kernels::lstm_cell({op.units, sums + j * gates * op.padded, context.at<const float>(op.bias), op.padded,
                            t > 0 ? at(op.cell, b + j, t - 1) : at(op.c, b + j, 0),
                            context.at<const float>(op.peepholes), op.peephole_stride, at(op.cell, b + j, t),
                            at(op.y, b + j, t)});
    }
  }
}

// [4][H][depth], every gate in blocks of its own.
Ref pack_gates(Binder& b, int input, int64_t units, int64_t depth) {
  const TensorPtr w = b.view().in(input).constant;
  const int64_t padded = (units + block - 1) / block * block;
  const auto bytes = static_cast<size_t>(gates * padded * depth + block) * sizeof(float);
  return b.pack_weights(bytes, "lstm weights", {input}, [=, &context = b.context()](std::byte* to) {
    for (int64_t g = 0; g < gates; g++) {
      context.check();
      kernels::pack_matrix(w->data + static_cast<size_t>(g * units * depth) * sizeof(float), true, depth, units, depth,
                           1, reinterpret_cast<float*>(to) + g * padded * depth);
    }
  });
}

// The sum of both biases, or zeros.
Ref pack_bias(Binder& b, int64_t units) {
  const int64_t padded = (units + block - 1) / block * block;
  const TensorPtr bias = b.has(input_bias) ? b.view().in(input_bias).constant : nullptr;
  return b.pack_weights(static_cast<size_t>(gates * padded) * sizeof(float), fmt::format("lstm bias {}", units),
                        {input_bias}, [=](std::byte* bytes) {
                          auto* to = reinterpret_cast<float*>(bytes);
                          std::fill_n(to, gates * padded, 0.0f);
                          for (int64_t i = 0; bias && i < gates * units; i++) {
                            float both[2];
                            for (int64_t k : {0, 1})
                              std::memcpy(both + k,
                                          bias->data + static_cast<size_t>(k * gates * units + i) * sizeof(float),
                                          sizeof(float));
                            to[i / units * padded + i % units] = both[0] + both[1];
                          }
                        });
}

}  // namespace

const TileKernel lstm_kernel{"lstm", run};

void bind_lstm(Binder& b) {
  const NodeView view = b.view();
  const auto states = [](Ref ref, const Extents& s) { return Operand{ref, s[0], s.size() > 2 ? s[1] : 0}; };
  OpArgs args{};
  args.features = view.in_shape(input_x)[2];
  args.steps = view.out_shape()[1];
  args.units = view.out_shape()[2];
  args.padded = (args.units + block - 1) / block * block;
  args.x = states(b.input(input_x), b.input_strides(input_x));
  args.y = states(b.output(), b.output_strides());
  args.cell = states(b.output(output_memory), b.output_strides(output_memory));
  if (b.has(input_h)) args.h = states(b.input(input_h), b.input_strides(input_h));
  if (b.has(input_c)) args.c = states(b.input(input_c), b.input_strides(input_c));
  if (b.has(input_peepholes)) {
    args.peepholes = b.input(input_peepholes);
    args.peephole_stride = b.input_strides(input_peepholes)[0];
  }
  args.w = pack_gates(b, input_w, args.units, args.features);
  args.r = pack_gates(b, input_r, args.units, args.units);
  args.bias = pack_bias(b, args.units);
  const auto family = [&](int64_t depth, int64_t stride) {
    return kernels::gemm_family(narrow<int>(depth), block, std::max(narrow<int>(stride), 1),
                                narrow<int>(gates * args.padded));
  };
  const kernels::GemmFamily* families[] = {family(args.features, args.x.b), family(args.units, args.y.b),
                                           family(args.units, args.h.b)};
  args.input_product = b.function(families[0]);
  args.product = b.function(families[1]);
  args.first_product = b.function(families[2]);
  b.kernel(lstm_kernel);
  b.op_args(args);
  int64_t widest = 0;
  for (uint32_t i = 0; i < b.tile_count(); i++) {
    const Interval rows = b.box(i)[0];
    widest = std::max(widest, std::min<int64_t>(rows.size(), kernels::gemm_max_n));
    for (int64_t n : {std::min<int64_t>(rows.size(), kernels::gemm_max_n), rows.size() % kernels::gemm_max_n})
      for (const kernels::GemmFamily* f : families)
        if (n > 0) f->prepare(block, narrow<int>(n), true);
    b.tile_args(i, TileArgs{rows});
  }
  b.scratch(static_cast<size_t>(widest * gates * args.padded) * sizeof(float));
}

}  // namespace pando
