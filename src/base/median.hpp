#pragma once
#include <algorithm>
#include <vector>

namespace pando {

// Of an even number the upper one, so that the result is one of the values; T{} of none.
template <class T>
T median(std::vector<T> v) {
  if (v.empty()) return T{};
  auto middle = v.begin() + static_cast<std::ptrdiff_t>(v.size() / 2);
  std::nth_element(v.begin(), middle, v.end());
  return *middle;
}

}  // namespace pando
