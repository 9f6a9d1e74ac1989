// Attention of one head against scores, weights and sums in double; which keys it may leave out.
#include "kernels/attention/attention.hpp"

#include <algorithm>

#include "base/memory.hpp"
#include "kernels/kernel_check.hpp"

namespace pando::kernels {
namespace {

constexpr int64_t num_keys = 5, head_width = 8;  // queries and keys; columns of q, k and v

// All scores are 0; row t of v is t + 1.
std::vector<float> attend(const ScoreOperand& fill) {
  std::vector<float> q(num_keys * head_width, 0.0f), k(num_keys * head_width, 1.0f), v(num_keys * head_width),
      y(num_keys * head_width);
  for (int64_t i = 0; i < num_keys * head_width; i++)
    v[static_cast<size_t>(i)] = static_cast<float>(i / head_width + 1);
  AttentionHead head{};
  head.q = q.data(), head.k = k.data(), head.v = v.data(), head.y = y.data();
  head.fill = fill;
  head.q_stride = head.k_stride = head.v_stride = head.y_stride = head.d = head.dv = head_width;
  head.queries = head.keys = head.end = num_keys;
  head.scale = 1;
  head.causal = true;
  const AttentionKernels kernels = attention_kernels(head_width, head_width);
  prepare(kernels, head_width, num_keys);
  AlignedBuffer scratch(attention_scratch_bytes(head_width, head_width, num_keys));
  attention_head(head, kernels, scratch.data());
  return y;
}

TEST(Attention, NanAmongTheFillsOfUnseenKeysIsFound) {
  for (int64_t stride : {0, 1, 2, 3})
    for (int64_t key = 1; key < num_keys; key++) {
      std::vector<float> fills(static_cast<size_t>(num_keys * num_keys * 3), -1e9f);
      const ScoreOperand fill{fills.data(), num_keys * stride, stride};
      fills[static_cast<size_t>(key * stride)] = NAN;  // for query 0, and where the stride is 0 for every query
      const std::vector<float> y = attend(fill);
      for (int64_t query = 0; query < num_keys; query++) {
        const float got = y[static_cast<size_t>(query * head_width)];
        if (query == 0 || (stride == 0 && query + 1 < num_keys)) EXPECT_TRUE(std::isnan(got)) << stride << " " << key;
        else EXPECT_FLOAT_EQ(got, static_cast<float>(query + 2) / 2) << stride << " " << key << " " << query;
      }
    }
}

// One head with gaps between its rows, and operands that vary with the query, the key, both or neither. Empty: null.
struct HeadCase {
  AttentionHead head{};
  test::Floats q, k, v, mask, keep, fill;
};

int64_t rows_of(int64_t rows, int64_t stride, int64_t width) { return rows > 0 ? (rows - 1) * stride + width : 0; }

// The numbers of a score operand; `next` draws one.
template <class F>
ScoreOperand random_operand(Random& random, const AttentionHead& h, test::Floats& numbers, F next) {
  ScoreOperand operand;
  operand.key = test::between(random, 0, 2);
  operand.query = random.below(3) ? h.keys * operand.key + test::between(random, 0, 3) : 0;
  numbers = test::Floats((h.queries - 1) * operand.query + (h.keys - 1) * operand.key + 1);
  for (int64_t i = 0; i < numbers.size(); i++) numbers[i] = next();
  return operand;
}

HeadCase random_head(Random& random, int64_t queries, int64_t keys) {
  constexpr int64_t widths[] = {1, 2, 3, 7, 8, 15, 16, 17, 31, 32, 33, 64, 80};
  HeadCase c;
  AttentionHead& h = c.head;
  h.queries = h.end = queries, h.keys = keys;
  h.d = test::pick(random, widths), h.dv = test::pick(random, widths);
  for (int64_t* stride : {&h.q_stride, &h.k_stride}) *stride = h.d + test::between(random, 0, 5);
  for (int64_t* stride : {&h.v_stride, &h.y_stride}) *stride = h.dv + test::between(random, 0, 5);
  h.scale = static_cast<float>(2 / std::sqrt(static_cast<double>(h.d)));
  h.causal = random.below(2);
  c.q = test::Floats(random, rows_of(queries, h.q_stride, h.d), -2, 2);
  c.k = test::Floats(random, rows_of(keys, h.k_stride, h.d), -2, 2);
  c.v = test::Floats(random, rows_of(keys, h.v_stride, h.dv), -2, 2);
  const auto number = [&] { return static_cast<float>(2 * random.unit() - 1); };
  if (random.below(2))
    h.mask = random_operand(random, h, c.mask, [&] { return random.below(5) ? number() : -INFINITY; });
  if (random.below(2)) {
    const float with = random.below(2) ? -1e9f : -2;  // vanishes, or has weight
    h.fill = random_operand(random, h, c.fill, [&] { return with + number(); });
    if (random.below(2)) h.keep = random_operand(random, h, c.keep, [&] { return random.below(3) ? number() : 0; });
  }
  return c;
}

// With the addresses of the numbers, which a copy of the case would leave behind.
AttentionHead head_of(const HeadCase& c) {
  AttentionHead h = c.head;
  h.q = c.q.data(), h.k = c.k.data(), h.v = c.v.data();
  const auto data = [](const test::Floats& f) { return f.size() > 0 ? f.data() : nullptr; };
  h.mask.data = data(c.mask), h.keep.data = data(c.keep), h.fill.data = data(c.fill);
  return h;
}

// Queries [begin, end), dense. The scratch is as long as promised and holds NaN before.
std::vector<float> run_queries(const HeadCase& c, int64_t begin, int64_t end) {
  AttentionHead h = head_of(c);
  test::Output out(rows_of(h.queries, h.y_stride, h.dv));
  h.y = out.data(), h.begin = begin, h.end = end;
  const AttentionKernels kernels = attention_kernels(h.d, h.dv);
  prepare(kernels, h.dv, end - begin);
  AlignedBuffer scratch(attention_scratch_bytes(h.d, h.dv, h.keys));
  std::fill_n(reinterpret_cast<float*>(scratch.data()), scratch.size() / sizeof(float), NAN);
  attention_head(h, kernels, scratch.data());
  std::vector<float> y;
  for (int64_t i = begin; i < end; i++)
    for (int64_t j = 0; j < h.dv; j++) y.push_back(out.take(i * h.y_stride + j));
  EXPECT_TRUE(out.rest_is_untouched());
  return y;
}
std::vector<float> run_queries(const HeadCase& c) { return run_queries(c, 0, c.head.queries); }

// The score of a key, or -infinity where it has no weight because the query does not see it.
double expected_score(const AttentionHead& h, int64_t query, int64_t key) {
  const bool seen = !h.causal || key <= query + h.keys - h.queries;
  if (!seen) return h.fill.data ? *h.fill.at(query, key) : -INFINITY;
  if (h.keep.data && *h.keep.at(query, key) == 0) return *h.fill.at(query, key);
  double score = h.mask.data ? *h.mask.at(query, key) : 0;
  for (int64_t i = 0; i < h.d; i++) score += double{h.q[query * h.q_stride + i]} * h.k[key * h.k_stride + i] * h.scale;
  return score;
}

// A key that is left out takes no part in the sums: its value may be anything.
std::vector<double> expected_row(const AttentionHead& h, int64_t query) {
  const int64_t end =
      h.causal && !h.fill.data ? std::clamp<int64_t>(query + 1 + h.keys - h.queries, 0, h.keys) : h.keys;
  std::vector<double> scores, y(static_cast<size_t>(h.dv));
  double top = -INFINITY, sum = 0;
  for (int64_t t = 0; t < end; t++) scores.push_back(expected_score(h, query, t)), top = std::max(top, scores.back());
  for (double& s : scores) s = std::exp(s - top), sum += s;
  for (int64_t t = 0; t < end; t++)
    for (int64_t j = 0; j < h.dv; j++)
      y[static_cast<size_t>(j)] += scores[static_cast<size_t>(t)] / sum * h.v[t * h.v_stride + j];
  return y;
}

testing::AssertionResult is_attention(const HeadCase& c) {
  const AttentionHead h = head_of(c);
  const std::vector<float> y = run_queries(c);
  size_t at = 0;
  for (int64_t query = 0; query < h.queries; query++)
    for (double want : expected_row(h, query))
      if (const auto result = test::near(y[at++], want, 1e-5); !result)
        return testing::AssertionFailure()
               << "query " << query << " of " << h.queries << ", " << h.keys << " keys, d " << h.d << ", dv " << h.dv
               << (h.causal ? ", causal" : "") << ": " << result.message();
  return testing::AssertionSuccess();
}

// Around the blocks of 48 queries and 128 keys, and the slices of 32 keys.
constexpr int64_t query_counts[] = {1, 2, 3, 7, 47, 48, 49, 97},
                  key_counts[] = {1, 2, 5, 31, 32, 33, 127, 128, 129, 260};

class AttentionKernel : public test::EachIsa {};
INSTANTIATE_TEST_SUITE_P(Isas, AttentionKernel, test::all_isas(), test::isa_name);

TEST_P(AttentionKernel, RandomHeads) {
  Random random(1);
  for (int trial = 0; trial < 120; trial++)
    ASSERT_TRUE(is_attention(random_head(random, test::pick(random, query_counts), test::pick(random, key_counts))))
        << "trial " << trial;
}

TEST_P(AttentionKernel, BitsDoNotDependOnTheCutOfTheQueries) {
  Random random(2);
  for (int trial = 0; trial < 60; trial++) {
    HeadCase c = random_head(random, test::between(random, 2, 100), test::pick(random, key_counts));
    if (trial % 3 == 0) c.v[test::between(random, 0, c.v.size() - 1)] = trial % 2 ? INFINITY : NAN;
    const std::vector<float> whole = run_queries(c);
    for (int64_t begin = 0; begin < c.head.queries;) {
      const int64_t end = std::min(c.head.queries, begin + test::between(random, 1, 60));
      const std::vector<float> part = run_queries(c, begin, end);
      for (size_t i = 0; i < part.size(); i++)
        ASSERT_TRUE(test::exact(part[i], whole[static_cast<size_t>(begin * c.head.dv) + i])) << "trial " << trial;
      begin = end;
    }
  }
}

// Products that vanish leave a sum of -0, and the zeros of keys without weight behind it make it 0 again: how many of
// them there are depends on the cut.
TEST_P(AttentionKernel, TheSignOfZeroDoesNotDependOnTheCutOfTheQueries) {
  Random random(8);
  HeadCase c = random_head(random, 64, 64);
  AttentionHead& h = c.head;
  h.causal = true, h.mask = h.fill = h.keep = {}, c.mask = c.fill = c.keep = {};
  std::fill_n(c.q.data(), c.q.size(), 1.0f);
  std::fill_n(c.k.data(), c.k.size(), 0.0f);
  std::fill_n(c.k.data(), h.d, 2.0f);  // key 0 has the largest weight
  std::fill_n(c.v.data(), c.v.size(), 0.0f);
  std::fill_n(c.v.data() + 31 * h.v_stride, h.dv, -1e-45f);
  std::fill_n(c.v.data() + 32 * h.v_stride, h.dv, 1.0f);
  const std::vector<float> alone = run_queries(c, 31, 32), first = run_queries(c, 31, 40);
  for (size_t i = 0; i < alone.size(); i++) ASSERT_TRUE(test::exact(alone[i], first[i])) << i;
}

// The first queries see no key when there are more queries than keys: 0, and not the 0/0 of a sum without terms.
TEST_P(AttentionKernel, QueriesThatSeeNoKeyGiveZero) {
  Random random(3);
  for (int64_t keys : {1, 5, 40}) {
    HeadCase c = random_head(random, 60, keys);
    c.head.causal = true, c.fill = c.keep = {}, c.head.fill = c.head.keep = {};
    const std::vector<float> y = run_queries(c);
    const int64_t blind = (60 - keys) * c.head.dv;
    for (int64_t i = 0; i < blind; i++) ASSERT_EQ(y[static_cast<size_t>(i)], 0) << keys;
  }
}

TEST_P(AttentionKernel, AQueryWithoutWeightGivesNan) {
  Random random(4);
  for (int64_t keys : {1, 33, 129, 300}) {
    HeadCase c = random_head(random, 3, keys);
    c.head.causal = false, c.fill = c.keep = {}, c.head.fill = c.head.keep = {};
    c.head.mask.query = keys, c.head.mask.key = 1, c.mask = test::Floats(3 * keys);
    std::fill_n(c.mask.data() + keys, keys, -INFINITY);  // of query 1
    ASSERT_TRUE(is_attention(c)) << keys;
    c.mask[2 * keys - 1] = 0;  // its last key, in a later block than the others
    ASSERT_TRUE(is_attention(c)) << keys;
  }
}

// 0 times infinity is NaN: such a value shows where its key takes part without weight, and not where it is left out.
TEST_P(AttentionKernel, ValuesThatAreNotFinite) {
  Random random(5);
  for (float value : {INFINITY, -INFINITY, NAN})
    for (int64_t key : {0, 31, 60, 99})
      for (float fill : {-1e9f, 0.5f})
        for (bool fills : {false, true}) {
          HeadCase c = random_head(random, 100, 100);
          c.head.causal = true, c.mask = c.fill = c.keep = {}, c.head.mask = c.head.fill = c.head.keep = {};
          if (fills) c.fill = test::Floats(1, fill);
          c.v[key * c.head.v_stride] = value;
          ASSERT_TRUE(is_attention(c)) << value << " of key " << key << ", fill " << fill;
        }
}

// Scores beyond what e^x can hold: the largest takes all.
TEST_P(AttentionKernel, HugeScores) {
  Random random(6);
  for (float score : {1e4f, 1e30f})
    for (int64_t best : {0, 1, 127, 128, 199}) {
      HeadCase c = random_head(random, 5, 200);
      c.head.causal = false, c.fill = c.keep = {}, c.head.fill = c.head.keep = {};
      c.head.mask.query = 0, c.head.mask.key = 1, c.mask = test::Floats(200, -score);
      c.mask[best] = score;
      const std::vector<float> y = run_queries(c);
      for (int64_t j = 0; j < c.head.dv; j++)
        ASSERT_EQ(y[static_cast<size_t>(j)], c.v[best * c.head.v_stride + j]) << score << " at " << best;
    }
}

TEST(AttentionKernelBits, EqualOnAvx2AndAvx512) {
  if (!test::has_avx512()) GTEST_SKIP() << "no AVX-512 here to compare with";
  Random random(7);
  for (int trial = 0; trial < 60; trial++) {
    const HeadCase c = random_head(random, test::pick(random, query_counts), test::pick(random, key_counts));
    EXPECT_TRUE(test::same_bits_at_both_widths([&] { return run_queries(c); }))
        << c.head.queries << " queries, " << c.head.keys << " keys, d " << c.head.d << ", dv " << c.head.dv;
  }
}

}  // namespace
}  // namespace pando::kernels
