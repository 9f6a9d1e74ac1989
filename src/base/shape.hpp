// Shapes, dense strides and strided views. Sizes and strides count elements, never bytes.
#pragma once
#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/dtype.hpp"

namespace pando {

inline constexpr int max_rank = 8;
using Shape = std::vector<int64_t>;

int64_t element_count(std::span<const int64_t> shape);  // 1 for a scalar
std::string to_string(std::span<const int64_t> shape);  // "[1,3,224,224]"

// Fixed-capacity list of at most max_rank integers: used where a run must not allocate.
struct Extents {
  std::array<int64_t, max_rank> v{};
  int8_t rank = 0;
  Extents() = default;
  Extents(std::span<const int64_t> s) : rank(static_cast<int8_t>(s.size())) {
    for (int i = 0; i < rank; i++) v[i] = s[i];
  }
  int64_t& operator[](int i) { return v[i]; }
  int64_t operator[](int i) const { return v[i]; }
  int size() const { return rank; }
  std::span<const int64_t> span() const { return {v.data(), static_cast<size_t>(rank)}; }
};

// Row-major strides of a dense tensor.
Extents dense_strides(std::span<const int64_t> shape);

// A strided, typed window on memory that it does not own. Strides may be 0 (broadcast) or negative.
struct View {
  std::byte* data = nullptr;
  DType dtype = DType::f32;
  Extents shape;
  Extents strides;
  int rank() const { return shape.rank; }
  int64_t count() const { return element_count(shape.span()); }
  template <class T>
  T* as() const {
    return reinterpret_cast<T*>(data);
  }
};

}  // namespace pando
