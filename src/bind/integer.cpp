// conv and matmul of 8-bit integers with constant weights.
#include "kernels/conv/integer.hpp"

#include <cmath>

#include "bind/bind_ops.hpp"
#include "bind/direct.hpp"
#include "graph/ops/common.hpp"
#include "graph/quantization.hpp"
#include "kernels/conv/depthwise_dots.hpp"
#include "kernels/conv/integer_depthwise.hpp"
#include "kernels/gemm/integer_dots.hpp"

namespace pando {
namespace {

enum { input_x, input_w, input_bias };
constexpr int no_bias = INT32_MAX;  // of the epilogue: sums begin with it

struct IntegerOp {
  kernels::IntegerPlan plan;
  Ref x, y, weights, start;
  Ref bias;  // one that is computed
  int64_t group_bytes = 0, group_start = 0;
  EpilogueRefs epilogue;  // operand strides {n, y, x, channel}
};
struct DepthwiseOp {
  IntegerOp op;
  kernels::DepthwiseShape shape;
  bool dots;  // else its weights are float32
};

kernels::IntegerArgs resolve(const IntegerOp& op, const TileContext& context) {
  kernels::IntegerArgs args;
  args.x = context.at<const std::byte>(op.x);
  args.y = context.at<std::byte>(op.y);
  args.weights = context.at<const std::byte>(op.weights);
  args.group_bytes = op.group_bytes;
  args.start = context.at<const int32_t>(op.start);
  args.group_start = op.group_start;
  args.bias = context.at<const int32_t>(op.bias);
  args.epilogue = resolve(op.epilogue, context);
  return args;
}

void run(const void* op_args, const void* tile_args, const TileContext& context) {
  const auto& op = *static_cast<const IntegerOp*>(op_args);
  kernels::conv_integer(op.plan, resolve(op, context), *static_cast<const kernels::ConvBox*>(tile_args),
                        context.scratch);
}

void run_depthwise(const void* op_args, const void* tile_args, const TileContext& context) {
  const auto& op = *static_cast<const DepthwiseOp*>(op_args);
  const auto& box = *static_cast<const kernels::DepthwiseBox*>(tile_args);
  const kernels::IntegerArgs args = resolve(op.op, context);
  if (op.dots) return kernels::depthwise_dots({op.shape, op.op.plan}, args, box, context.scratch);
  kernels::depthwise_integer({op.shape, op.op.plan}, args, context.at<const float>(op.op.weights), box,
                             context.scratch);
}

bool all_finite(const Tensor* t) {
  for (int64_t i = 0; t && i < element_count(t->shape); i++)
    if (!std::isfinite(load<float>(t->data, i))) return false;
  return t != nullptr;
}

// The way back to 8 bits is done in the kernel.
void recognize_requantize(const MapProgram& p, const EpilogueRefs& refs, const Tensor* scales,
                          kernels::IntegerPlan& plan) {
  if (size_of(plan.out) != 1 || plan.out == DType::boolean) return;
  const std::optional<Requantize> r = as_requantize(p);
  // Sums times infinity may be NaN, which the kernel's clip does not keep.
  if (!r || !(r->scale ? std::isfinite(static_cast<float>(*r->scale)) : all_finite(scales))) return;
  const int64_t* stride = r->scale ? nullptr : refs.operand[0].stride;
  if (stride && (stride[0] != 0 || stride[1] != 0 || stride[2] != 0 || stride[3] != 1)) return;
  // A clip before rounding is one after it, of rounded bounds.
  const MapInstr& clip = r->activation;
  const double lo = clip.op == MapOp::clip ? std::nearbyint(clip.p0) : clip.op == MapOp::relu ? 0 : -INFINITY;
  const double hi = clip.op == MapOp::clip ? std::nearbyint(clip.p1) : INFINITY;
  plan.one_scale = r->scale.has_value();
  plan.scale = static_cast<float>(r->scale.value_or(0));
  plan.out_zero = static_cast<float>(r->zero);
  plan.lo = static_cast<float>(std::max(r->lo, lo + r->zero));
  plan.hi = static_cast<float>(std::min(r->hi, hi + r->zero));
  plan.requantize = plan.lo <= plan.hi;
}

IntegerOp make_op(Binder& b, const Image& image, const Epilogue& epilogue, int64_t zero, int first_operand) {
  const int channel = narrow<int>(b.view().out_shape().size()) - 1;
  const auto extent = [&](int dim) { return dim < 0 ? int64_t{1} : b.op.block[dim]; };
  IntegerOp op;
  op.plan = kernels::plan_integer(image.shape, b.view().in(input_x).dtype == DType::i8, narrow<int32_t>(zero),
                                  extent(image.dims.y), extent(image.dims.x), b.tiles.machine.l2_bytes);
  op.plan.out = b.view().out().dtype;
  op.x = b.input(input_x);
  op.y = b.output();
  if (b.has(input_bias) && !b.view().in(input_bias).constant) op.bias = b.input(input_bias);
  if (epilogue.empty()) return op;
  op.epilogue = bind_epilogue(b, epilogue, no_bias, first_operand);
  op.epilogue.general = true;
  op.epilogue.code = kernels::to_map_code(epilogue.program);
  by_image(op.epilogue, image.dims, channel);
  const bool operand = op.epilogue.operands > 0;
  const TensorPtr scales = operand ? b.view().in(first_operand).constant : nullptr;
  recognize_requantize(epilogue.program, op.epilogue, scales.get(), op.plan);
  return op;
}

// Weights as [co][values], in the order of taps and the values of a tap.
using Ordered = std::function<std::vector<int8_t>()>;

void pack(Binder& b, IntegerOp& op, const Ordered& ordered, const std::string& recipe) {
  const kernels::IntegerPlan plan = op.plan;
  const kernels::ConvShape& s = plan.shape;
  const int64_t co = s.co, groups = s.groups, values = plan.taps * plan.k;
  op.group_bytes = narrow<int64_t>(kernels::integer_weights_bytes(plan.form, co, plan.taps, plan.k));
  op.group_start = (co + kernels::integer_block - 1) / kernels::integer_block * kernels::integer_block;
  const std::string name = fmt::format("{} {} {} {} {}", recipe, groups, plan.taps, plan.k,
                                       plan.form == kernels::IntegerForm::dots ? "dots" : "pairs");
  op.weights =
      b.pack_weights(static_cast<size_t>(op.group_bytes * groups), name, {input_w}, [=, op = op](std::byte* to) {
        const std::vector<int8_t> w = ordered();
        for (int64_t g = 0; g < groups; g++)
          kernels::pack_integer_weights(plan.form, {w.data() + g * co * values, values, plan.k, 1}, co, plan.taps,
                                        plan.k, to + g * op.group_bytes);
      });
  const TensorPtr bias = b.has(input_bias) ? b.view().in(input_bias).constant : nullptr;
  op.start =
      b.pack_weights(static_cast<size_t>(op.group_start * groups) * sizeof(int32_t),
                     fmt::format("{} start {} {}", name, plan.zero, plan.is_signed),
                     {input_w, bias ? input_bias : no_bias}, [=, op = op](std::byte* to) {
                       const std::vector<int8_t> w = ordered();
                       std::vector<int32_t> list(static_cast<size_t>(co * groups));
                       if (bias) std::memcpy(list.data(), bias->data, bias->bytes());
                       for (int64_t g = 0; g < groups; g++)
                         kernels::integer_start(plan, w.data() + g * co * values, co, values, list.data() + g * co,
                                                reinterpret_cast<int32_t*>(to) + g * op.group_start);
                     });
}

// [co][ci][taps] as [co][taps][ci].
std::vector<int8_t> taps_first(const Tensor& w) {
  const int64_t co = w.shape[0], ci = w.shape[1], taps = element_count(w.shape) / std::max<int64_t>(co * ci, 1);
  const auto* from = reinterpret_cast<const int8_t*>(w.data);
  std::vector<int8_t> to(static_cast<size_t>(co * ci * taps));
  auto next = to.begin();
  for (int64_t o = 0; o < co; o++)
    for (int64_t t = 0; t < taps; t++)
      for (int64_t c = 0; c < ci; c++) *next++ = from[(o * ci + c) * taps + t];
  return to;
}

void bind_tiles(Binder& b, const IntegerOp& op, ImageDims dims) {
  b.kernel(integer_kernel);
  b.op_args(op);
  b.scratch(op.plan.scratch_bytes());
  for (uint32_t i = 0; i < b.tile_count(); i++) b.tile_args(i, direct_box(b.box(i), dims));
}

}  // namespace

const TileKernel integer_kernel{"integer", run};
const TileKernel integer_depthwise_kernel{"integer depthwise", run_depthwise};

void bind_conv_integer(Binder& b) {
  const auto& attrs = b.node.as<ConvAttrs>();
  const Image image = image_of_conv(b);
  IntegerOp op = make_op(b, image, attrs.epilogue, attrs.zero, conv_fixed_inputs);
  pack(
      b, op, [w = b.view().in(input_w).constant] { return taps_first(*w); }, "integer conv");
  bind_tiles(b, op, image.dims);
}

void bind_matmul_integer(Binder& b) {
  const auto& attrs = b.node.as<MatMulAttrs>();
  const Image image = image_of_matmul(b);
  IntegerOp op = make_op(b, image, attrs.epilogue, attrs.zero, matmul_fixed_inputs);
  const bool transposed = attrs.trans_b;
  const auto columns = [w = b.view().in(input_w).constant, transposed] {  // [n][k]
    const auto* from = reinterpret_cast<const int8_t*>(w->data);
    std::vector<int8_t> to(from, from + element_count(w->shape));
    if (transposed) return to;
    const int64_t k = w->shape[0], n = w->shape[1];
    for (int64_t p = 0; p < k; p++)
      for (int64_t o = 0; o < n; o++) to[static_cast<size_t>(o * k + p)] = from[p * n + o];
    return to;
  };
  pack(b, op, columns, fmt::format("integer matmul {}", transposed));
  bind_tiles(b, op, image.dims);
}

namespace {

// By VNNI, to bytes.
void pack_depthwise_dots(Binder& b, DepthwiseOp& op, const TensorPtr& w, const TensorPtr& bias) {
  const kernels::DepthwiseShape s = op.shape;
  const kernels::IntegerPlan plan = op.op.plan;
  const auto* values = reinterpret_cast<const int8_t*>(w->data);
  op.op.weights = b.pack_weights(kernels::depthwise_dots_bytes(s), "integer depthwise dots", {input_w},
                                 [=, w = w](std::byte* to) { kernels::pack_depthwise_dots(s, values, to); });
  const int64_t blocks = (s.co + kernels::integer_block - 1) / kernels::integer_block;
  op.op.start = b.pack_weights(static_cast<size_t>(blocks * kernels::integer_block) * sizeof(int32_t),
                               fmt::format("integer depthwise start {} {}", plan.zero, plan.is_signed),
                               {input_w, bias ? input_bias : no_bias}, [=, w = w, bias = bias](std::byte* to) {
                                 std::vector<int32_t> list(static_cast<size_t>(s.co));
                                 if (bias) std::memcpy(list.data(), bias->data, bias->bytes());
                                 kernels::integer_start(plan, values, s.co, s.kh * s.kw, list.data(),
                                                        reinterpret_cast<int32_t*>(to));
                               });
}

// By the float32 kernel.
void pack_depthwise_floats(Binder& b, DepthwiseOp& op, const TensorPtr& w, const TensorPtr& bias) {
  const int64_t co = op.shape.co, taps = op.shape.kh * op.shape.kw;
  op.op.weights = b.pack_weights(static_cast<size_t>(co * taps) * sizeof(float), "integer depthwise", {input_w},
                                 [=](std::byte* to) {
                                   const auto* from = reinterpret_cast<const int8_t*>(w->data);
                                   for (int64_t o = 0; o < co; o++)
                                     for (int64_t t = 0; t < taps; t++)
                                       reinterpret_cast<float*>(to)[t * co + o] = from[o * taps + t];
                                 });
  op.op.start = b.pack_weights(static_cast<size_t>(co) * sizeof(int32_t), fmt::format("integer bias {}", co),
                               {input_bias}, [=](std::byte* to) {
                                 if (bias) std::memcpy(to, bias->data, bias->bytes());
                                 else std::memset(to, 0, static_cast<size_t>(co) * sizeof(int32_t));
                               });
}

}  // namespace

void bind_conv_integer_depthwise(Binder& b) {
  const auto& attrs = b.node.as<ConvAttrs>();
  const Image image = image_of_conv(b);
  DepthwiseOp op{make_op(b, image, attrs.epilogue, attrs.zero, conv_fixed_inputs), {}, false};
  op.shape = depthwise_shape(b, image);
  op.dots = op.op.plan.requantize && kernels::has_dots();
  const TensorPtr w = b.view().in(input_w).constant,
                  bias = b.has(input_bias) ? b.view().in(input_bias).constant : nullptr;
  if (op.dots) pack_depthwise_dots(b, op, w, bias);
  else pack_depthwise_floats(b, op, w, bias);
  b.kernel(integer_depthwise_kernel);
  b.op_args(op);
  for (uint32_t i = 0; i < b.tile_count(); i++) {
    const kernels::ConvBox box = direct_box(b.box(i), image.dims);
    const kernels::DepthwiseBox tile{box.n0, box.n1, box.y0, box.y1, box.x0, box.x1, box.c0, box.c1};
    b.scratch(op.dots ? kernels::depthwise_dots_scratch_bytes(op.shape, tile)
                      : kernels::IntegerDepthwise{op.shape, op.op.plan}.scratch_bytes(tile));
    b.tile_args(i, tile);
  }
}

}  // namespace pando
