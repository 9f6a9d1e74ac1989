// The bind functions, one per row of the table of algorithms (tile/rows.cpp): what a row promises of shapes, types and
// strides they do not check again.
#pragma once
#include "bind/binder.hpp"
#include "tile/rows.hpp"

namespace pando {

void bind_conv_gemm(Binder&);
void bind_conv_winograd(Binder&);
void bind_conv_depthwise(Binder&);
void bind_matmul(Binder&);
void bind_matmul_blocked(Binder&);
void bind_conv_integer(Binder&);
void bind_conv_integer_depthwise(Binder&);
void bind_matmul_integer(Binder&);
void bind_attention(Binder&);
void bind_recurrent(Binder&);
void bind_map(Binder&);
void bind_map_typed(Binder&);
void bind_reduce(Binder&);
void bind_softmax(Binder&);
void bind_norm(Binder&);
void bind_pool(Binder&);
void bind_lrn(Binder&);
void bind_resize(Binder&);
void bind_gather(Binder&);
void bind_transpose(Binder&);
void bind_reshape(Binder&);
void bind_slice(Binder&);
void bind_expand(Binder&);
void bind_pad(Binder&);
void bind_reference(Binder&);  // any operator's plain reference

extern const TileKernel attention_kernel, blocked_kernel, conv_depthwise_kernel, conv_gemm_kernel, conv_winograd_kernel,
    copy_kernel, gather_kernel, integer_kernel, integer_depthwise_kernel, gemv_kernel, lrn_kernel, recurrent_kernel,
    map_kernel, map_typed_kernel, matmul_kernel, norm_kernel, nothing_kernel, pool_kernel, products_kernel,
    reduce_kernel, reference_kernel, reshape_kernel, resize_kernel, softmax_kernel;
std::span<const TileKernel* const> tile_kernels();

struct BindRow {
  std::string_view key;  // AlgorithmRow::key
  BindFn bind;
};
std::span<const BindRow> bind_rows();
// Throws internal when there is none.
BindFn find_bind(std::string_view key);

}  // namespace pando
