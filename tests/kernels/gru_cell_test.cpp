// The gates of a gated recurrent unit and of a plain recurrence, unit by unit, against their formulas in double.
#include "kernels/recurrent/gru_cell.hpp"

#include "kernels/kernel_check.hpp"

namespace pando::kernels {
namespace {

double sigmoid(double v) { return 1 / (1 + std::exp(-v)); }

class GruCellKernel : public test::EachIsa {};
INSTANTIATE_TEST_SUITE_P(Isas, GruCellKernel, test::all_isas(), test::isa_name);

TEST_P(GruCellKernel, RandomUnits) {
  Random random(1);
  for (int trial = 0; trial < 200; trial++) {
    const int64_t units = test::pick(random, test::odd_sizes), stride = units + test::between(random, 0, 9);
    const test::Floats sums(random, 3 * stride + units, -6, 6), bias(random, 3 * stride + units);
    const test::Floats before(random, units, -1, 1);
    const bool state = random.below(3) > 0, linear = random.below(2) > 0;
    const GruCell cell{units, sums.data(), bias.data(), stride, state ? before.data() : nullptr};
    test::Output reset(units), y(units), plain(units);
    gru_reset(cell, reset.data());
    gru_cell(cell, linear, y.data());
    rnn_cell(units, sums.data(), bias.data(), plain.data());
    const std::vector<float> resets = reset.take(0, units), ys = y.take(0, units), plains = plain.take(0, units);
    for (int64_t u = 0; u < units; u++) {
      const auto gate = [&](int64_t g) { return double{sums[g * stride + u]} + bias[g * stride + u]; };
      const auto at = static_cast<size_t>(u);
      const double h = state ? before[u] : 0, z = sigmoid(gate(0)), r = sigmoid(gate(1));
      ASSERT_TRUE(test::near(resets[at], r * h, 2e-6)) << "unit " << u;
      ASSERT_TRUE(test::near(ys[at], (1 - z) * std::tanh(gate(2) + (linear ? r : 1) * gate(3)) + z * h, 2e-6))
          << "unit " << u;
      ASSERT_TRUE(test::near(plains[at], std::tanh(gate(0)), 2e-6)) << "unit " << u;
    }
    EXPECT_TRUE(reset.rest_is_untouched() && y.rest_is_untouched() && plain.rest_is_untouched());
  }
}

}  // namespace
}  // namespace pando::kernels
