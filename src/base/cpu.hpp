// What this process may use of the machine: CPUs, quota, instruction set.
#pragma once
#include <string>
#include <vector>

namespace pando {

// CPUs of the calling thread's affinity mask, in order.
std::vector<int> allowed_cpus();
// CPU-seconds per second that control groups leave to this process: the least of its own group and all groups around
// it, versions 1 and 2; infinite when none sets a limit. `root` is put before every path that is read, for tests.
double cpu_quota(const std::string& root = "");
// How many CPUs this process may keep busy: those of the mask, at most ceil(quota).
int usable_cpus();
std::string cpu_name();  // from /proc/cpuinfo

enum class Isa { portable, avx2, avx512 };
const char* name_of(Isa isa);
// The best instruction set that both this CPU and the limit allow. The limit is process-wide; set it before the first
// model is compiled (JIT kernels made earlier stay as they are). Sanitizer builds are limited to `portable` matrix
// kernels, since sanitizers do not see JIT code.
Isa active_isa();
void limit_isa(Isa limit);
bool has_bf16();  // whether it multiplies bfloat16 (AVX512_BF16), within the limit

}  // namespace pando
