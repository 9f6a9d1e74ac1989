// Sliding windows over channels-last images, for convolution and pooling.
#pragma once
#include "graph/ops/common.hpp"

namespace pando {

// One spatial dimension: tap t of output i looks at input i * stride - before + t * dilation.
struct WindowDim {
  int64_t kernel, stride, dilation, before, after;
  int64_t reach() const { return (kernel - 1) * dilation; }
  AxisRule rule(int dim) const { return axis_window(dim, stride, -before, reach() - before); }
};

// Throws unless all lists have `spatial` entries, strides, dilations and kernels are positive and nothing can overflow.
void check_windows(int spatial, std::span<const int64_t> kernel, std::span<const int64_t> strides,
                   std::span<const int64_t> dilations, std::span<const int64_t> begin, std::span<const int64_t> end);

// Outputs of a dimension of extent `in`, without ceil mode; throws when the kernel is larger than the padded input.
int64_t window_outputs(int64_t in, const WindowDim& w, int axis);

// The taps t in [first, last) of output i that look inside an input of extent `in`.
struct TapRange {
  int64_t first, last;
};
TapRange taps_inside(const WindowDim& w, int64_t i, int64_t in);

}  // namespace pando
