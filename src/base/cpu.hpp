// What this process may use of the machine: CPUs, quota, instruction set.
#pragma once
#include <string>
#include <vector>

namespace pando {

// CPUs of the affinity mask, in order; at most ceil(cgroup quota) of them (cpu.max of v2, cfs quota of v1).
std::vector<int> allowed_cpus();
std::string cpu_name();  // from /proc/cpuinfo

enum class Isa { portable, avx2, avx512 };
const char* name_of(Isa isa);
// The best instruction set that both this CPU and the limit allow. The limit is process-wide; set it before the first
// model is compiled (JIT kernels made earlier stay as they are). Sanitizer builds are limited to `portable` matrix
// kernels, since sanitizers do not see JIT code.
Isa active_isa();
void limit_isa(Isa limit);

}  // namespace pando
