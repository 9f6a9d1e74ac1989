// Attention of one head with a running maximum (Milakov and Gimelshein 2018; Dao et al. 2022, "FlashAttention"): scores
// of 48 queries against 128 keys at a time, never more. The blocks of keys lie on a grid that starts at key 0, and sums
// over keys are combined in its order, so that how queries are cut into tiles does not change a bit.
#pragma once
#include <cstddef>
#include <cstdint>

#include "base/blocks.hpp"
#include "kernels/gemm/gemm.hpp"

namespace pando::kernels {

inline constexpr int attention_keys = 128;          // per block
inline constexpr int attention_slice = gemm_block;  // keys per packed slice

// The two products: scores (keys x queries) and values (dv x queries).
struct AttentionKernels {
  const GemmFamily *scores, *values;
};
AttentionKernels attention_kernels(int64_t d, int64_t dv);
// Makes the JIT kernels for a range of n queries.
void prepare(const AttentionKernels& kernels, int64_t dv, int64_t n);

// One number per score: of (query, key) at query * `query` + key * `key`. May be absent (data null).
struct ScoreOperand {
  const float* data = nullptr;
  int64_t query = 0, key = 0;
  const float* at(int64_t q, int64_t k) const { return data + q * query + k * key; }
};

// Queries [begin, end) of one head. Rows of q, k, v, y are contiguous; the strides go from row to row. `mask` is added
// to the scores; then `fill` takes the place of scores where `keep` is 0 or, with `causal`, the query does not see the
// key. Without a fill the latter have no weight.
struct AttentionHead {
  const float *q, *k, *v;
  float* y;  // q and y: of query 0
  ScoreOperand mask, keep, fill;
  int64_t q_stride, k_stride, v_stride, y_stride;
  int64_t d, dv;
  int64_t queries, keys;  // of the whole operator: with `causal` query i sees keys 0 .. i + keys - queries
  int64_t begin, end;
  float scale;
  bool causal;
};
size_t attention_scratch_bytes(int64_t d, int64_t dv, int64_t keys);
// A query that sees no key, where there is no fill, gives 0; one whose keys are all masked by -infinity gives NaN.
//
// Keys that a causal query does not see are left out, as long as that changes no bit: their weight vanishes, and v has
// finite numbers only (0 times infinity would be NaN). Else the block of queries is done again with all keys. Without a
// fill they take no part whatever v holds: queries are done one by one where some of them do not see a value that is
// not finite.
void attention_head(const AttentionHead& head, const AttentionKernels& kernels, std::byte* scratch);

}  // namespace pando::kernels
