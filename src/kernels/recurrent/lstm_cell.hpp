// The end of one step of a long short-term memory: gates to cells and outputs.
#pragma once
#include <cstdint>

namespace pando::kernels {

struct LstmCell {
  int64_t units;
  const float* sums;  // of products: gates input, output, forget, cell, `stride` floats apart
  const float* bias;  // likewise
  int64_t stride;
  const float* before;     // cells of the step before, or null: zeros
  const float* peepholes;  // input, output, forget, `peephole_stride` floats apart, or null
  int64_t peephole_stride;
  float *cell, *y;
};

// cell = sigmoid(f) before + sigmoid(i) tanh(c), y = sigmoid(o) tanh(cell), unit by unit: the same bits at every vector
// width. `cell` may be `before`.
void lstm_cell(const LstmCell& step);

}  // namespace pando::kernels
