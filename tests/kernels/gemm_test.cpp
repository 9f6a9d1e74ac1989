// The batch-reduce kernels keep the plain fma chain, bit for bit, on every path.
#include "kernels/gemm/gemm.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "base/cpu.hpp"
#include "kernels/gemm/fused.hpp"
#include "kernels/gemm/pass.hpp"

namespace pando::kernels {
namespace {

struct Problem {
  GemmShape shape;
  std::vector<float> a, b, c;
  std::vector<GemmOffset> a_offsets, b_offsets;
};

Problem make_problem(std::mt19937& rng, GemmShape s, int count) {
  std::normal_distribution<float> value;
  Problem p{s, {}, {}, {}, {}, {}};
  const size_t a_size = static_cast<size_t>(s.k) * static_cast<size_t>(s.lda) + 32;
  const size_t b_size = static_cast<size_t>(s.n) * static_cast<size_t>(s.ldb);
  for (int q = 0; q < count; q++) {  // in any order, overlapping
    p.a_offsets.push_back(4 * (rng() % 100 + static_cast<unsigned>(q) * a_size));
    p.b_offsets.push_back(4 * (rng() % 100 + static_cast<unsigned>(q) * 7));
  }
  p.a.resize(a_size * static_cast<size_t>(count) + 100);
  p.b.resize(b_size + 7 * static_cast<size_t>(count) + 100);
  p.c.resize(static_cast<size_t>(s.n) * static_cast<size_t>(s.ldc));
  for (auto* v : {&p.a, &p.b, &p.c})
    for (float& x : *v) x = value(rng);
  return p;
}

std::vector<float> chain(const Problem& p) {
  const GemmShape& s = p.shape;
  std::vector<float> c = p.c;
  for (int j = 0; j < s.n; j++)
    for (int i = 0; i < s.m; i++) {
      float sum = s.accumulate ? c[static_cast<size_t>(j * s.ldc + i)] : 0;
      for (size_t q = 0; q < p.a_offsets.size(); q++)
        for (int k = 0; k < s.k; k++)
          sum = std::fma(p.a[p.a_offsets[q] / 4 + static_cast<size_t>(k * s.lda + i)],
                         p.b[p.b_offsets[q] / 4 + static_cast<size_t>(j * s.ldb + k)], sum);
      c[static_cast<size_t>(j * s.ldc + i)] = sum;
    }
  return c;
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

GemmShape random_shape(std::mt19937& rng, int m, int n) {
  const int ks[] = {1, 2, 3, 5, 16, 21, 32, 48, 64, 97};
  GemmShape s{m, n, ks[rng() % 10], 0, 0, 0, rng() % 2 == 0};
  s.lda = rng() % 2 ? 32 : m + static_cast<int>(rng() % 40);
  if (s.lda < m) s.lda = m;
  s.ldb = s.k + static_cast<int>(rng() % 20);
  s.ldc = m + static_cast<int>(rng() % 40);
  return s;
}

// The portable build target multiplies and adds with two roundings on a CPU without fma.
bool has_fma() { return active_isa() != Isa::portable; }

TEST(Gemm, PortableIsTheFmaChainForAnyShape) {
  if (!has_fma()) GTEST_SKIP();
  std::mt19937 rng(1);
  for (int t = 0; t < 300; t++) {
    Problem p = make_problem(rng, random_shape(rng, 1 + static_cast<int>(rng() % 70), 1 + static_cast<int>(rng() % 20)),
                             1 + static_cast<int>(rng() % 12));
    std::vector<float> expected = chain(p);
    gemm_portable(p.shape, p.a.data(), p.b.data(), p.c.data(), p.a_offsets.size(), p.a_offsets.data(),
                  p.b_offsets.data());
    ASSERT_TRUE(same_bits(expected, p.c)) << p.shape.m << 'x' << p.shape.n << 'x' << p.shape.k;
  }
}

TEST(Gemm, FamilyIsTheFmaChainForEveryNItOffers) {
  if (!has_fma()) GTEST_SKIP();
  std::mt19937 rng(2);
  for (int wanted : {8, 16, 24, 32})
    for (int n = 1; n <= gemm_max_n; n += 1 + static_cast<int>(rng() % 3)) {
      Problem p = make_problem(rng, random_shape(rng, gemm_rows(wanted, n), n), 1 + static_cast<int>(rng() % 12));
      const GemmShape& s = p.shape;
      std::vector<float> expected = chain(p);
      const GemmFamily* family = gemm_family(s.k, s.lda, s.ldb, s.ldc);
      family->prepare(s.m, s.n, s.accumulate);
      (*family)(s.m, s.n, s.accumulate, p.a.data(), p.b.data(), p.c.data(), p.a_offsets.size(), p.a_offsets.data(),
                p.b_offsets.data());
      ASSERT_TRUE(same_bits(expected, p.c)) << s.m << 'x' << s.n << 'x' << s.k << " lda " << s.lda;
    }
}

TEST(Gemm, SplittingTheBatchKeepsBits) {
  std::mt19937 rng(3);
  GemmShape s{32, 51, 64, 32, 70, 40, false};
  Problem p = make_problem(rng, s, 9);
  const GemmFamily* family = gemm_family(s.k, s.lda, s.ldb, s.ldc);
  EXPECT_EQ(family, gemm_family(s.k, s.lda, s.ldb, s.ldc));
  family->prepare(s.m, s.n, true);
  auto once = p.c, parts = p.c;
  (*family)(32, s.n, false, p.a.data(), p.b.data(), once.data(), 9, p.a_offsets.data(), p.b_offsets.data());
  for (GemmOffset q = 0; q < 9; q += 4)
    (*family)(32, s.n, q > 0, p.a.data(), p.b.data(), parts.data(), std::min<GemmOffset>(4, 9 - q),
              p.a_offsets.data() + q, p.b_offsets.data() + q);
  EXPECT_TRUE(same_bits(once, parts));
}

TEST(Gemm, AnUnpreparedKernelRunsThePortableOne) {
  if (!has_fma()) GTEST_SKIP();
  std::mt19937 rng(4);
  Problem p = make_problem(rng, {24, 13, 29, 33, 31, 57, true}, 5);
  auto expected = chain(p);
  (*gemm_family(29, 33, 31, 57))(24, 13, true, p.a.data(), p.b.data(), p.c.data(), 5, p.a_offsets.data(),
                                 p.b_offsets.data());
  EXPECT_TRUE(same_bits(expected, p.c));
}

TEST(Gemm, TheFusedProductIsTheProductThenTheFinish) {
  std::mt19937 rng(5);
  for (int t = 0; t < 300; t++) {
    GemmShape s = random_shape(rng, gemm_block, 1 + static_cast<int>(rng() % 50));
    s.lda = s.ldc = gemm_block;
    const auto n = static_cast<size_t>(s.n);
    Problem p = make_problem(rng, s, 1 + static_cast<int>(rng() % 5));
    const size_t taps = p.a_offsets.size();
    std::vector<float> weights;  // [taps][k][block]
    std::vector<const void*> columns;
    for (size_t q = 0; q < taps; q++) {
      const float* a = p.a.data() + p.a_offsets[q] / sizeof(float);
      weights.insert(weights.end(), a, a + s.k * gemm_block);
      for (int j = 0; j < s.n; j++) columns.push_back(p.b.data() + p.b_offsets[q] / sizeof(float) + j * s.ldb - 3);
    }
    const int64_t channels = 1 + rng() % gemm_block, y_stride = channels + rng() % 9;
    std::vector<float> bias(gemm_block), residual(n * gemm_block), y(n * static_cast<size_t>(y_stride) + 40, 7);
    for (auto* v : {&bias, &residual})
      for (float& x : *v) x = static_cast<float>(rng() % 100) - 50;
    EpilogueArgs e;
    e.activation = static_cast<Activation>(rng() % 4);
    e.residual_last = rng() % 2;
    e.lo = -3, e.hi = 5, e.slope = 0.25f;
    const float* with_bias = rng() % 3 ? bias.data() : nullptr;
    const float* with_residual = rng() % 2 ? residual.data() : nullptr;
    FusedBlock f{};
    f.weights = weights.data(), f.columns = columns.data(), f.column_stride = s.n, f.begin = 3;
    f.taps = static_cast<int64_t>(taps), f.k = s.k, f.n = s.n, f.channels = channels;
    std::vector<float> before = p.c, sums = p.c, expected = y;
    f.begin_sums = s.accumulate ? before.data() : nullptr;
    f.y = y.data(), f.y_stride = y_stride, f.bias = with_bias;
    f.residual = with_residual, f.residual_stride = gemm_block;
    f.ahead = reinterpret_cast<const std::byte*>(p.a.data()), f.ahead_bytes = 400;
    fused_block(e, f);
    gemm_portable(s, p.a.data(), p.b.data(), sums.data(), taps, p.a_offsets.data(), p.b_offsets.data());
    finish_block(
        e, {sums.data(), gemm_block, expected.data(), y_stride, with_residual, gemm_block, with_bias, s.n, channels});
    ASSERT_TRUE(same_bits(expected, y)) << s.n << " columns, " << channels << " channels";
    f.sums = p.c.data(), f.channels = gemm_block;
    fused_block(e, f);
    ASSERT_TRUE(same_bits(sums, p.c)) << s.n << " columns";
  }
}

}  // namespace
}  // namespace pando::kernels
