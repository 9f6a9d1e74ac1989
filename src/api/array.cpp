#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "base/error.hpp"
#include "base/sanitizer.hpp"
#include "base/shape.hpp"
#include "pando/pando.hpp"

namespace pando {

Array::Array(DType dtype, std::vector<int64_t> shape) : dtype_(dtype), shape_(std::move(shape)) {
  if (static_cast<int>(dtype) >= dtype_count)
    fail(ErrorCode::invalid_argument, "there is no type {}", static_cast<int>(dtype));
  int64_t most = int64_t{1} << 56;  // elements: their bytes and offsets can be counted
  for (int64_t d : shape_) {
    if (d < 0 || d > most) fail(ErrorCode::invalid_argument, "an array cannot have shape {}", to_string(shape_));
    most /= std::max<int64_t>(d, 1);
  }
  // Never empty: a pointer to nothing is still a pointer.
  size_t padded = address_sanitizer ? std::max<size_t>(bytes(), 1) : (bytes() + 63) / 64 * 64 + 64;
  void* p = nullptr;
  if (posix_memalign(&p, 64, padded) != 0) fail(ErrorCode::out_of_memory, "cannot allocate {} bytes", padded);
  std::memset(p, 0, padded);
  data_ = {p, std::free};
}

size_t Array::count() const { return static_cast<size_t>(element_count(shape_)); }

}  // namespace pando
