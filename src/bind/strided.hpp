// What the bind functions of row-wise operators share.
#pragma once
#include "bind/binder.hpp"
#include "kernels/strided.hpp"

namespace pando {

// Elements from an operand's first one to the box's corner.
inline int64_t corner(const Box& box, const Extents& strides) {
  int64_t at = 0;
  for (int i = 0; i < box.rank; i++) at += box[i].lo * strides[i];
  return at;
}

// Strides of input i as seen from an output of rank `rank` that it broadcasts to.
inline Extents broadcast_strides(const Binder& b, int i, int rank) {
  const Shape& shape = b.view().in_shape(i);
  const Extents& own = b.input_strides(i);
  Extents out;
  out.rank = narrow<int8_t>(rank);
  const int missing = rank - narrow<int>(shape.size());
  for (int d = missing; d < rank; d++) out[d] = shape[d - missing] == 1 ? 0 : own[d - missing];
  return out;
}

inline Ref shifted(Ref ref, int64_t floats) {
  ref.offset += floats * static_cast<int64_t>(sizeof(float));
  return ref;
}

// The one input and the output of an operator over the dimensions of a box that a kernel does not walk itself, merged
// where both allow.
struct InOut {
  Ref in, out;  // of the box's corner
  kernels::Walk<2> walk;
};
// `inner(d)`: the kernel walks dimension d.
template <class F>
InOut in_out(const Binder& b, const Box& box, F inner) {
  const Extents &in = b.input_strides(0), &out = b.output_strides();
  InOut r{shifted(b.input(0), corner(box, in)), b.output(), {}};
  r.walk.operands = 2;
  int64_t at = 0;
  for (int d = 0; d < box.rank; d++) {
    const int64_t strides[] = {in[d], out[d]};
    if (inner(d)) continue;
    at += box[d].lo * out[d];
    r.walk.add(box[d].size(), strides);
  }
  r.out = shifted(r.out, at);
  r.walk.collapse();
  return r;
}
// The same with the innermost dimension for kernels that take many contiguous columns at a time.
struct Columns {
  InOut io;
  int64_t cols = 1;
};
template <class F>
Columns with_columns(const Binder& b, const Box& box, F inner) {
  Columns r{in_out(b, box, inner), 1};
  kernels::Walk<2>& w = r.io.walk;
  const int last = w.rank - 1;
  if (last >= 0 && w.stride[0][last] == 1 && w.stride[1][last] == 1) {
    r.cols = w.extent[last];
    w.rank = last;
  }
  return r;
}

}  // namespace pando
