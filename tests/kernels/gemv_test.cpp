// A few rows times packed weights: the chain of multiply-adds in the order of k, bit for bit.
#include "kernels/gemm/gemv.hpp"

#include <algorithm>

#include "base/memory.hpp"
#include "kernels/gemm/pack.hpp"
#include "kernels/kernel_check.hpp"

namespace pando::kernels {
namespace {

// y = act(a b + bias + residual), all tensors with gaps. Bias and residual may be empty: null.
struct GemvCase {
  int64_t rows, k, channels, row_stride, k_stride, y_stride, residual_stride;
  DType weights = DType::f32;
  test::Floats a, b, bias, residual;  // b: [k][channels]
  EpilogueArgs epilogue;
};

constexpr Activation activations[] = {Activation::none, Activation::relu, Activation::clip, Activation::leaky_relu};

GemvCase random_gemv(Random& random, int64_t rows, int64_t k, int64_t channels) {
  GemvCase g{rows, k, channels, 0, test::between(random, 1, 3), 0, 0, DType::f32, {}, {}, {}, {}, {}};
  g.row_stride = k * g.k_stride + test::between(random, 0, 7);
  if (random.below(4) == 0) g.row_stride = 1, g.k_stride = rows + test::between(random, 0, 3);  // transposed
  g.y_stride = channels + test::between(random, 0, 40), g.residual_stride = channels + test::between(random, 0, 9);
  g.a = test::Floats(random, (rows - 1) * g.row_stride + (k - 1) * g.k_stride + 1);
  g.b = test::Floats(random, k * channels);
  if (random.below(2)) g.bias = test::Floats(random, channels);
  if (random.below(2)) g.residual = test::Floats(random, (rows - 1) * g.residual_stride + channels);
  g.epilogue.activation = test::pick(random, activations);
  g.epilogue.residual_last = random.below(2);
  g.epilogue.lo = -0.4f, g.epilogue.hi = 0.7f, g.epilogue.slope = 0.25f;
  return g;
}

float activated(const EpilogueArgs& e, float v) {
  switch (e.activation) {
    case Activation::relu: return std::isnan(v) ? v : std::max(0.0f, v);
    case Activation::clip: return std::isnan(v) ? v : std::min(e.hi, std::max(e.lo, v));
    case Activation::leaky_relu: return std::isnan(v) ? v : std::max(v, e.slope * v);
    default: return v;
  }
}

float expected_element(const GemvCase& g, int64_t row, int64_t channel) {
  float sum = 0;
  for (int64_t p = 0; p < g.k; p++)
    sum = test::multiply_add(g.b[p * g.channels + channel], g.a[row * g.row_stride + p * g.k_stride], sum);
  if (g.bias.size()) sum += g.bias[channel];
  if (!g.residual.size()) return activated(g.epilogue, sum);
  const float residual = g.residual[row * g.residual_stride + channel];
  return g.epilogue.residual_last ? activated(g.epilogue, sum) + residual : activated(g.epilogue, sum + residual);
}

const float* given(const test::Floats& f) { return f.size() ? f.data() : nullptr; }

test::Floats packed_weights(const GemvCase& g) {
  test::Floats packed(packed_floats(g.channels, g.k));
  pack_matrix(reinterpret_cast<const std::byte*>(g.b.data()), false, g.k, g.channels, g.channels, 1, packed.data());
  return packed;
}

// Channels [lo, hi) of all rows, dense; nothing else may be written.
std::vector<float> run_gemv(const GemvCase& g, int64_t lo, int64_t hi) {
  const test::Floats packed = packed_weights(g);
  test::Output out((g.rows - 1) * g.y_stride + g.channels);
  std::vector<uint16_t> half(static_cast<size_t>(packed.size()));
  const bool whole = g.weights == DType::f32;
  if (!whole) round_packed(g.weights, packed.data(), packed.size(), half.data());
  const void* weights = whole ? static_cast<const void*>(packed.data()) : half.data();
  gemv({g.a.data(), g.rows, g.row_stride, g.k_stride, g.k, g.weights, weights, given(g.bias), out.data(), g.y_stride,
        given(g.residual), g.residual_stride},
       lo, hi, g.epilogue);
  std::vector<float> y;
  for (int64_t r = 0; r < g.rows; r++)
    for (int64_t c = lo; c < hi; c++) y.push_back(out.take(r * g.y_stride + c));
  EXPECT_TRUE(out.rest_is_untouched());
  return y;
}
std::vector<float> run_gemv(const GemvCase& g) { return run_gemv(g, 0, g.channels); }

testing::AssertionResult is_the_chain(const GemvCase& g, int64_t lo, int64_t hi) {
  const std::vector<float> y = run_gemv(g, lo, hi);
  size_t at = 0;
  for (int64_t r = 0; r < g.rows; r++)
    for (int64_t c = lo; c < hi; c++)
      if (const auto result = test::exact(y[at++], expected_element(g, r, c)); !result)
        return testing::AssertionFailure() << "row " << r << " of " << g.rows << ", channel " << c << " in " << lo
                                           << " .. " << hi << ", k " << g.k << ": " << result.message();
  return testing::AssertionSuccess();
}

// Around the pieces of k that stay in L1.
constexpr int64_t depths[] = {1, 2, 3, 7, 16, 33, 127, 128, 129, 300};

class GemvKernel : public test::EachIsa {};
INSTANTIATE_TEST_SUITE_P(Isas, GemvKernel, test::all_isas(), test::isa_name);

TEST_P(GemvKernel, IsTheChainInTheOrderOfK) {
  Random random(1);
  for (int64_t rows = 1; rows <= gemv_max_rows; rows++)
    for (int64_t k : depths)
      for (int64_t channels : test::odd_sizes) {
        const GemvCase g = random_gemv(random, rows, k, channels);
        ASSERT_TRUE(is_the_chain(g, 0, channels));
      }
}

// Tiles cut the channels at multiples of 32, whether a block is computed alone or beside the next one.
TEST_P(GemvKernel, RangesOfChannels) {
  Random random(2);
  for (int trial = 0; trial < 200; trial++) {
    const int64_t channels = test::between(random, 33, 200);
    const GemvCase g =
        random_gemv(random, test::between(random, 1, gemv_max_rows), test::pick(random, depths), channels);
    const int64_t lo = gemm_block * test::between(random, 0, (channels - 1) / gemm_block);
    ASSERT_TRUE(is_the_chain(g, lo, test::between(random, lo + 1, channels))) << "trial " << trial;
  }
}

// The general product takes the same weights, and rows of contiguous k.
std::vector<float> by_matrix_pass(const GemvCase& g) {
  const test::Floats packed = packed_weights(g);
  std::vector<float> y(static_cast<size_t>(g.rows * g.channels));
  std::vector<const void*> columns;
  for (int64_t r = 0; r < g.rows; r++) columns.push_back(g.a.data() + r * g.row_stride);
  MatrixPass pass;
  pass.weights = packed.data(), pass.block_stride = g.k * gemm_block, pass.channels = g.channels;
  pass.columns = columns.data(), pass.k = g.k, pass.chunk_k = g.k > 100 ? 64 : g.k;
  pass.bias = given(g.bias), pass.out_stride = g.channels, pass.residual_stride = g.residual_stride;
  const PassRun run{y.data(), given(g.residual), g.rows};
  AlignedBuffer scratch(pass_scratch_bytes(g.rows));
  matrix_pass(pass, {&run, 1}, 0, g.channels, g.epilogue, reinterpret_cast<float*>(scratch.data()));
  return y;
}

TEST_P(GemvKernel, HasTheBitsOfTheMatrixPass) {
  Random random(3);
  for (int trial = 0; trial < 200; trial++) {
    GemvCase g = random_gemv(random, test::between(random, 1, gemv_max_rows), test::pick(random, depths),
                             test::between(random, 1, 150));
    g.k_stride = 1, g.row_stride = g.k + test::between(random, 0, 5);
    g.a = test::Floats(random, (g.rows - 1) * g.row_stride + g.k);
    ASSERT_TRUE(test::same_bits(run_gemv(g), by_matrix_pass(g))) << "trial " << trial;
  }
}

TEST_P(GemvKernel, WeightsOf16BitsAreWidened) {
  Random random(7);
  for (int trial = 0; trial < 200; trial++) {
    GemvCase g = random_gemv(random, test::between(random, 1, gemv_max_rows), test::pick(random, depths),
                             test::between(random, 1, 150));
    g.weights = trial % 2 ? DType::f16 : DType::bf16;
    for (int64_t i = 0; i < g.b.size(); i++)
      g.b[i] = trial % 2 ? to_float(to_half(g.b[i])) : to_float(to_bfloat16(g.b[i]));
    if (trial % 8 == 1) g.b[test::between(random, 0, g.b.size() - 1)] = 0x1p-24f;  // the least of f16
    ASSERT_TRUE(is_the_chain(g, 0, g.channels)) << "trial " << trial;
  }
}

TEST_P(GemvKernel, SpecialValuesStayInTheirRowAndChannel) {
  Random random(4);
  for (float value : {NAN, INFINITY, -INFINITY, 3e38f, 1e-45f})
    for (int64_t rows = 1; rows <= gemv_max_rows; rows++)
      for (bool in_weights : {false, true})
        for (int trial = 0; trial < 8; trial++) {
          GemvCase g = random_gemv(random, rows, 17, 77);
          test::Floats& x = in_weights ? g.b : g.a;
          x[test::between(random, 0, x.size() - 1)] = value;
          ASSERT_TRUE(is_the_chain(g, 0, g.channels)) << value;
        }
}

// The caller runs the program: what it is given is the sum with its bias, whatever else the epilogue names.
TEST_P(GemvKernel, AProgramIsLeftToTheCaller) {
  Random random(5);
  GemvCase g = random_gemv(random, 2, 50, 70);
  g.residual = {}, g.bias = test::Floats(random, g.channels), g.epilogue.activation = Activation::none;
  const std::vector<float> plain = run_gemv(g);
  MapCode negated{};
  negated.inputs = negated.count = 1;
  negated.code[0] = {MapOp::neg, 0};
  g.epilogue.code = &negated;
  EXPECT_TRUE(test::same_bits(run_gemv(g), plain));
}

TEST(GemvKernelBits, EqualOnAvx2AndAvx512) {
  if (!test::has_avx512()) GTEST_SKIP() << "no AVX-512 here to compare with";
  Random random(6);
  for (int trial = 0; trial < 100; trial++) {
    const GemvCase g = random_gemv(random, test::between(random, 1, gemv_max_rows), test::between(random, 1, 700),
                                   test::between(random, 1, 200));
    EXPECT_TRUE(test::same_bits_at_both_widths([&] { return run_gemv(g); })) << "trial " << trial;
  }
}

}  // namespace
}  // namespace pando::kernels
