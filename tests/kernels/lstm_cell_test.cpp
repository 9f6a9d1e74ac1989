// The gates of a long short-term memory, unit by unit, against their formulas in double.
#include "kernels/recurrent/lstm_cell.hpp"

#include <algorithm>

#include "kernels/kernel_check.hpp"

namespace pando::kernels {
namespace {

// Gates input, output, forget, cell; peepholes input, output, forget. Empty: null.
struct CellCase {
  int64_t units, stride, peephole_stride;
  test::Floats sums, bias, before, peepholes;
};

CellCase random_cell(Random& random, int64_t units) {
  const int64_t stride = units + test::between(random, 0, 9), peephole_stride = units + test::between(random, 0, 9);
  CellCase c{units, stride, peephole_stride, {random, 3 * stride + units, -6, 6}, {random, 3 * stride + units}, {}, {}};
  if (random.below(3)) c.before = test::Floats(random, units, -3, 3);
  if (random.below(2)) c.peepholes = test::Floats(random, 2 * peephole_stride + units, -2, 2);
  return c;
}

// The units from `from` on. Cells first, then outputs.
std::vector<float> run_cell(const CellCase& c, int64_t from, int64_t units, bool in_place = false) {
  const auto at = [&](const test::Floats& f) { return f.size() ? f.data() + from : nullptr; };
  test::Output cell(units), y(units);
  if (in_place) std::copy_n(at(c.before), units, cell.data());
  lstm_cell({units, at(c.sums), at(c.bias), c.stride, in_place ? cell.data() : at(c.before), at(c.peepholes),
             c.peephole_stride, cell.data(), y.data()});
  std::vector<float> result = cell.take(0, units), outputs = y.take(0, units);
  result.insert(result.end(), outputs.begin(), outputs.end());
  EXPECT_TRUE(cell.rest_is_untouched());
  EXPECT_TRUE(y.rest_is_untouched());
  return result;
}
std::vector<float> run_cell(const CellCase& c, bool in_place = false) { return run_cell(c, 0, c.units, in_place); }

struct Unit {
  double cell, y;
};
Unit expected_unit(const CellCase& c, int64_t u) {
  const auto gate = [&](int64_t g) { return double{c.sums[g * c.stride + u]} + c.bias[g * c.stride + u]; };
  const auto peephole = [&](int64_t g) { return c.peepholes.size() ? c.peepholes[g * c.peephole_stride + u] : 0.0; };
  const auto sigmoid = [](double v) { return 1 / (1 + std::exp(-v)); };
  const double before = c.before.size() ? c.before[u] : 0;
  const double i = gate(0) + peephole(0) * before, f = gate(2) + peephole(2) * before;
  const double cell = sigmoid(f) * before + sigmoid(i) * std::tanh(gate(3));
  return {cell, sigmoid(gate(1) + peephole(1) * cell) * std::tanh(cell)};
}

testing::AssertionResult is_cell(const CellCase& c) {
  const std::vector<float> got = run_cell(c);
  for (int64_t u = 0; u < c.units; u++) {
    const Unit want = expected_unit(c, u);
    const float cell = got[static_cast<size_t>(u)], y = got[static_cast<size_t>(c.units + u)];
    for (const auto& result : {test::near(cell, want.cell, 2e-6), test::near(y, want.y, 2e-6)})
      if (!result) return testing::AssertionFailure() << "unit " << u << " of " << c.units << ": " << result.message();
  }
  return testing::AssertionSuccess();
}

class LstmCellKernel : public test::EachIsa {};
INSTANTIATE_TEST_SUITE_P(Isas, LstmCellKernel, test::all_isas(), test::isa_name);

TEST_P(LstmCellKernel, RandomUnits) {
  Random random(1);
  for (int trial = 0; trial < 400; trial++) {
    const CellCase c = random_cell(random, test::pick(random, test::odd_sizes));
    ASSERT_TRUE(is_cell(c)) << "trial " << trial;
    if (c.before.size() == 0) continue;
    ASSERT_TRUE(test::same_bits(run_cell(c, true), run_cell(c))) << "in place, trial " << trial;
  }
}

// Gates far beyond what sigmoid and tanh tell from 0 and 1.
TEST_P(LstmCellKernel, SaturatedGates) {
  Random random(2);
  const int64_t units = 21;
  for (float value : {INFINITY, -INFINITY, 3e38f, -3e38f, 200.0f, -200.0f})
    for (int64_t gate = 0; gate < 4; gate++) {
      CellCase c = random_cell(random, units);
      for (int64_t u = 0; u < units; u += 3) c.sums[gate * c.stride + u] = value;
      ASSERT_TRUE(is_cell(c)) << value << " in gate " << gate;
    }
}

TEST_P(LstmCellKernel, ASpoiledUnitLeavesTheOthers) {
  Random random(3);
  const int64_t units = 37;
  for (int64_t at : {0, 15, 16, 31, 32, 36})
    for (int where = 0; where < 5; where++) {
      CellCase c = random_cell(random, units);
      if (where == 4) c.before = test::Floats(random, units), c.before[at] = NAN;
      else c.sums[where * c.stride + at] = NAN;
      ASSERT_TRUE(is_cell(c)) << "unit " << at << ", place " << where;
    }
}

// Where the units are cut into tiles does not change a bit.
TEST_P(LstmCellKernel, CutAnywhere) {
  Random random(4);
  for (int trial = 0; trial < 30; trial++) {
    const CellCase c = random_cell(random, 67);
    const std::vector<float> whole = run_cell(c);
    for (int64_t from = 0; from < c.units;) {
      const int64_t n = std::min(test::between(random, 1, 20), c.units - from);
      const std::vector<float> part = run_cell(c, from, n);
      for (int64_t u = 0; u < n; u++) {
        ASSERT_TRUE(test::exact(part[static_cast<size_t>(u)], whole[static_cast<size_t>(from + u)]));
        ASSERT_TRUE(test::exact(part[static_cast<size_t>(n + u)], whole[static_cast<size_t>(c.units + from + u)]));
      }
      from += n;
    }
  }
}

TEST(LstmCellKernelBits, EqualOnAvx2AndAvx512) {
  if (!test::has_avx512()) GTEST_SKIP() << "no AVX-512 here to compare with";
  Random random(5);
  for (int64_t units : test::odd_sizes)
    for (int trial = 0; trial < 5; trial++) {
      const CellCase c = random_cell(random, units);
      EXPECT_TRUE(test::same_bits_at_both_widths([&] { return run_cell(c); })) << units;
    }
}

}  // namespace
}  // namespace pando::kernels
