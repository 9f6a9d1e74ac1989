// Weights in blocks: unpacked exactly, products near those of the unpacked weights, rows rounded to 8 bits.
#include "kernels/gemm/blocked.hpp"

#include "base/memory.hpp"
#include "kernels/gemm/integer_dots.hpp"
#include "kernels/kernel_check.hpp"

namespace pando::kernels {
namespace {

struct BlockedCase {
  int64_t rows, k, channels;
  BlockFormat format;
  float alpha = 1;
  std::vector<std::byte> records;  // [channels][row bytes]
  test::Floats a, bias, residual;
  int64_t row_stride, k_stride;

  BlockedCase(Random& random, int64_t rows, int64_t k, int64_t channels, BlockFormat format)
      : rows(rows), k(k), channels(channels), format(format) {
    records.resize(static_cast<size_t>(channels * format.row_bytes(k)));
    for (std::byte& b : records) b = static_cast<std::byte>(random.below(256));
    for (int64_t i = 0; i < channels * format.blocks(k); i++) {
      std::byte* at = records.data() + i * format.block_bytes();
      const float scale = 0.01f + 0.001f * static_cast<float>(random.below(50));
      std::memcpy(at, &scale, sizeof scale);
      at[4] = static_cast<std::byte>(random.below(format.bits == 4 ? 16 : 256));
    }
    k_stride = random.below(4) ? 1 : 2, row_stride = k * k_stride + test::between(random, 0, 5);
    a = test::Floats(random, (rows - 1) * row_stride + (k - 1) * k_stride + 1);
    bias = test::Floats(random, channels), residual = test::Floats(random, rows * channels);
  }

  CodedBlock block(int64_t channel, int64_t p) const {
    return {records.data() + channel * format.row_bytes(k) + p / format.size * format.block_bytes()};
  }
  float weight(int64_t channel, int64_t p) const {
    const CodedBlock b = block(channel, p);
    return static_cast<float>(b.code(format.bits, p % format.size) - b.zero()) * (b.scale() * alpha);
  }
  float left(int64_t row, int64_t p) const { return a[row * row_stride + p * k_stride]; }
  // As it is after a's rows were rounded to 8 bits by blocks.
  float rounded(int64_t row, int64_t p) const {
    float most = 0;
    const int64_t first = p / format.size * format.size;
    for (int64_t i = first; i < std::min(first + format.size, k); i++) most = std::max(most, std::abs(left(row, i)));
    return most > 0 ? std::nearbyint(left(row, p) * (127 / most)) * (most / 127) : 0;
  }

