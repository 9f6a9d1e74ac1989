// recurrent: a product for the input and one for the state per step and block of 32 units, float32 with constant
// weights.
#include "bind/bind_ops.hpp"
#include "bind/strided.hpp"
#include "graph/ops/ops.hpp"
#include "kernels/gemm/gemm.hpp"
#include "kernels/gemm/pack.hpp"
#include "kernels/recurrent/gru_cell.hpp"
#include "kernels/recurrent/lstm_cell.hpp"

namespace pando {
namespace {

using namespace recurrent;
constexpr int64_t block = kernels::gemm_block;

struct Operand {  // [batch, time, features], features contiguous
  Ref ref;
  int64_t b = 0, t = 0;
};

struct OpArgs {
  Operand x, y, memory, h, c;
  Ref w, r, bias, peepholes;
  int64_t peephole_stride;
  int64_t steps, features, units, padded;          // padded: units in whole blocks
  int64_t gates, sections;                         // sections: of sums; a gru's hidden gate has two
  uint32_t input_product, product, first_product;  // Program::functions; first: of the state before all steps
  uint32_t memory_product;                         // of what a gru's reset gate lets through
  CellKind cell;
  bool linear;  // of gru: linear_before_reset
};
struct TileArgs {
  Interval b;
};

// sums[j][section][unit] (+)= weights of gates lo .. hi-1 * column j of `columns`, into sections from `section` on.
struct Product {
  uint32_t family;
  const float* weights;
  int64_t depth;
  Interval gates;
  int64_t section;
  bool accumulate;
};
void multiply(const OpArgs& op, const TileContext& context, const Product& p, const float* columns, int n,
              float* sums) {
  const auto& product = *static_cast<const kernels::GemmFamily*>(context.functions[p.family]);
  const kernels::GemmOffset zero = 0;
  const float* weights = p.weights + p.gates.lo * op.padded * p.depth;
  sums += p.section * op.padded;
  for (int64_t row = 0; row < p.gates.size() * op.padded; row += block)
    product(block, n, p.accumulate, weights + row * p.depth, columns, sums + row, 1, &zero, &zero);
}

// How many samples from `b` on one product takes.
int columns_at(Interval batch, int64_t b) {
  return saturated<int>(std::min<int64_t>(kernels::gemm_max_n, batch.hi - b));
}

// One step of up to gemm_max_n samples.
class Step {
 public:
  Step(const OpArgs& op, const TileContext& context, int64_t b, int n)
      : op_(op), context_(context), b_(b), n_(n), sums_(reinterpret_cast<float*>(context.scratch)) {}

  void run(int64_t t) const {
    const float* w = context_.at<const float>(op_.w);
    multiply(op_, context_, {op_.input_product, w, op_.features, {0, op_.gates}, 0, false}, at(op_.x, b_, t), n_,
             sums_);
    const bool gru = op_.cell == CellKind::gru;
    const float* state = before(op_.y, op_.h, b_, t);
    const uint32_t family = t > 0 ? op_.product : op_.first_product;
    if (state) multiply_state(family, {0, gru ? 2 : op_.gates}, 0, true, state);
    if (gru) multiply_hidden(family, state, t);
    for (int64_t b = b_; b < b_ + n_; b++) finish(b, t);
  }

 private:
  float* at(const Operand& o, int64_t b, int64_t t) const {
    return o.ref.absent() ? nullptr : context_.at<float>(o.ref) + b * o.b + t * o.t;
  }
  const float* before(const Operand& stored, const Operand& initial, int64_t b, int64_t t) const {
    return t > 0 ? at(stored, b, t - 1) : at(initial, b, 0);
  }
  float* sums_of(int64_t b) const { return sums_ + (b - b_) * op_.sections * op_.padded; }
  kernels::GruCell gru(int64_t b, int64_t t) const {
    return {op_.units, sums_of(b), context_.at<const float>(op_.bias), op_.padded, before(op_.y, op_.h, b, t)};
  }

  void multiply_state(uint32_t family, Interval gates, int64_t section, bool accumulate, const float* columns) const {
    multiply(op_, context_, {family, context_.at<const float>(op_.r), op_.units, gates, section, accumulate}, columns,
             n_, sums_);
  }

  // The state's part of a gru's hidden gate has sums of its own: of the state, or of what the reset gate made of it.
  void multiply_hidden(uint32_t family, const float* state, int64_t t) const {
    constexpr Interval hidden{2, 3};
    constexpr int64_t of_state = 3;
    if (!op_.linear)
      for (int64_t b = b_; b < b_ + n_; b++) kernels::gru_reset(gru(b, t), at(op_.memory, b, t));
    if (!state)
      for (int64_t b = b_; b < b_ + n_; b++) std::fill_n(sums_of(b) + of_state * op_.padded, op_.padded, 0.0f);
    else if (op_.linear) multiply_state(family, hidden, of_state, false, state);
    else multiply_state(op_.memory_product, hidden, of_state, false, at(op_.memory, b_, t));
  }

