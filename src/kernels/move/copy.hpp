// Strided copies of elements of 1, 2, 4 or 8 bytes: all that transposes, slices, broadcasts and pads come to.
#pragma once
#include <cstddef>

#include "kernels/strided.hpp"

namespace pando::kernels {

// Operand 0 of `walk` is the source, operand 1 the destination: copies to[...] = from[...] for every index. The source
// may be broadcast (stride 0), the destination must not overlap itself or the source. Dimensions may stand in any
// order.
void copy_nd(const std::byte* from, std::byte* to, Walk<2> walk, size_t element);

// Sets every index of `walk` (operand 0 is the destination) to `value`, which has `element` bytes.
void fill_nd(std::byte* to, Walk<1> walk, const std::byte* value, size_t element);

// A reshape that no strides can express. `source` walks all of `from` in row-major order. `target`: operand 0
// is an index's step in that order, which starts at `first`; operand 1 its step in the destination.
void copy_reshaped(const std::byte* from, Walk<1> source, int64_t first, std::byte* to, Walk<2> target, size_t element);

}  // namespace pando::kernels
