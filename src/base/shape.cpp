#include "base/shape.hpp"

#include <fmt/ranges.h>

namespace pando {

int64_t element_count(std::span<const int64_t> shape) {
  int64_t n = 1;
  for (int64_t d : shape) n *= d;
  return n;
}

std::string to_string(std::span<const int64_t> shape) { return fmt::format("[{}]", fmt::join(shape, ",")); }

Extents dense_strides(std::span<const int64_t> shape) {
  Extents s(shape);
  int64_t step = 1;
  for (int i = s.rank - 1; i >= 0; i--) {
    s[i] = step;
    step *= shape[i] > 0 ? shape[i] : 1;
  }
  return s;
}

}  // namespace pando
