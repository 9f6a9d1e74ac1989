#include "kernels/simd.hpp"

#include <hwy/highway.h>
#include <hwy/targets.h>

#include <mutex>

#include "base/cpu.hpp"
#include "base/process.hpp"

namespace pando::kernels {

void apply_isa_limit() {
  static auto& mutex = *new ForkAwareMutex;
  static Isa applied = Isa::avx512;  // nothing masked
  const std::lock_guard lock(mutex);
  const Isa isa = active_isa();
  if (isa == applied) return;
  applied = isa;
  hwy::SetSupportedTargetsForTest(0);  // what the CPU has
  int64_t targets = hwy::SupportedTargets();
  if (isa < Isa::avx512) targets &= ~int64_t{HWY_AVX3 | HWY_AVX3_DL};
  if (isa < Isa::avx2) targets &= ~int64_t{HWY_AVX2};
  hwy::SetSupportedTargetsForTest(targets);
}

}  // namespace pando::kernels
