// Depthwise convolution of 8-bit integers by AVX-512 with VNNI: four taps, one under the other, are multiplied at a
// time, and the sums go back to 8 bits in registers. Exact, like depthwise_integer; only where has_dots(), for plans
// that requantize.
#pragma once
#include "kernels/conv/integer_depthwise.hpp"

namespace pando::kernels {

// Packed weights: for each 64 channels, for each four rows of the kernel and each of its columns, 256 bytes in the
// order that interleaving rows of bytes gives: [quarter][lane of 16 channels][4 channels][4 rows]. Rest: zeros.
size_t depthwise_dots_bytes(const DepthwiseShape& shape);
void pack_depthwise_dots(const DepthwiseShape& shape, const int8_t* w, std::byte* to);  // w: [co][kh][kw]

size_t depthwise_dots_scratch_bytes(const DepthwiseShape& shape, const DepthwiseBox& box);
// args.start: bias less the zero point (as bytes without sign) times the sum of the channel's weights.
void depthwise_dots(const IntegerDepthwise& op, const IntegerArgs& args, const DepthwiseBox& box, std::byte* scratch);

}  // namespace pando::kernels
