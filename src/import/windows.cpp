#include "import/windows.hpp"

namespace pando::onnx {

Windows resolve_windows(const OnnxNode& n, std::span<const int64_t> spatial, std::vector<int64_t> kernel) {
  size_t d = spatial.size();
  Windows w;
  if (kernel.empty()) {
    if (!n.has_attr("kernel_shape")) n.invalid("attribute 'kernel_shape' is missing");
    w.kernel = n.window_ints("kernel_shape", d, 1, 1);
  } else {
    w.kernel = kernel;
    if (n.window_ints("kernel_shape", d, 0, 0) != kernel && n.has_attr("kernel_shape"))
      n.invalid("kernel_shape {} and weights {} differ", to_string(n.ints("kernel_shape")), to_string(kernel));
  }
  w.strides = n.window_ints("strides", d, 1, 1);
  w.dilations = n.window_ints("dilations", d, 1, 1);
  w.pads_begin.assign(d, 0);
  w.pads_end.assign(d, 0);
  std::string_view automatic = n.s("auto_pad", "NOTSET");
  if (automatic.empty() || automatic == "NOTSET") {
    std::vector<int64_t> pads = n.window_ints("pads", 2 * d, 0, 0);
    std::copy_n(pads.begin(), d, w.pads_begin.begin());
    std::copy_n(pads.begin() + static_cast<int64_t>(d), d, w.pads_end.begin());
  } else if (automatic == "SAME_UPPER" || automatic == "SAME_LOWER") {
    for (size_t i = 0; i < d; i++) {
      int64_t out = (spatial[i] + w.strides[i] - 1) / w.strides[i];
      int64_t total = std::max<int64_t>((out - 1) * w.strides[i] + w.reach(i) - spatial[i], 0);
      w.pads_begin[i] = automatic == "SAME_UPPER" ? total / 2 : total - total / 2;
      w.pads_end[i] = total - w.pads_begin[i];
    }
  } else if (automatic != "VALID") {
    n.invalid("auto_pad '{}'", automatic);
  }
  return w;
}

std::vector<int64_t> window_counts(const OnnxNode& n, std::span<const int64_t> spatial, const Windows& w,
                                   bool ceil_mode) {
  std::vector<int64_t> out;
  for (size_t i = 0; i < spatial.size(); i++) {
    int64_t room = spatial[i] + w.pads_begin[i] + w.pads_end[i] - w.reach(i);
    if (room < 0)
      n.invalid("a window of {} is larger than the padded input {} of spatial dimension {}", w.reach(i),
                spatial[i] + w.pads_begin[i] + w.pads_end[i], i);
    int64_t count = (room + (ceil_mode ? w.strides[i] - 1 : 0)) / w.strides[i] + 1;
    if (ceil_mode && (count - 1) * w.strides[i] >= spatial[i] + w.pads_begin[i]) count--;
    out.push_back(count);
  }
  return out;
}

PoolAttrs pool_attributes(const OnnxNode& n, std::span<const int64_t> spatial, PoolKind kind) {
  Windows w = resolve_windows(n, spatial);
  PoolAttrs a;
  a.kind = kind;
  a.out_spatial = window_counts(n, spatial, w, n.flag("ceil_mode", false));
  a.kernel = w.kernel;
  a.strides = w.strides;
  a.dilations = w.dilations;
  a.pads_begin = w.pads_begin;
  a.pads_end = w.pads_end;
  a.count_include_pad = n.flag("count_include_pad", false);
  a.p = n.i("p", 2);
  return a;
}

}  // namespace pando::onnx
