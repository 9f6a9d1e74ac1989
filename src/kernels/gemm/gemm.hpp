// Batch-reduce matrix multiplication: under Winograd's small products and attention (convolution: gemm/fused.hpp).
//
//   C(i, j) (+)= sum over q, p of A_q(i, p) * B_q(p, j)      i < m, j < n, p < k, q < count
//
// column-major: A_q at a + a_offsets[q] bytes with column stride lda (packed weights: 32 output channels are
// contiguous), B_q at b + b_offsets[q] with column stride ldb (pixels or tokens), C with column stride ldc. Every
// element is the plain chain of fused multiply-adds in the order of q, then p, on every path and for every m, n and
// split of the batch into calls that accumulate: how work is cut never changes a bit.
#pragma once
#include <atomic>
#include <cstdint>
#include <vector>

#include "base/attributes.hpp"
#include "base/blocks.hpp"

namespace pando::kernels {

using GemmOffset = unsigned long long;  // bytes
using GemmJit = void (*)(const float* a, const float* b, float* c, const GemmOffset* count, const GemmOffset* a_offsets,
                         const GemmOffset* b_offsets);

struct GemmShape {
  int m = 0, n = 0, k = 0, lda = 0, ldb = 0, ldc = 0;
  bool accumulate = false;
};
// The portable kernel: any m, n, k >= 1; ldb >= 1. Fused where the CPU has an fma instruction.
void gemm_portable(const GemmShape& shape, const float* a, const float* b, float* c, GemmOffset count,
                   const GemmOffset* a_offsets, const GemmOffset* b_offsets);

inline constexpr int gemm_block = column_block;  // output channels of one packed block
inline constexpr int gemm_max_n = 64;            // columns of one call
inline constexpr int gemm_m_step = 8;

// Rows (m) that a call must compute when `wanted` of them (1..32) are needed, for n columns: LIBXSMM leaves the fma
// chain on AVX-512 when m <= 16 and n is in 2..11.
int gemm_rows(int wanted, int n);

// The kernels of all m in {8, 16, 24, 32} and n in 1..64 for one k and one set of strides. Interned: lives as long as
// the process, so that a Program can hold its address. JIT kernels are made by `prepare`, before runs; a kernel that
// was not prepared, or that LIBXSMM refuses, runs the portable one.
class GemmFamily {
 public:
  const int k, lda, ldb, ldc;

  // Thread-safe; both with and without accumulation when `accumulate`.
  void prepare(int m, int n, bool accumulate) const;
  // The JIT kernels that there are by now.
  struct Call {
    int m = 0, n = 0;
    bool accumulate = false;
    PANDO_FIELDS(m, n, accumulate)
  };
  std::vector<Call> prepared() const;
  void operator()(int m, int n, bool accumulate, const float* a, const float* b, float* c, GemmOffset count,
                  const GemmOffset* a_offsets, const GemmOffset* b_offsets) const {
    GemmJit jit = slot(m, n, accumulate).load(std::memory_order_acquire);
    if (jit != nullptr) return jit(a, b, c, &count, a_offsets, b_offsets);
    gemm_portable({m, n, k, lda, ldb, ldc, accumulate}, a, b, c, count, a_offsets, b_offsets);
  }

  GemmFamily(int k, int lda, int ldb, int ldc) : k(k), lda(lda), ldb(ldb), ldc(ldc) {}  // use gemm_family()

 private:
  std::atomic<GemmJit>& slot(int m, int n, bool accumulate) const {
    return jit_[m / gemm_m_step - 1][accumulate][n - 1];
  }
  mutable std::atomic<GemmJit> jit_[gemm_block / gemm_m_step][2][gemm_max_n] = {};
};
// Thread-safe. Families made under another instruction set limit are other families.
const GemmFamily* gemm_family(int k, int lda, int ldb, int ldc);

}  // namespace pando::kernels
