// Softmax and log-softmax of float32. Input and output may be the same memory.
#pragma once
#include <cstdint>

namespace pando::kernels {

// Of n contiguous elements; sums in 16 partials.
void softmax_row(bool log, const float* x, float* y, int64_t n);

// Over n elements `x_step` and `y_step` apart, for `cols` contiguous columns; every column in order.
void softmax_columns(bool log, const float* x, int64_t x_step, float* y, int64_t y_step, int64_t n, int64_t cols);

}  // namespace pando::kernels
