// Strides, dilations and pads of operators that slide a window: attributes and auto_pad resolved to numbers.
#pragma once
#include "graph/ops/ops.hpp"
#include "import/onnx_node.hpp"

namespace pando::onnx {

struct Windows {
  std::vector<int64_t> kernel, strides, dilations, pads_begin, pads_end;
  int64_t reach(size_t i) const { return (kernel[i] - 1) * dilations[i] + 1; }  // input extent under one window
};

// `spatial`: the input's spatial extents. An empty `kernel` is read from kernel_shape.
Windows resolve_windows(const OnnxNode& n, std::span<const int64_t> spatial, std::vector<int64_t> kernel = {});
// Extents of the output: ceil_mode counts windows that reach over the padded end, but none that starts there.
std::vector<int64_t> window_counts(const OnnxNode& n, std::span<const int64_t> spatial, const Windows& w,
                                   bool ceil_mode);
// Everything of a pool that depends on padding or ceil_mode settled, so that the core operator knows extents only.
PoolAttrs pool_attributes(const OnnxNode& n, std::span<const int64_t> spatial, PoolKind kind);

}  // namespace pando::onnx
