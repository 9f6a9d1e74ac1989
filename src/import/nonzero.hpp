// The elements of constants that are not zero, without a list of all: there may be very many.
#pragma once
#include "graph/ops/common.hpp"
#include "import/builder.hpp"

namespace pando::onnx {

// Calls f(i) for the elements i of a constant, in order, that are not zero.
template <class F>
void for_each_nonzero(const Builder& b, const Tensor& t, F&& f) {
  dispatch(t.dtype, [&](auto tag) {
    using T = decltype(tag);
    b.in_slices(element_count(t.shape), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; i++)
        if (widen(load<T>(t.data, i)) != 0) f(i);
    });
  });
}

}  // namespace pando::onnx
