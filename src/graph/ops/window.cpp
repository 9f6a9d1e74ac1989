#include "graph/ops/window.hpp"

namespace pando {
namespace {

void check_list(std::span<const int64_t> list, int spatial, int64_t least, const char* what) {
  if (list.size() != static_cast<size_t>(spatial))
    fail(ErrorCode::invalid_model, "{} are {}, expected {} entries", what, to_string(list), spatial);
  for (int64_t v : list)  // 32 bits each, so that products stay within 64
    if (v < least || v > INT32_MAX)
      fail(ErrorCode::invalid_model, "{} are {}, expected values of {} to {}", what, to_string(list), least, INT32_MAX);
}

int64_t ceil_div(int64_t a, int64_t b) { return a > 0 ? (a + b - 1) / b : -(-a / b); }

}  // namespace

void check_windows(int spatial, std::span<const int64_t> kernel, std::span<const int64_t> strides,
                   std::span<const int64_t> dilations, std::span<const int64_t> begin, std::span<const int64_t> end) {
  check_list(kernel, spatial, 1, "kernel extents");
  check_list(strides, spatial, 1, "strides");
  check_list(dilations, spatial, 1, "dilations");
  check_list(begin, spatial, -INT32_MAX, "pads at the begin");
  check_list(end, spatial, -INT32_MAX, "pads at the end");
}

int64_t window_outputs(int64_t in, const WindowDim& w, int axis) {
  // Extents are below 2^59 and attributes below 2^31, so nothing here overflows.
  int64_t padded = in + w.before + w.after, covered = w.reach() + 1;
  if (covered > padded)
    fail(ErrorCode::invalid_model, "spatial dimension {}: a kernel that covers {} is larger than the padded input, {}",
         axis, covered, padded);
  return (padded - covered) / w.stride + 1;
}

TapRange taps_inside(const WindowDim& w, int64_t i, int64_t in) {
  int64_t start = i * w.stride - w.before;
  int64_t first = std::clamp<int64_t>(ceil_div(-start, w.dilation), 0, w.kernel);
  int64_t last = std::clamp<int64_t>(ceil_div(in - start, w.dilation), first, w.kernel);
  return {first, last};
}

}  // namespace pando
