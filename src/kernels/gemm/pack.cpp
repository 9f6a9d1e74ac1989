#include "kernels/gemm/pack.hpp"

#include <algorithm>
#include <cstring>

namespace pando::kernels {
namespace {

float load(const std::byte* base, int64_t index) {
  float v;
  std::memcpy(&v, base + index * static_cast<int64_t>(sizeof v), sizeof v);
  return v;
}

}  // namespace

void pack_conv_weights(const std::byte* w, const std::byte* scale, int64_t co, int64_t ci, int64_t taps, float* out) {
  const int64_t k = ci * taps;
  std::fill_n(out, packed_floats(co, k), 0.0f);
  for (int64_t block = 0; block < co; block += gemm_block) {
    float* to = out + block * k;
    const int64_t width = std::min<int64_t>(gemm_block, co - block);
    // Input channels outside: what a channel's 32 short reads touch is written to whole rows of the block.
    for (int64_t c = 0; c < ci; c++)
      for (int64_t o = 0; o < width; o++) {
        const float s = scale ? load(scale, block + o) : 1.0f;
        for (int64_t t = 0; t < taps; t++) {
          const float v = load(w, ((block + o) * ci + c) * taps + t);
          to[(t * ci + c) * gemm_block + o] = scale ? v * s : v;
        }
      }
  }
}

void pack_matrix(const std::byte* b, bool transposed, int64_t k, int64_t n, int64_t row_stride, float alpha,
                 float* out) {
  const int64_t whole = n / gemm_block * gemm_block;
  if (whole < n) std::fill(out + whole * k, out + packed_floats(n, k) - gemm_block, 0.0f);
  std::fill_n(out + packed_floats(n, k) - gemm_block, gemm_block, 0.0f);
  if (transposed) {
    for (int64_t block = 0; block < n; block += gemm_block)
      for (int64_t p0 = 0; p0 < k; p0 += 16)  // 16 rows of the block: they stay in L1 while its 32 columns are filled
        for (int64_t o = 0; o < std::min<int64_t>(gemm_block, n - block); o++)
          for (int64_t p = p0; p < std::min(p0 + 16, k); p++)
            out[block * k + p * gemm_block + o] = load(b, (block + o) * row_stride + p);
  } else {
    // A few blocks at a time: long reads, few pages open for writing.
    constexpr int64_t group = 8 * gemm_block;
    for (int64_t g = 0; g < n; g += group)
      for (int64_t p = 0; p < k; p++)
        for (int64_t block = g; block < std::min(g + group, n); block += gemm_block)
          std::memcpy(out + block * k + p * gemm_block, b + (p * row_stride + block) * 4,
                      static_cast<size_t>(std::min<int64_t>(gemm_block, n - block)) * sizeof(float));
  }
  if (alpha != 1.0f)
    for (int64_t i = 0; i < packed_floats(n, k); i++) out[i] *= alpha;
}

void pack_bf16(const StridedWeights& from, const std::byte* factor, int64_t co, int64_t taps, int64_t k, uint16_t* to) {
  const int64_t depth = padded_k(ProductType::bf16, k);
  std::fill_n(to, packed_bf16(co, taps, k), uint16_t{0});
  for (int64_t block = 0; block < co; block += gemm_block, to += taps * depth * gemm_block) {
    const int64_t width = std::min<int64_t>(gemm_block, co - block);
    // In groups of k that keep both sides in L1.
    for (int64_t t = 0; t < taps; t++)
      for (int64_t p0 = 0; p0 < k; p0 += 16)
        for (int64_t o = 0; o < width; o++) {
          const int64_t first = (block + o) * from.stride_o + t * from.stride_t;
          const float f = factor ? load(factor, block + o) : 1.0f;
          for (int64_t p = p0; p < std::min(p0 + 16, k); p++)
            to[((t * depth + p) / 2 * gemm_block + o) * 2 + p % 2] =
                to_bfloat16(load(from.w, first + p * from.stride_p) * f).bits;
        }
  }
}

void round_packed(DType type, const float* packed, int64_t values, uint16_t* to) {
  if (type == DType::f16)
    for (int64_t i = 0; i < values; i++) to[i] = to_half(packed[i]).bits;
  else
    for (int64_t i = 0; i < values; i++) to[i] = to_bfloat16(packed[i]).bits;
}

}  // namespace pando::kernels
