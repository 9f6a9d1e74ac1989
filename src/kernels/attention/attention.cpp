#include "kernels/attention/attention.hpp"

#include <cmath>
#include <utility>

#include "kernels/simd.hpp"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention/attention.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/lanes16-inl.hpp"
#include "kernels/vector_math-inl.hpp"

#ifndef PANDO_ATTENTION_SCRATCH
#define PANDO_ATTENTION_SCRATCH
namespace pando::kernels {

inline int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

// Parts of the scratch, in floats.
struct AttentionScratch {
  float* keys;     // [keys / 32][d][32]: transposed slices, zero beyond the last key
  float* values;   // [keys][wide]: zero beyond the last key and column
  float* queries;  // [48][d], scaled
  float* scores;   // [48][128]
  float* sums;     // [48][wide]: the output before it is divided
  int64_t wide;    // dv, rounded up
  AttentionScratch(std::byte* memory, int64_t d, int64_t dv, int64_t key_count) : wide(round_up(dv, gemm_block)) {
    const int64_t padded = round_up(key_count, attention_slice);
    float* at = reinterpret_cast<float*>(memory);
    const auto take = [&](int64_t floats) { return std::exchange(at, at + round_up(floats, 16)); };
    keys = take(padded * d);
    values = take(padded * wide);
    queries = take(attention_queries * d);
    scores = take(int64_t{attention_queries} * attention_keys);
    sums = take(attention_queries * wide);
    end = at;
  }
  float* end;
};

}  // namespace pando::kernels
#endif

