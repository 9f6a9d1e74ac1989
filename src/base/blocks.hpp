// Sizes that more than one folder needs: borders of boxes, and limits of kernels that rows check.
#pragma once
#include <cstdint>

namespace pando {

inline constexpr int column_block = 32;       // output features of a block of packed weights
inline constexpr int attention_queries = 48;  // that share a packing of keys: a multiple of AVX2's block of 3 columns
inline constexpr int attention_max_features = 4096;  // of a head
inline constexpr int gemv_max_rows = 4;              // rows of a product that is bound by reading weights
inline constexpr int winograd_rows = 4;              // F(4x4, 3x3): rows and columns that are computed together
inline constexpr int max_windowed_dims = 3;          // spatial dimensions of pooling
inline constexpr int lrn_max_size = 1 << 20;         // channels of a window

}  // namespace pando
