#include "cli/difference.hpp"

#include <algorithm>
#include <cmath>

#include "cli/elements.hpp"

namespace pando::cli {

Difference difference(const Array& actual, const Array& expected) {
  const std::vector<double> a = numbers(actual), e = numbers(expected);
  Difference d;
  size_t equal = 0;
  for (size_t i = 0; i < a.size(); i++) {
    if (std::isfinite(e[i])) d.largest = std::max(d.largest, std::abs(e[i]));
    if (a[i] == e[i] || (std::isnan(a[i]) && std::isnan(e[i]))) {
      equal++;
      continue;
    }
    const double error = std::abs(a[i] - e[i]);
    d.error = std::max(d.error, std::isnan(error) ? HUGE_VAL : error);
  }
  if (!a.empty()) d.equal = static_cast<double>(equal) / static_cast<double>(a.size());
  return d;
}

}  // namespace pando::cli