  struct Packed {
    std::vector<std::byte> data;
    BlockedWeights weights;
  };
  Packed packed() const {
    Packed p{{}, {nullptr, k, format}};
    p.data.resize(static_cast<size_t>(p.weights.bytes(channels)));
    pack_blocked(records.data(), channels, alpha, p.weights, p.data.data());
    p.weights.data = p.data.data();
    return p;
  }
  // Channels [lo, hi) of all rows.
  std::vector<float> run(BlockedForm form, int64_t lo, int64_t hi) const {
    const Packed p = packed();
    test::Output out(rows * channels);
    BlockedProduct product{a.data(),    rows,       row_stride, k_stride,        p.weights,
                           bias.data(), out.data(), channels,   residual.data(), channels};
    AlignedBuffer scratch(blocked_scratch_bytes(form, rows, p.weights));
    EpilogueArgs epilogue;
    epilogue.activation = Activation::relu;
    blocked_product(form, product, lo, hi, epilogue, scratch.data());
    std::vector<float> y;
    for (int64_t r = 0; r < rows; r++)
      for (int64_t c = lo; c < hi; c++) y.push_back(out.take(r * channels + c));
    EXPECT_TRUE(out.rest_is_untouched());
    return y;
  }
};

constexpr BlockFormat formats[] = {{16, 4}, {32, 4}, {128, 4}, {16, 8}, {32, 8}, {64, 8}};

BlockedCase random_case(Random& random) {
  BlockedCase c(random, test::between(random, 1, 9), test::between(random, 1, 300), test::between(random, 1, 130),
                test::pick(random, formats));
  if (random.below(2)) c.alpha = 0.37f;
  return c;
}

testing::AssertionResult is_near(const BlockedCase& c, BlockedForm form, int64_t lo, int64_t hi) {
  const std::vector<float> y = c.run(form, lo, hi);
  size_t at = 0;
  for (int64_t r = 0; r < c.rows; r++)
    for (int64_t channel = lo; channel < hi; channel++) {
      double sum = 0, size = 1;
      for (int64_t p = 0; p < c.k; p++) {
        const double x = form == BlockedForm::bytes ? c.rounded(r, p) : c.left(r, p), term = c.weight(channel, p) * x;
        sum += term, size += std::abs(term);
      }
      const double want = std::max(0.0, sum + c.bias[channel] + c.residual[r * c.channels + channel]);
      if (!(std::abs(y[at++] - want) <= 2e-6 * size * 16))
        return testing::AssertionFailure() << "row " << r << ", channel " << channel << " of " << c.channels << ", k "
                                           << c.k << ": " << y[at - 1] << ", expected " << want;
    }
  return testing::AssertionSuccess();
}

class Blocked : public test::EachIsa {};
INSTANTIATE_TEST_SUITE_P(Isas, Blocked, test::all_isas(), test::isa_name);

TEST_P(Blocked, UnpacksEveryValue) {
  Random random(1);
  for (int trial = 0; trial < 60; trial++) {
    const BlockedCase c = random_case(random);
    const auto packed = c.packed();
    std::vector<float> column(static_cast<size_t>(c.k * gemm_block));
    for (int64_t first = 0; first < c.channels; first += gemm_block) {
      unpack_column(packed.weights, first / gemm_block, column.data());
      for (int64_t p = 0; p < c.k; p++)
        for (int64_t i = 0; i < std::min<int64_t>(gemm_block, c.channels - first); i++)
          ASSERT_EQ(column[static_cast<size_t>(p * gemm_block + i)], c.weight(first + i, p));
    }
  }
}

TEST_P(Blocked, Products) {
  Random random(2);
  for (int trial = 0; trial < 100; trial++) {
    const BlockedCase c = random_case(random);
    ASSERT_TRUE(is_near(c, BlockedForm::floats, 0, c.channels)) << "trial " << trial;
  }
}

// Tiles cut the channels; rows are computed in groups.
TEST_P(Blocked, HaveTheSameBitsHoweverTheyAreCut) {
  Random random(3);
  for (BlockedForm form : {BlockedForm::floats, BlockedForm::bytes}) {
    if (form == BlockedForm::bytes && !has_dots()) continue;
    for (int trial = 0; trial < 30; trial++) {
      const BlockedCase c = random_case(random);
      const std::vector<float> whole = c.run(form, 0, c.channels);
      const int64_t lo = gemm_block * test::between(random, 0, (c.channels - 1) / gemm_block);
      const int64_t hi = test::between(random, lo + 1, c.channels);
      const std::vector<float> part = c.run(form, lo, hi);
      for (int64_t r = 0; r < c.rows; r++)
        for (int64_t i = lo; i < hi; i++)
          ASSERT_EQ(part[static_cast<size_t>(r * (hi - lo) + i - lo)], whole[static_cast<size_t>(r * c.channels + i)]);
    }
  }
}

TEST_P(Blocked, RowsOf8Bits) {
  if (!has_dots()) GTEST_SKIP() << "no VNNI";
  Random random(4);
  for (int trial = 0; trial < 100; trial++) {
    const BlockedCase c = random_case(random);
    ASSERT_TRUE(is_near(c, BlockedForm::bytes, 0, c.channels)) << "trial " << trial;
  }
}

// A row of zeros has the scale 0, and gives zeros.
TEST_P(Blocked, RowsOfZeros) {
  Random random(5);
  BlockedCase c(random, 2, 70, 40, {32, 4});
  for (int64_t i = 0; i < c.a.size(); i++) c.a[i] = 0;
  ASSERT_TRUE(is_near(c, BlockedForm::floats, 0, c.channels));
  if (!has_dots()) return;
  ASSERT_TRUE(is_near(c, BlockedForm::bytes, 0, c.channels));
}

}  // namespace
}  // namespace pando::kernels
