// The core operators: their attribute structs and definitions. Matrix and pooling operators are channels-last:
// images are [N, spatial..., C]; the importer brings ONNX's NCHW here with transposes that the optimizer moves away.
#pragma once
#include "base/blocked.hpp"
#include "base/map_program.hpp"
#include "graph/graph.hpp"

namespace pando {

// What matrix operators do with each element before they store it: `program` on register 0 = the element; registers
// 1.. are the operands that follow the operator's own, float32, broadcast to the output.
struct Epilogue {
  MapProgram program;
  DType out = DType::f32;  // of products of 8-bit integers: the type that the program's result is converted to
  bool empty() const { return program.code.empty(); }
  PANDO_FIELDS(program, out)
};

// Matrix operators also multiply integers of 8 bits: operand 0 is u8 or i8, the weights are i8, a bias is i32. Then
// sums are exact in 32 bits (they wrap around) and of (x - zero) * w, so that padding counts as zero. Without an
// epilogue they are the result, of type i32; else its element is the sum rounded to float32.
inline bool multiplies_bytes(const NodeView& node) {
  return node.in(0).dtype == DType::u8 || node.in(0).dtype == DType::i8;
}
// Products of float32 may take weights of 16 bits, which are widened.
inline bool has_half_weights(const NodeView& node) {
  const DType w = node.in(1).dtype;
  return node.in(0).dtype == DType::f32 && (w == DType::f16 || w == DType::bf16);
}

// conv: x [N, spatial..., Ci], w [Co, Ci/group, kernel...] (ONNX order), bias [Co] or absent, scale [Co] or absent
// (multiplies w per output channel: a folded normalization), epilogue operands. y [N, spatial..., Co].
struct ConvAttrs {
  std::vector<int64_t> strides, dilations, pads_begin, pads_end;
  int64_t group = 1;
  Epilogue epilogue;
  int64_t zero = 0;  // of 8-bit integers
  PANDO_FIELDS(strides, dilations, pads_begin, pads_end, group, epilogue, zero)
};
inline constexpr int conv_fixed_inputs = 4;
extern const OpDef conv_op;

// matmul: a [batch..., M, K] (or K, M when trans_a), b [batch..., K, N] (or N, K), bias [N] or absent, epilogue
// operands. Batch dimensions broadcast. y = alpha * a b + bias. With blocks b is u8 [N, row bytes], see BlockFormat.
struct MatMulAttrs {
  bool trans_a = false, trans_b = false;
  float alpha = 1;
  Epilogue epilogue;
  int64_t zero = 0;  // of 8-bit integers
  BlockFormat blocks;
  bool rounds_rows = false;  // with blocks: a kernel may round a to 8 bits, by blocks
  PANDO_FIELDS(trans_a, trans_b, alpha, epilogue, zero, blocks, rounds_rows)
};
inline constexpr int matmul_fixed_inputs = 3;
extern const OpDef matmul_op;

// attention: q [B, S, H, D], k [B, T, H, D], v [B, T, H, Dv]; mask, keep and fill, which broadcast to [B, H, S, T], or
// absent. y [B, S, H, Dv] = softmax(scale * q k^T + mask) v, per head; causal: query i sees keys 0 .. i + T - S. With a
// fill the scores of the keys that a query does not see, and those where keep is 0, are replaced by fill, and take
// part; without one (then keep is absent) keys that a query does not see have no weight.
struct AttentionAttrs {
  float scale = 1;
  bool causal = false;
  PANDO_FIELDS(scale, causal)
};
extern const OpDef attention_op;

// recurrent: one direction of an RNN, GRU or LSTM. x [B, T, I], w [G, H, I], r [G, H, H], bias [2, G, H] (of w's
// products and of r's) or absent, h and, of lstm, c before the first step [B, H] or absent (zeros), of lstm peepholes
// [3, H] (input, output, forget) or absent. Gates in ONNX's order: 1; update, reset, hidden; input, output, forget,
// cell. y [B, T, H]. A second output of that shape: of lstm the cells, of gru without linear_before_reset what the
// reset gate lets through of the state, which the products of the hidden gate read. Steps lo .. hi-1 are the operator
// itself on those steps of x, with what step lo-1 wrote as initial state.
enum class CellKind : uint8_t { rnn, gru, lstm };
enum class ActivationKind : uint8_t {
  relu,
  tanh,
  sigmoid,
  affine,
  leaky_relu,
  thresholded_relu,
  scaled_tanh,
  hard_sigmoid,
  elu,
  softsign,
  softplus
};
struct Activation {
  ActivationKind kind = ActivationKind::tanh;
  float alpha = 0, beta = 0;
  PANDO_FIELDS(kind, alpha, beta)
};
struct RecurrentAttrs {
  CellKind cell = CellKind::lstm;
  std::vector<Activation> activations;  // ONNX's f, g, h. Empty: sigmoid and tanh, the usual ones
  float clip = 0;                       // of what activations are applied to; 0: none
  bool input_forget = false;            // of lstm: the forget gate is 1 - the input gate
  bool linear_before_reset = false;     // of gru: the reset gate multiplies the hidden gate's product
  bool usual() const { return activations.empty() && clip == 0 && !input_forget; }
  PANDO_FIELDS(cell, activations, clip, input_forget, linear_before_reset)
};
namespace recurrent {
enum { input_x, input_w, input_r, input_bias, input_h, input_c, input_peepholes };
enum { output_y, output_memory };
}  // namespace recurrent
// How many gates and activations a cell has.
constexpr int64_t gates_of(CellKind cell) { return cell == CellKind::rnn ? 1 : cell == CellKind::gru ? 3 : 4; }
constexpr size_t activations_of(CellKind cell) { return cell == CellKind::rnn ? 1 : cell == CellKind::gru ? 2 : 3; }
extern const OpDef recurrent_op;

// map: operands broadcast to the output; see base/map_program.hpp. All operands of a program with more than one
// instruction are float32. `out` is the result's type (cast, comparisons).
struct MapAttrs {
  MapProgram program;
  DType out = DType::f32;
  PANDO_FIELDS(program, out)
};
extern const OpDef map_op;

// reduce over `axes` (sorted, not negative); reduced dimensions stay with extent 1.
enum class ReduceKind : uint8_t { sum, mean, max, min, prod };
struct ReduceAttrs {
  ReduceKind kind = ReduceKind::sum;
  AxisSet axes;
  PANDO_FIELDS(kind, axes)
};
extern const OpDef reduce_op;

struct SoftmaxAttrs {
  Axis axis = -1;  // not negative after import
  bool log = false;
  PANDO_FIELDS(axis, log)
};
extern const OpDef softmax_op;

// norm over the dimensions from `axis` to the last: (x - mean) / sqrt(var + epsilon) * scale + bias;
// rms: no mean. scale and bias are optional, of the shape of those dimensions.
struct NormAttrs {
  Axis axis = -1;
  float epsilon = 1e-5f;
  bool rms = false;
  PANDO_FIELDS(axis, epsilon, rms)
};
extern const OpDef norm_op;

// pool: x [N, spatial..., C]. The output's spatial extents are given, since ceil mode and padding fix them at import.
enum class PoolKind : uint8_t { max, average, lp };
struct PoolAttrs {
  PoolKind kind = PoolKind::max;
  std::vector<int64_t> kernel, strides, dilations, pads_begin, pads_end, out_spatial;
  bool count_include_pad = false;
  int64_t p = 2;  // lp
  PANDO_FIELDS(kind, kernel, strides, dilations, pads_begin, pads_end, out_spatial, count_include_pad, p)
};
extern const OpDef pool_op;

// local response normalization over the last dimension (channels).
struct LrnAttrs {
  int64_t size = 5;
  float alpha = 1e-4f, beta = 0.75f, bias = 1;
  PANDO_FIELDS(size, alpha, beta, bias)
};
extern const OpDef lrn_op;

// ---- movement ----
struct TransposeAttrs {
  std::vector<int64_t> perm;  // output dimension i is input dimension perm[i]
  PANDO_FIELDS(perm)
};
extern const OpDef transpose_op;
struct ReshapeAttrs {
  Shape shape;  // resolved: no 0 or -1 wildcards
  PANDO_FIELDS(shape)
};
extern const OpDef reshape_op;  // view
struct SliceAttrs {
  PerAxis<int64_t> starts, steps, sizes;  // resolved; step may be negative
  PANDO_FIELDS(starts, steps, sizes)
};
extern const OpDef slice_op;  // view
struct ConcatAttrs {
  Axis axis = 0;
  PANDO_FIELDS(axis)
};
extern const OpDef concat_op;                              // view
std::vector<int64_t> concat_begins(const NodeView& node);  // where its operands begin along the axis
Access concat_reads(const NodeView& node, int64_t begin);  // of the operand that begins there
struct ExpandAttrs {
  PerAxis<int64_t> shape;
  PANDO_FIELDS(shape)
};
extern const OpDef expand_op;
enum class PadMode : uint8_t { constant, reflect, edge, wrap };
struct PadAttrs {
  PerAxis<int64_t> begin, end;  // may be negative: crops
  PadMode mode = PadMode::constant;
  Number value = 0.0;
  PANDO_FIELDS(begin, end, mode, value)
};
extern const OpDef pad_op;
// gather: data, indices (any integer type, negative counts from the end; out of range is clamped into range).
struct GatherAttrs {
  Axis axis = 0;
  PANDO_FIELDS(axis)
};
extern const OpDef gather_op, gather_elements_op;
struct GatherNdAttrs {
  int64_t batch_dims = 0;
  PANDO_FIELDS(batch_dims)
};
extern const OpDef gather_nd_op;
enum class ScatterKind : uint8_t { none, add, mul, max, min };
struct ScatterAttrs {
  Axis axis = 0;  // scatter_elements only
  ScatterKind kind = ScatterKind::none;
  PANDO_FIELDS(axis, kind)
};
extern const OpDef scatter_elements_op, scatter_nd_op;

enum class ResizeMode : uint8_t { nearest, linear, cubic };
enum class ResizeCoord : uint8_t {
  half_pixel,
  asymmetric,
  align_corners,
  pytorch_half_pixel,
  tf_crop_and_resize,
  half_pixel_symmetric
};
enum class ResizeRound : uint8_t { prefer_floor, prefer_ceil, floor, ceil };
struct ResizeAttrs {
  ResizeMode mode = ResizeMode::nearest;
  ResizeCoord coord = ResizeCoord::half_pixel;
  ResizeRound round = ResizeRound::prefer_floor;
  float cubic_a = -0.75f, extrapolation = 0;
  bool exclude_outside = false, antialias = false;
  PerAxis<int64_t> out;  // extents of the output
  PerAxis<float> scales;
  PerAxis<float> roi_begin, roi_end;
  PANDO_FIELDS(mode, coord, round, cubic_a, extrapolation, exclude_outside, antialias, out, scales, roi_begin, roi_end)
};
extern const OpDef resize_op;
// What output index x of dimension d samples: weight[k] of input index first + k, all of them inside of the input.
// `in`, `out`: the extents. outside: the output is the extrapolation value instead.
struct ResizeTaps {
  int64_t first = 0;
  std::vector<double> weight;
  bool outside = false;
};
ResizeTaps resize_taps(const ResizeAttrs& attrs, int d, int64_t in, int64_t out, int64_t x);

// ---- selection ----
struct ArgReduceAttrs {
  Axis axis = 0;  // stays with extent 1
  bool max = true, select_last = false;
  PANDO_FIELDS(axis, max, select_last)
};
extern const OpDef arg_reduce_op;
struct CumSumAttrs {
  Axis axis = 0;
  bool exclusive = false, reverse = false;
  PANDO_FIELDS(axis, exclusive, reverse)
};
extern const OpDef cumsum_op;
struct TopKAttrs {
  Axis axis = 0;
  int64_t k = 1;
  bool largest = true, sorted = true;
  PANDO_FIELDS(axis, k, largest, sorted)
};
extern const OpDef topk_op;

// ---- training (kernels are to come: evaluate throws not_supported) ----
// gradient of operand `wrt` of another operator. Inputs: that operator's inputs, its outputs, the gradients of its
// outputs (none where there is none). Domain, rules and work are derived from the operator's own, which stays the only
// description: dimensions that address the operand are cut, all others are reductions.
struct GradientAttrs {
  const OpDef* op = nullptr;
  Attributes attrs;  // of the operator
  int inputs = 0, outputs = 0, wrt = 0;
  PANDO_FIELDS(op, attrs, inputs, outputs, wrt)
};
extern const OpDef gradient_op;
// For each dimension of a gradient's domain the dimension of the operator's domain that it stands for, or -1.
std::array<int8_t, max_rank> forward_dims(const NodeView& gradient);
// Whether it is a matrix product: a factor's gradient, not a bias's or a mask's.
bool is_product(const GradientAttrs& gradient);
// sum of operands of one shape. A view: its readers add the parts.
extern const OpDef sum_op;
// exchange: a parameter's gradient, summed over everyone who holds a part of it.
extern const OpDef exchange_op;
// update: parameter, its gradient, the optimizer's states -> new parameter, new states.
struct UpdateAttrs {
  int operations_per_element = 2;
  PANDO_FIELDS(operations_per_element)
};
extern const OpDef update_op;

// All of the above but those of training, by name; nullptr when there is none.
const OpDef* find_op(const char* name);
std::span<const OpDef* const> all_ops();

}  // namespace pando
