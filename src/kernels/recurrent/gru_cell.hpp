// The ends of one step of a gated recurrent unit and of a plain recurrence: gates to outputs, unit by unit: the same
// bits at every vector width.
#pragma once
#include <cstdint>

namespace pando::kernels {

struct GruCell {
  int64_t units;
  const float* sums;  // of products: update, reset, hidden of the input, hidden of the state, `stride` floats apart
  const float* bias;  // likewise
  int64_t stride;
  const float* before;  // outputs of the step before, or null: zeros
};

// reset = sigmoid(r) before.
void gru_reset(const GruCell& step, float* reset);
// y = (1 - sigmoid(z)) tanh(input + r state) + sigmoid(z) before, where r is sigmoid(reset gate) when `linear`, else 1.
void gru_cell(const GruCell& step, bool linear, float* y);

// y = tanh(sums + bias).
void rnn_cell(int64_t units, const float* sums, const float* bias, float* y);

}  // namespace pando::kernels
