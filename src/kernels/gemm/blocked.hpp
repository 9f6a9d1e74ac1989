// Products with weights that are quantized in blocks (base/blocked.hpp): unpacked in registers for a few rows, into
// scratch for many, or multiplied as integers with rows that are rounded to 8 bits.
#pragma once
#include <span>

#include "base/blocked.hpp"
#include "kernels/conv/epilogue.hpp"
#include "kernels/gemm/gemm.hpp"

namespace pando::kernels {

// Packed: column blocks of 32 channels; of each, for each block along k, the 32 scales, the 32 zero points (u8), then
// the codes in words of 32 bits, [group][32 channels]: a word holds 8 codes of 4 bits, of k + 0, 4, 1, 5, 2, 6, 3, 7
// from its lowest bits on, or 4 of 8 bits, k + 0, 1, 2, 3. Whole bytes of both are then four values that follow each
// other, as vpdpbusd takes them.
struct BlockedWeights {
  const std::byte* data = nullptr;
  int64_t k = 0;
  BlockFormat format;

  int64_t block_bytes() const { return gemm_block * (int64_t{sizeof(float)} + 1 + format.code_bytes()); }
  int64_t column_bytes() const { return format.blocks(k) * block_bytes(); }
  int64_t bytes(int64_t channels) const { return (channels + gemm_block - 1) / gemm_block * column_bytes(); }
};
// `rows`: `channels` of them, see BlockFormat; scales are multiplied by alpha. Writes to.bytes(channels) to `data`.
void pack_blocked(const std::byte* rows, int64_t channels, float alpha, const BlockedWeights& to, std::byte* data);

// Column block `column` as float32: [k][32], (code - zero) * scale.
void unpack_column(const BlockedWeights& weights, int64_t column, float* to);

// y = finish(a b + bias) for some rows of a.
struct BlockedProduct {
  const float* a;  // element (r, p) at a[r * row_stride + p * k_stride]
  int64_t rows, row_stride, k_stride;
  BlockedWeights weights;
  const float* bias;  // of channel 0, or null
  float* y;           // of channel 0
  int64_t y_stride;
  const float* residual;  // of channel 0, or null
  int64_t residual_stride;
};
enum class BlockedForm : uint8_t {
  // Sums over a block are chains of multiply-adds in the order of k of float32 rows with codes; then
  // y = y + scale * (sum - zero * sum of the row's values), block by block.
  floats,
  // Rows are rounded to 8 bits, by the largest magnitude of each block; sums over a block are exact integers. Only
  // where has_dots() (kernels/gemm/integer_dots.hpp).
  bytes,
};
// Channels [lo, hi) of all rows, lo a multiple of 32. A program (epilogue.code) is left to the caller.
void blocked_product(BlockedForm form, const BlockedProduct& product, int64_t lo, int64_t hi,
                     const EpilogueArgs& epilogue, std::byte* scratch);
size_t blocked_scratch_bytes(BlockedForm form, int64_t rows, const BlockedWeights& weights);

// ---- parts of blocked_product ----

// Rows as blocked_bytes takes them: codes [rows][whole blocks], scales and sums of codes [rows][blocks].
struct ByteRows {
  int8_t* codes;
  float *scale, *sum;
};
void round_rows(const BlockedProduct& product, const ByteRows& to);
// sums[rows][32] of one column block.
void byte_sums(const BlockedWeights& weights, const ByteRows& rows, int64_t first, int64_t count, int64_t column,
               float* sums);

}  // namespace pando::kernels
