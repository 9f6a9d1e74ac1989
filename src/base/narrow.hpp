// The one way from a wide integer to a narrower one in code that handles a model's extents.
#pragma once
#include <limits>
#include <utility>

#include "base/error.hpp"

namespace pando {

// The same value as another integer type. Throws not_supported when it does not fit; the caller adds whose it is.
template <class To, class From>
constexpr To narrow(From value) {
  if (!std::in_range<To>(value))
    fail(ErrorCode::not_supported, "an extent, stride or count of {} is not supported: at most {}", value,
         std::numeric_limits<To>::max());
  return static_cast<To>(value);
}

// The nearest value of another integer type: for code that may not throw, where the value is known to fit.
template <class To, class From>
constexpr To saturated(From value) noexcept {
  if (std::in_range<To>(value)) return static_cast<To>(value);
  return value < 0 ? std::numeric_limits<To>::min() : std::numeric_limits<To>::max();
}

}  // namespace pando
