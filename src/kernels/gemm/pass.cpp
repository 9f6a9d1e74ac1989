#include "kernels/gemm/pass.hpp"

#include <algorithm>

namespace pando::kernels {
namespace {

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// A part of the chain: `taps` taps from `tap` on, of each `count` values from `k` on.
struct Chunk {
  int64_t tap, k, taps, count;
};

const std::byte* weights_at(const MatrixPass& pass, int64_t values) {
  return static_cast<const std::byte*>(pass.weights) + values * value_bytes(pass.type);
}

FusedBlock channel_block(const MatrixPass& pass, const Chunk& c, int64_t block, int64_t hi) {
  FusedBlock f{};
  f.type = pass.type;
  f.weights = weights_at(pass, block / gemm_block * pass.block_stride + (c.tap * pass.k + c.k) * gemm_block);
  f.begin = c.k;
  f.taps = c.taps;
  f.k = c.count;
  f.channels = std::min<int64_t>(gemm_block, hi - block);
  f.y_stride = pass.out_stride;
  f.residual_stride = pass.residual_stride;
  f.bias = pass.bias ? pass.bias + block : nullptr;
  return f;
}

// One chunk of one block for all runs.
void chunk_pass(const MatrixPass& pass, std::span<const PassRun> runs, const Chunk& chunk, int64_t block, int64_t hi,
                int64_t columns, const EpilogueArgs& epilogue, float* sums) {
  FusedBlock f = channel_block(pass, chunk, block, hi);
  f.column_stride = columns;
  const bool first = chunk.tap == 0 && chunk.k == 0;
  const bool last = chunk.tap + chunk.taps == pass.taps && chunk.k + chunk.count == pass.k;
  // What comes next lies behind this chunk, or is the next block's first one.
  const int64_t bytes = chunk.taps * chunk.count * gemm_block * value_bytes(pass.type);
  const std::byte* next = last ? weights_at(pass, (block / gemm_block + 1) * pass.block_stride)
                               : static_cast<const std::byte*>(f.weights) + bytes;
  const int64_t next_bytes = last && block + gemm_block >= pass.channels ? 0 : bytes;
  int64_t done = 0;
  for (const PassRun& run : runs) {
    f.columns = pass.columns + chunk.tap * columns + done;
    f.n = run.n;
    f.y = run.c + block;
    f.residual = run.residual ? run.residual + block : nullptr;
    f.begin_sums = first ? nullptr : sums + done * gemm_block;
    f.sums = last ? nullptr : sums + done * gemm_block;
    const int64_t from = next_bytes * done / columns;
    done += run.n;
    f.ahead = next + from;
    f.ahead_bytes = next_bytes * done / columns - from;
    fused_block(epilogue, f);
  }
}

}  // namespace

void choose_chunks(MatrixPass& pass, double l2) {
  // A quarter of L2: the columns of a tile take half. Weights stream from there into registers at the speed of fma
  // (measured on Zen 3), so chunks that stay in L1 would only read and write their sums more often.
  const auto value = static_cast<double>(gemm_block * value_bytes(pass.type));
  const auto limit = std::max<int64_t>(1, static_cast<int64_t>(l2 / 4 / value));
  const auto even_part = [](int64_t extent, int64_t most) { return ceil_div(extent, ceil_div(extent, most)); };
  pass.chunk_taps = even_part(pass.taps, std::max<int64_t>(1, limit / pass.k));
  pass.chunk_k = padded_k(pass.type, even_part(pass.k, limit));
}

void matrix_pass(const MatrixPass& pass, std::span<const PassRun> runs, int64_t lo, int64_t hi,
                 const EpilogueArgs& epilogue, float* scratch) {
  int64_t columns = 0;
  for (const PassRun& run : runs) columns += run.n;
  for (int64_t block = lo; block < hi; block += gemm_block)
    for (int64_t tap = 0; tap < pass.taps; tap += pass.chunk_taps)
      for (int64_t k = 0; k < pass.k; k += pass.chunk_k)
        chunk_pass(pass, runs, {tap, k, std::min(pass.chunk_taps, pass.taps - tap), std::min(pass.chunk_k, pass.k - k)},
                   block, hi, columns, epilogue, scratch);
}

}  // namespace pando::kernels