  void finish(int64_t b, int64_t t) const {
    const float* bias = context_.at<const float>(op_.bias);
    if (op_.cell == CellKind::rnn) kernels::rnn_cell(op_.units, sums_of(b), bias, at(op_.y, b, t));
    else if (op_.cell == CellKind::gru) kernels::gru_cell(gru(b, t), op_.linear, at(op_.y, b, t));
    else
      kernels::lstm_cell({op_.units, sums_of(b), bias, op_.padded, before(op_.memory, op_.c, b, t),
                          context_.at<const float>(op_.peepholes), op_.peephole_stride, at(op_.memory, b, t),
                          at(op_.y, b, t)});
  }

  const OpArgs& op_;
  const TileContext& context_;
  const int64_t b_;
  const int n_;
  float* const sums_;
};

void run(const void* op_args, const void* tile_args, const TileContext& context) {
  const auto& op = *static_cast<const OpArgs*>(op_args);
  const Interval batch = static_cast<const TileArgs*>(tile_args)->b;
  for (int64_t b = batch.lo; b < batch.hi; b += kernels::gemm_max_n) {
    const Step step(op, context, b, columns_at(batch, b));
    for (int64_t t = 0; t < op.steps; t++) step.run(t);
  }
}

// [G][H][depth], every gate in blocks of its own.
Ref pack_gates(Binder& b, int input, int64_t gates, int64_t units, int64_t depth) {
  const TensorPtr w = b.view().in(input).constant;
  const int64_t padded = (units + block - 1) / block * block;
  const auto bytes = static_cast<size_t>(gates * padded * depth + block) * sizeof(float);
  return b.pack_weights(
      bytes, fmt::format("recurrent weights {}", gates), {input}, [=, &context = b.context()](std::byte* to) {
        for (int64_t g = 0; g < gates; g++) {
          context.check();
          kernels::pack_matrix(w->data + static_cast<size_t>(g * units * depth) * sizeof(float), true, depth, units,
                               depth, 1, reinterpret_cast<float*>(to) + g * padded * depth);
        }
      });
}

// Per section the sum of both biases, or zeros; those of a gru's hidden gate apart.
Ref pack_bias(Binder& b, const OpArgs& args) {
  const TensorPtr bias = b.has(input_bias) ? b.view().in(input_bias).constant : nullptr;
  const int64_t gates = args.gates, sections = args.sections, units = args.units, padded = args.padded;
  return b.pack_weights(static_cast<size_t>(sections * padded) * sizeof(float),
                        fmt::format("recurrent bias {} {}", sections, units), {input_bias}, [=](std::byte* bytes) {
                          auto* to = reinterpret_cast<float*>(bytes);
                          std::fill_n(to, sections * padded, 0.0f);
                          for (int64_t i = 0; bias && i < gates * units; i++) {
                            float both[2];
                            for (int64_t k : {0, 1})
                              std::memcpy(both + k,
                                          bias->data + static_cast<size_t>(k * gates * units + i) * sizeof(float),
                                          sizeof(float));
                            float* at = to + i / units * padded + i % units;
                            if (sections > gates && i / units == gates - 1) {
                              at[0] = both[0];
                              at[padded] = both[1];
                            } else {
                              at[0] = both[0] + both[1];
                            }
                          }
                        });
}

}  // namespace

const TileKernel recurrent_kernel{"recurrent", run};

void bind_recurrent(Binder& b) {
  const NodeView view = b.view();
  const auto states = [](Ref ref, const Extents& s) { return Operand{ref, s[0], s.size() > 2 ? s[1] : 0}; };
  const auto& attrs = view.as<RecurrentAttrs>();
  OpArgs args{};
  args.cell = attrs.cell;
  args.linear = attrs.linear_before_reset;
  args.gates = gates_of(attrs.cell);
  args.sections = attrs.cell == CellKind::gru ? 4 : args.gates;
  args.features = view.in_shape(input_x)[2];
  args.steps = view.out_shape()[1];
  args.units = view.out_shape()[2];
  args.padded = (args.units + block - 1) / block * block;
  args.x = states(b.input(input_x), b.input_strides(input_x));
  args.y = states(b.output(), b.output_strides());
  if (view.node.outputs.size() > output_memory)
    args.memory = states(b.output(output_memory), b.output_strides(output_memory));
  if (b.has(input_h)) args.h = states(b.input(input_h), b.input_strides(input_h));
  if (b.has(input_c)) args.c = states(b.input(input_c), b.input_strides(input_c));
  if (b.has(input_peepholes)) {
    args.peepholes = b.input(input_peepholes);
    args.peephole_stride = b.input_strides(input_peepholes)[0];
  }
  args.w = pack_gates(b, input_w, args.gates, args.units, args.features);
  args.r = pack_gates(b, input_r, args.gates, args.units, args.units);
  args.bias = pack_bias(b, args);
  const auto family = [&](int64_t depth, int64_t stride) {
    return kernels::gemm_family(narrow<int>(depth), block, std::max(narrow<int>(stride), 1),
                                narrow<int>(args.sections * args.padded));
  };
  const kernels::GemmFamily* families[] = {family(args.features, args.x.b), family(args.units, args.y.b),
                                           family(args.units, args.h.b), family(args.units, args.memory.b)};
  args.input_product = b.function(families[0]);
  args.product = b.function(families[1]);
  args.first_product = b.function(families[2]);
  args.memory_product = b.function(families[3]);
  b.kernel(recurrent_kernel);
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
  b.scratch(static_cast<size_t>(widest * args.sections * args.padded) * sizeof(float));
}

}  // namespace pando
