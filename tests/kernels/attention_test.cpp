// Which keys attention may leave out, by head: the rest is tested through the operator (tests/bind).
#include "kernels/attention/attention.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <vector>

#include "base/memory.hpp"

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

}  // namespace
}  // namespace pando::kernels
