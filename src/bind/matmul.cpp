// matmul: as a 1x1 convolution whose pixels are the rows of a, as GEMV, or product by product for operands that change.
#include "bind/bind_ops.hpp"
#include "bind/direct.hpp"
#include "kernels/gemm/gemv.hpp"
#include "kernels/gemm/pack.hpp"

namespace pando {
namespace {

enum { input_a, input_b, input_bias };

// A matrix operand [batch..., rows, columns] with transposition resolved into strides.
struct Matrix {
  int64_t rows, columns, row_stride, column_stride;
};
Matrix matrix(const Binder& b, int input, bool transposed) {
  const Shape& shape = b.view().in_shape(input);
  const Extents& strides = b.input_strides(input);
  const int r = narrow<int>(shape.size()) - 2;
  if (transposed) return {shape[r + 1], shape[r], strides[r + 1], strides[r]};
  return {shape[r], shape[r + 1], strides[r], strides[r + 1]};
}

kernels::ConvShape product_shape(const Binder& b, const Matrix& a, int64_t n) {
  const Extents& ys = b.output_strides();
  kernels::ConvShape s;
  s.in_w = a.rows;
  s.x_x = a.row_stride;
  s.x_c = a.column_stride;
  s.y_x = ys[ys.size() - 2];
  s.ci = a.columns;
  s.co = n;
  return s;
}

constexpr int64_t packed_at_once = int64_t{4} << 20;  // floats

// Packs a constant b for all tiles of bf16 products.
Ref pack_bf16(Binder& b, const MatMulAttrs& attrs) {
  const TensorPtr w = b.view().in(input_b).constant;
  const Shape& shape = w->shape;
  const bool transposed = attrs.trans_b;
  const int64_t k = shape[transposed ? 1 : 0], n = shape[transposed ? 0 : 1];
  const float alpha = attrs.alpha;
  return b.pack_weights(static_cast<size_t>(kernels::packed_bf16(n, 1, k)) * sizeof(uint16_t),
                        fmt::format("matmul bf16 {} {}", transposed, alpha), {input_b}, [=](std::byte* to) {
                          const TensorPtr floats = as_float32(w);
                          const std::vector<float> factor(alpha == 1 ? 0 : static_cast<size_t>(n), alpha);
                          kernels::pack_bf16(
                              {floats->data, transposed ? k : 1, 0, transposed ? 1 : n},
                              factor.empty() ? nullptr : reinterpret_cast<const std::byte*>(factor.data()), n, 1, k,
                              reinterpret_cast<uint16_t*>(to));
                        });
}

// For those of float32, and for few rows: rounded to `type`.
Ref pack_constant(Binder& b, const MatMulAttrs& attrs, DType type) {
  const TensorPtr w = b.view().in(input_b).constant;
  const size_t r = w->shape.size() - 2;
  const int64_t row_stride = w->shape[r + 1];
  const int64_t k = w->shape[attrs.trans_b ? r + 1 : r], n = w->shape[attrs.trans_b ? r : r + 1];
  const bool transposed = attrs.trans_b;
  const float alpha = attrs.alpha;
  const size_t bytes = static_cast<size_t>(kernels::packed_floats(n, k)) * size_of(type);
  return b.pack_weights(bytes, fmt::format("matmul {} {} {}", transposed, alpha, name_of(type)), {input_b},
                        [=, &context = b.context()](std::byte* to) {
                          const TensorPtr floats = as_float32(w);
                          // Some columns at a time, so that a token is honoured.
                          const int64_t columns =
                              std::max<int64_t>(packed_at_once / k / kernels::gemm_block, 1) * kernels::gemm_block;
                          for (int64_t c = 0; c < n; c += columns) {
                            context.check();
                            const int64_t first = transposed ? c * row_stride : c, width = std::min(columns, n - c);
                            std::vector<float> part;
                            float* packed = reinterpret_cast<float*>(to) + c * k;
                            if (type != DType::f32) {
                              part.resize(static_cast<size_t>(kernels::packed_floats(width, k)));
                              packed = part.data();
                            }
                            kernels::pack_matrix(floats->data + static_cast<size_t>(first) * sizeof(float), transposed,
                                                 k, width, row_stride, alpha, packed);
                            if (type != DType::f32)
                              kernels::round_packed(type, packed, kernels::packed_floats(width, k),
                                                    reinterpret_cast<uint16_t*>(to) + c * k);
                          }
                        });
}

// ---- a constant b of two dimensions ----

void run_image(const void* op_args, const void* tile_args, const TileContext& context) {
  const auto& op = *static_cast<const DirectOp*>(op_args);
  kernels::conv_direct(op.plan, resolve(op, context), *static_cast<const kernels::ConvBox*>(tile_args),
                       context.scratch);
}

struct GemvOp {
  DirectOp direct;
  DType weights;
};

void run_gemv(const void* op_args, const void* tile_args, const TileContext& context) {
  const auto& op = static_cast<const GemvOp*>(op_args)->direct;
  const auto& box = *static_cast<const kernels::ConvBox*>(tile_args);
  const kernels::DirectArgs args = resolve(op, context);
  const kernels::ConvShape& s = op.plan.shape;
  const kernels::EpilogueOperand* residual = args.epilogue.residual();
  kernels::gemv(
      {args.x, s.in_w, s.x_x, s.x_c, s.ci, static_cast<const GemvOp*>(op_args)->weights, args.weights,
       args.epilogue.bias, args.y, s.y_x, residual ? residual->data : nullptr, residual ? residual->stride[2] : 0},
      box.c0, box.c1, args.epilogue);
  const int64_t at[4] = {0, 0, 0, box.c0};
  if (args.epilogue.code)
    kernels::run_epilogue_code(args.epilogue, 4, 2, at, s.in_w, box.c1 - box.c0, args.y + box.c0, s.y_x);
}

}  // namespace

Image image_of_matmul(const Binder& b) {
  const auto& attrs = b.node.as<MatMulAttrs>();
  const Matrix a = matrix(b, input_a, attrs.trans_a);
  const int64_t n = b.view().out_shape().back();
  const int rank = narrow<int>(b.view().out_shape().size());
  // The dimensions before m are y and n of the image.
  const ImageDims dims{rank - 4, rank - 3, rank - 2};
  kernels::ConvShape s = product_shape(b, a, n);
  const Shape& shape = b.view().in_shape(input_a);
  auto batch_stride = [&](int dim) {  // of a along an output dimension
    const int d = dim - rank + narrow<int>(shape.size());
    return dim < 0 || d < 0 || shape[static_cast<size_t>(d)] == 1 ? 0 : b.input_strides(input_a)[d];
  };
  s.x_n = batch_stride(dims.n);
  s.x_y = batch_stride(dims.y);
  s.y_n = dims.n < 0 ? 0 : b.output_strides()[dims.n];
  s.y_y = dims.y < 0 ? 0 : b.output_strides()[dims.y];
  s.in_h = dims.y < 0 ? 1 : b.view().out_shape()[static_cast<size_t>(dims.y)];
  return {s, {std::max(dims.n, -1), std::max(dims.y, -1), dims.x}};
}

namespace {

void bind_constant(Binder& b) {
  const auto& attrs = b.node.as<MatMulAttrs>();
  const auto [s, dims] = image_of_matmul(b);
  const Algorithm algorithm = b.op.row->algorithm;
  const bool few = algorithm == Algorithm::gemv || algorithm == Algorithm::gemv_half;
  const bool bf16 = algorithm == Algorithm::bf16;
  DirectOp op = make_direct(b, s, dims, attrs.epilogue, input_bias, matmul_fixed_inputs,
                            bf16 ? kernels::ProductType::bf16 : kernels::ProductType::f32);
  op.x = b.input(input_a);
  DType type = DType::f32;
  if (algorithm == Algorithm::gemv_half) type = b.view().in(input_b).dtype == DType::f16 ? DType::f16 : DType::bf16;
  op.weights = bf16 ? pack_bf16(b, attrs) : pack_constant(b, attrs, type);
  b.kernel(few ? gemv_kernel : matmul_kernel);
  if (few) b.op_args(GemvOp{op, type});
  else b.op_args(op);
  if (!few) b.scratch(op.plan.scratch_bytes());
  for (uint32_t i = 0; i < b.tile_count(); i++) b.tile_args(i, direct_box(b.box(i), dims));
}

// ---- any other b: packed into scratch, one product after the other ----

struct ProductsOp {
  DirectOp direct;  // of one product
  Ref b;
  int64_t b_row, b_column;  // strides of k and n
  float alpha;
  int batch;
  // Strides along the batch dimensions.
  int64_t a_stride[max_rank], b_stride[max_rank], y_stride[max_rank];
  int64_t operand_stride[max_map_inputs][max_rank];
  int64_t weights_bytes;  // of scratch, before the direct method's
};

struct ProductsTile {
  Box box;
  kernels::ConvBox image;
};

void run_products(const void* op_args, const void* tile_args, const TileContext& context) {
  const auto& op = *static_cast<const ProductsOp*>(op_args);
  const auto& tile = *static_cast<const ProductsTile*>(tile_args);
  const kernels::ConvShape& s = op.direct.plan.shape;
  const auto* b = context.at<const float>(op.b);
  auto* packed = reinterpret_cast<float*>(context.scratch);
  const kernels::DirectArgs first = resolve(op.direct, context);
  const float* packed_from = nullptr;
  Box at = tile.box;  // lo counts
  if (at.empty()) return;
  while (true) {
    kernels::DirectArgs args = first;
    const float* from = b;
    for (int d = 0; d < op.batch; d++) {
      args.x += at[d].lo * op.a_stride[d];
      args.y += at[d].lo * op.y_stride[d];
      from += at[d].lo * op.b_stride[d];
      for (int i = 0; i < args.epilogue.operands; i++)
        args.epilogue.operand[i].data += at[d].lo * op.operand_stride[i][d];
    }
    if (from != packed_from) {
      const bool transposed = op.b_row == 1 && op.b_column != 1;
      const int64_t n = tile.image.c1 - tile.image.c0, row_stride = transposed ? op.b_column : op.b_row;
      const float* corner = from + tile.image.c0 * op.b_column;
      kernels::pack_matrix(reinterpret_cast<const std::byte*>(corner), transposed, s.ci, n, row_stride, op.alpha,
                           packed);
      packed_from = from;
    }
    args.weights = packed - tile.image.c0 * s.ci;  // block c0 / 32 is the first one packed
    kernels::conv_direct(op.direct.plan, args, tile.image, context.scratch + op.weights_bytes);
    int d = op.batch - 1;
    for (; d >= 0 && ++at[d].lo == at[d].hi; d--) at[d].lo = tile.box[d].lo;
    if (d < 0) return;
  }
}

void bind_products(Binder& b, const Matrix& a, const Matrix& w) {
  const auto& attrs = b.node.as<MatMulAttrs>();
  const NodeView node = b.view();
  const int rank = narrow<int>(node.out_shape().size());
  const ImageDims dims{-1, -1, rank - 2};
  ProductsOp op{};
  op.batch = rank - 2;
  auto strides = [&](int input, int64_t* to) {
    const Shape& shape = node.in_shape(input);
    const int missing = rank - narrow<int>(shape.size());
    for (int d = missing; d < op.batch; d++)
      if (shape[static_cast<size_t>(d - missing)] != 1) to[d] = b.input_strides(input)[d - missing];
  };
  strides(input_a, op.a_stride);
  strides(input_b, op.b_stride);
  for (int i = matmul_fixed_inputs; i < node.inputs(); i++) strides(i, op.operand_stride[i - matmul_fixed_inputs]);
  for (int d = 0; d < op.batch; d++) op.y_stride[d] = b.output_strides()[d];
  op.direct = make_direct(b, product_shape(b, a, w.columns), dims, attrs.epilogue, input_bias, matmul_fixed_inputs);
  op.direct.x = b.input(input_a);
  op.b = b.input(input_b);
  op.b_row = w.row_stride;
  op.b_column = w.column_stride;
  op.alpha = attrs.alpha;
  const int64_t widest = b.op.block[rank - 1];
  op.weights_bytes = (kernels::packed_floats(widest, a.columns) * 4 + 63) / 64 * 64;
  b.kernel(products_kernel);
  b.op_args(op);
  b.scratch(static_cast<size_t>(op.weights_bytes) + op.direct.plan.scratch_bytes());
  for (uint32_t i = 0; i < b.tile_count(); i++) {
    const Box box = b.box(i);
    b.tile_args(i, ProductsTile{box, direct_box(box, dims)});
  }
}

}  // namespace

const TileKernel matmul_kernel{"matmul", run_image};
const TileKernel gemv_kernel{"gemv", run_gemv};
const TileKernel products_kernel{"products", run_products};

void bind_matmul(Binder& b) {
  const NodeView node = b.view();
  const auto& attrs = b.node.as<MatMulAttrs>();
  const Matrix a = matrix(b, input_a, attrs.trans_a), w = matrix(b, input_b, attrs.trans_b);
  const int rank = narrow<int>(node.out_shape().size());
  const bool flat_constant = node.in(input_b).constant && node.in_shape(input_b).size() == 2 && rank <= 4;
  if (flat_constant) return bind_constant(b);
  bind_products(b, a, w);
}

}  // namespace pando
