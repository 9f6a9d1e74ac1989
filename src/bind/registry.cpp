#include <algorithm>

#include "bind/bind_ops.hpp"

namespace pando {
namespace {

constexpr BindRow table[] = {
    {"conv depthwise", bind_conv_depthwise},
    {"conv winograd", bind_conv_winograd},
    {"conv gemm", bind_conv_gemm},
    {"conv integer depthwise", bind_conv_integer_depthwise},
    {"conv integer", bind_conv_integer},
    {"matmul integer", bind_matmul_integer},
    {"conv bf16", bind_conv_gemm},
    {"matmul bf16", bind_matmul},
    {"matmul gemv blocked", bind_matmul_blocked},
    {"matmul blocked", bind_matmul_blocked},
    {"matmul gemv half", bind_matmul},
    {"matmul gemv", bind_matmul},
    {"matmul gemm", bind_matmul},
    {"attention flash", bind_attention},
    {"recurrent gemm", bind_recurrent},
    {"map vector", bind_map},
    {"map typed", bind_map_typed},
    {"reduce vector", bind_reduce},
    {"softmax vector", bind_softmax},
    {"norm vector", bind_norm},
    {"pool vector", bind_pool},
    {"lrn vector", bind_lrn},
    {"resize vector", bind_resize},
    {"transpose vector", bind_transpose},
    {"reshape vector", bind_reshape},
    {"slice vector", bind_slice},
    {"expand vector", bind_expand},
    {"gather vector", bind_gather},
    {"pad vector", bind_pad},
    {"reference", bind_reference},
};

constexpr const TileKernel* kernels[] = {&attention_kernel, &blocked_kernel,       &conv_depthwise_kernel,
                                         &conv_gemm_kernel, &conv_winograd_kernel, &copy_kernel,
                                         &gather_kernel,    &integer_kernel,       &integer_depthwise_kernel,
                                         &gemv_kernel,      &lrn_kernel,           &recurrent_kernel,
                                         &map_kernel,       &map_typed_kernel,     &matmul_kernel,
                                         &norm_kernel,      &nothing_kernel,       &pool_kernel,
                                         &products_kernel,  &reduce_kernel,        &reference_kernel,
                                         &reshape_kernel,   &resize_kernel,        &softmax_kernel};

}  // namespace

std::span<const TileKernel* const> tile_kernels() { return kernels; }

std::span<const BindRow> bind_rows() { return table; }

BindFn find_bind(std::string_view key) {
  const auto row = std::find_if(std::begin(table), std::end(table), [&](const BindRow& r) { return r.key == key; });
  if (row == std::end(table)) fail(ErrorCode::internal, "nothing binds the algorithm '{}'", key);
  return row->bind;
}

}  // namespace pando
