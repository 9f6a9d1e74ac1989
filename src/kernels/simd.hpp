// Which Highway targets are compiled and used. Include before hwy/highway.h in every file that dispatches.
#pragma once
// SSE4 is the portable baseline for vector code; AVX3 is AVX-512. Fewer targets keep the build short.
#ifdef PANDO_NO_JIT  // sanitizer builds: slow enough to compile with two
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_AVX3_DL | HWY_AVX3)
#else
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_AVX3_DL)
#endif

namespace pando::kernels {
// Makes Highway's dynamic dispatch obey base's active_isa(); called before binding. Process-wide.
void apply_isa_limit();
}  // namespace pando::kernels
