// Resampling of a float32 tensor on another grid: a sum over a box of taps per output element, the product of
// one-dimensional filters given as tables.
#pragma once
#include <cstdint>

#include "base/shape.hpp"

namespace pando::kernels {

struct ResampleDim {
  const int64_t* first;    // [outputs]
  const float* weight;     // [outputs][taps]
  const uint8_t* outside;  // [outputs]: the output is the extrapolation value; null when none is
  int64_t taps;
  int64_t in_stride, out_stride;
  int64_t lo, hi;  // the outputs to compute
};
struct Resample {
  int rank;
  const float* in;
  float* out;
  bool dense_last;  // the last dimension is copied index by index and contiguous in both: vectors run along it
  float extrapolation;
  ResampleDim dim[max_rank];
};
void resample(const Resample& r);

}  // namespace pando::kernels