HWY_BEFORE_NAMESPACE();
namespace pando::kernels {
namespace HWY_NAMESPACE {
namespace {

// out[p * 32 + j] = in[j * stride + p] for a slice of `count` <= 32 keys; the others are zero.
void transpose_slice(const float* in, int64_t stride, int64_t count, int64_t d, float* out) {
  if (count < attention_slice) std::fill_n(out, d * attention_slice, 0.0f);
  int64_t whole_d = 0, whole_j = 0;
#if HWY_TARGET != HWY_SCALAR
  // Squares of 4 x 4 in registers.
  const hn::CappedTag<float, 4> f;
  const hn::RepartitionToWide<decltype(f)> pairs;
  whole_d = d / 4 * 4, whole_j = count / 4 * 4;
  for (int64_t j = 0; j < whole_j; j += 4)
    for (int64_t p = 0; p < whole_d; p += 4) {
      const float* from = in + j * stride + p;
      const auto r0 = hn::LoadU(f, from), r1 = hn::LoadU(f, from + stride), r2 = hn::LoadU(f, from + 2 * stride),
                 r3 = hn::LoadU(f, from + 3 * stride);
      const auto low01 = hn::BitCast(pairs, hn::InterleaveLower(f, r0, r1));
      const auto low23 = hn::BitCast(pairs, hn::InterleaveLower(f, r2, r3));
      const auto high01 = hn::BitCast(pairs, hn::InterleaveUpper(f, r0, r1));
      const auto high23 = hn::BitCast(pairs, hn::InterleaveUpper(f, r2, r3));
      float* to = out + p * attention_slice + j;
      hn::StoreU(hn::BitCast(f, hn::InterleaveLower(pairs, low01, low23)), f, to);
      hn::StoreU(hn::BitCast(f, hn::InterleaveUpper(pairs, low01, low23)), f, to + attention_slice);
      hn::StoreU(hn::BitCast(f, hn::InterleaveLower(pairs, high01, high23)), f, to + 2 * attention_slice);
      hn::StoreU(hn::BitCast(f, hn::InterleaveUpper(pairs, high01, high23)), f, to + 3 * attention_slice);
    }
#endif
  for (int64_t j = 0; j < count; j++)
    for (int64_t p = j < whole_j ? whole_d : 0; p < d; p++) out[p * attention_slice + j] = in[j * stride + p];
}

void pack_keys(const AttentionHead& head, int64_t keys, const AttentionScratch& s) {
  for (int64_t t = 0; t < keys; t += attention_slice)
    transpose_slice(head.k + t * head.k_stride, head.k_stride, std::min<int64_t>(attention_slice, keys - t), head.d,
                    s.keys + t * head.d);
}

void pack_values(const AttentionHead& head, int64_t first, int64_t keys, const AttentionScratch& s) {
  for (int64_t t = first; t < keys; t++) {
    float* row = s.values + t * s.wide;
    std::fill(std::copy_n(head.v + t * head.v_stride, head.dv, row), row + s.wide, 0.0f);
  }
  std::fill(s.values + keys * s.wide, s.values + round_up(keys, attention_slice) * s.wide, 0.0f);
}

// Running state of the queries of a block.
struct Running {
  float top[attention_queries], sum[attention_queries];
};

// Turns a row of scores into weights e^(score - top) and brings the query's running state up to date. Keys from
// `visible` to `padded` get no weight. Returns the factor for what was summed before.
float weigh(float* scores, int64_t visible, int64_t padded, float& running_top, float& running_sum) {
  const D16 d;
  const int64_t blocks = round_up(visible, 16);  // <= padded
  std::fill(scores + visible, scores + blocks, -INFINITY);
  std::fill(scores + blocks, scores + padded, 0.0f);
  const auto larger = [](auto a, auto b) { return hn::Max(a, b); };
  Lanes16 tops = Lanes16::all(running_top);
  for_blocks16(scores, blocks, 0, [&](const Lanes16& v, int64_t) { tops = map16(tops, v, larger); });
  const float top = fold16(tops, larger);
  // As long as every score is -infinity, nothing has weight.
  const V16 shift = hn::Set(d, top == -INFINITY ? 0.0f : top);
  Lanes16 sums = Lanes16::all(0);
  transform16(scores, scores, blocks, 0, [&](const Lanes16& v, int64_t) {
    const Lanes16 e = map16(v, [&](V16 a) { return exp_nonpositive(d, hn::Sub(a, shift)); });
    sums = map16(sums, e, AddOp());
    return e;
  });
  const float factor = hn::GetLane(exp_nonpositive(d, hn::Sub(hn::Set(d, running_top), shift)));
  running_top = top;
  running_sum = running_sum * factor + fold16(sums, AddOp());
  return factor;
}

void multiply(float* x, float factor, int64_t n) {
  const V16 f = hn::Set(D16(), factor);
  transform16(x, x, n, 0, [&](const Lanes16& v, int64_t) { return map16(v, [&](V16 a) { return hn::Mul(a, f); }); });
}

void add_mask(const ScoreOperand& operand, int64_t query, int64_t first_key, int64_t n, float* scores) {
  const float* mask = operand.at(query, first_key);
  if (operand.key == 1) {
    transform16(scores, scores, n, 0, [&](const Lanes16& v, int64_t i) {
      return map16(v, i + 16 <= n ? Lanes16::load(mask + i) : Lanes16::load_some(mask + i, n - i, 0), AddOp());
    });
  } else {
    for (int64_t i = 0; i < n; i++) scores[i] += mask[i * operand.key];
  }
}

int64_t visible_keys(const AttentionHead& head, int64_t query) {
  return head.causal ? std::clamp<int64_t>(query + 1 + head.keys - head.queries, 0, head.keys) : head.keys;
}

// Scores of keys first_key .. first_key + n - 1: those from `visible` on, counted from first_key, and those that are
// not to be kept become the fill.
void replace_scores(const AttentionHead& head, int64_t query, int64_t first_key, int64_t visible, int64_t n,
                    float* scores) {
  const ScoreOperand &keep = head.keep, &fill = head.fill;
  const float* with = fill.at(query, first_key);
  if (keep.data != nullptr) {
    const float* kept = keep.at(query, first_key);
    for (int64_t i = 0; i < visible; i++) scores[i] = kept[i * keep.key] == 0 ? with[i * fill.key] : scores[i];
  }
  for (int64_t i = visible; i < n; i++) scores[i] = with[i * fill.key];
}

// Whether v has finite numbers only in keys [first, end).
bool finite_values(const AttentionHead& head, int64_t first, int64_t end) {
  const V16 zero = hn::Zero(D16());
  Lanes16 sum = Lanes16::all(0);  // of 0 * v
  for (int64_t t = first; t < end; t++)
    for_blocks16(head.v + t * head.v_stride, head.dv, 0, [&](const Lanes16& v, int64_t) {
      sum = map16(v, sum, [&](V16 a, V16 b) { return hn::MulAdd(a, zero, b); });
    });
  return fold16(sum, AddOp()) == 0;
}

// A block of queries, and whether the keys that they do not see take part.
struct QueryBlock {
  int64_t query;
  int n;
  bool all_keys;
  int64_t packed_keys;  // beyond them all scores are replaced
};

// Whether every key that a query of the block does not see has weight 0 (exp_nonpositive flushes it).
bool unseen_keys_vanish(const AttentionHead& head, const QueryBlock& block, const Running& running) {
  const ScoreOperand& fill = head.fill;
  for (int j = 0; j < block.n; j++) {
    const int64_t query = block.query + j, visible = visible_keys(head, query);
    if (visible == head.keys) continue;
    const float* with = fill.at(query, visible);
    float top = *with;
    if (fill.key != 0) {  // else one fill for all keys
      for (int64_t i = 0; i < head.keys - visible; i++) {
        const float next = with[i * fill.key];
        if (std::isnan(next)) return false;
        top = std::max(top, next);
      }
    }
    if (!(top - running.top[j] < exp_vanishes)) return false;  // NaN: not known
  }
  return true;
}

// One block of keys for a block of queries: both products and what lies between.
void key_block(const AttentionHead& head, const AttentionKernels& kernels, const AttentionScratch& s,
               const QueryBlock& block, int64_t first_key, int64_t keys, Running& running) {
  const int64_t padded = round_up(keys, attention_slice), query = block.query;
  const int n = block.n;
  const GemmOffset zero = 0;
  for (int64_t t = 0; t < padded && first_key + t < block.packed_keys; t += attention_slice)
    (*kernels.scores)(attention_slice, n, false, s.keys + (first_key + t) * head.d, s.queries, s.scores + t, 1, &zero,
                      &zero);
  for (int j = 0; j < n; j++) {
    float* row = s.scores + int64_t{j} * attention_keys;
    const int64_t visible = std::clamp<int64_t>(visible_keys(head, query + j) - first_key, 0, keys);
    const int64_t weighed = block.all_keys ? keys : visible;
    if (head.mask.data != nullptr) add_mask(head.mask, query + j, first_key, visible, row);
    if (head.fill.data != nullptr) replace_scores(head, query + j, first_key, visible, weighed, row);
    const float factor = weigh(row, weighed, padded, running.top[j], running.sum[j]);
    if (first_key > 0 && factor != 1) multiply(s.sums + j * s.wide, factor, head.dv);
  }
  GemmOffset a_offsets[attention_keys / attention_slice], b_offsets[attention_keys / attention_slice];
  const int64_t slices = padded / attention_slice;
  for (int64_t i = 0; i < slices; i++) {
    a_offsets[i] = static_cast<GemmOffset>(i * attention_slice * s.wide) * sizeof(float);
    b_offsets[i] = static_cast<GemmOffset>(i * attention_slice) * sizeof(float);
  }
  for (int64_t c = 0; c < head.dv; c += gemm_block)
    (*kernels.values)(gemm_rows(static_cast<int>(std::min<int64_t>(gemm_block, head.dv - c)), n), n, first_key > 0,
                      s.values + first_key * s.wide + c, s.scores, s.sums + c, static_cast<GemmOffset>(slices),
                      a_offsets, b_offsets);
}

void all_key_blocks(const AttentionHead& head, const AttentionKernels& kernels, const AttentionScratch& s,
                    const QueryBlock& block, Running& running) {
  std::fill_n(running.top, block.n, -INFINITY);
  std::fill_n(running.sum, block.n, 0.0f);
  const int64_t keys = block.all_keys ? head.keys : visible_keys(head, block.query + block.n - 1);
  for (int64_t t = 0; t < keys; t += attention_keys)
    key_block(head, kernels, s, block, t, std::min<int64_t>(attention_keys, keys - t), running);
}

}  // namespace

void attention_head(const AttentionHead& head, const AttentionKernels& kernels, std::byte* scratch) {
  const AttentionScratch s(scratch, head.d, head.dv, head.keys);
  const int64_t packed = visible_keys(head, head.end - 1);
  const bool fills = head.causal && head.fill.data != nullptr;
  const bool finite = !head.causal || finite_values(head, visible_keys(head, head.begin), fills ? head.keys : packed);
  const bool all_keys = fills && !finite;
  // Without a fill, a value that a query does not see must not meet its weight of 0 in the products of a block.
  const bool one_by_one = !fills && !finite;
  const int block_queries = one_by_one ? 1 : attention_queries;
  int64_t packed_values = all_keys ? head.keys : one_by_one ? 0 : packed;
  pack_keys(head, packed, s);
  pack_values(head, 0, packed_values, s);
  const D16 d;
  const V16 scale = hn::Set(d, head.scale);
  for (int64_t query = head.begin; query < head.end; query += block_queries) {
    QueryBlock block{query, static_cast<int>(std::min<int64_t>(block_queries, head.end - query)), all_keys, packed};
    if (one_by_one) {
      const int64_t seen = visible_keys(head, query);
      pack_values(head, packed_values, seen, s);
      packed_values = seen;
    }
    for (int j = 0; j < block.n; j++)
      transform16(head.q + (query + j) * head.q_stride, s.queries + j * head.d, head.d, 0,
                  [&](const Lanes16& v, int64_t) { return map16(v, [&](V16 a) { return hn::Mul(a, scale); }); });
    Running running;
    all_key_blocks(head, kernels, s, block, running);
    if (fills && !block.all_keys && !unseen_keys_vanish(head, block, running)) {
      pack_values(head, packed_values, head.keys, s);
      packed_values = head.keys;
      block.all_keys = true;
      all_key_blocks(head, kernels, s, block, running);
    }
    for (int j = 0; j < block.n; j++) {
      float* y = head.y + (query + j) * head.y_stride;
      if (visible_keys(head, query + j) == 0 && !block.all_keys) {
        std::fill_n(y, head.dv, 0.0f);
        continue;
      }
      // A sum of zero may be -0 or 0, by the number of keys without weight beside it, which is the tile's: 0 is added.
      const V16 factor = hn::Set(d, 1 / running.sum[j]), zero = hn::Zero(d);
      transform16(s.sums + j * s.wide, y, head.dv, 0, [&](const Lanes16& v, int64_t) {
        return map16(v, [&](V16 a) { return hn::MulAdd(a, factor, zero); });
      });
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace pando::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pando::kernels {

HWY_EXPORT(attention_head);

AttentionKernels attention_kernels(int64_t d, int64_t dv) {
  const int wide = static_cast<int>(round_up(dv, gemm_block)), depth = static_cast<int>(d);
  return {gemm_family(depth, attention_slice, depth, attention_keys),
          gemm_family(attention_slice, wide, attention_keys, wide)};
}

void prepare(const AttentionKernels& kernels, int64_t dv, int64_t n) {
  const auto prepare_block = [&](int columns) {
    if (columns == 0) return;
    kernels.scores->prepare(attention_slice, columns, false);
    for (int64_t c = 0; c < dv; c += gemm_block)
      kernels.values->prepare(gemm_rows(static_cast<int>(std::min<int64_t>(gemm_block, dv - c)), columns), columns,
                              true);
  };
  if (n >= attention_queries) prepare_block(attention_queries);
  prepare_block(static_cast<int>(n % attention_queries));
}

size_t attention_scratch_bytes(int64_t d, int64_t dv, int64_t keys) {
  const AttentionScratch s(nullptr, d, dv, keys);
  return reinterpret_cast<size_t>(s.end);
}

void attention_head(const AttentionHead& head, const AttentionKernels& kernels, std::byte* scratch) {
  if (head.begin < head.end) HWY_DYNAMIC_DISPATCH(attention_head)(head, kernels, scratch);
}

}  // namespace pando::kernels
#endif  // HWY_ONCE
