#include "base/cpu.hpp"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <fstream>

#include "base/machine.hpp"

namespace pando {
namespace {

Isa detect() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512cd"))
    return Isa::avx512;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return Isa::avx2;
#endif
  return Isa::portable;
}

std::atomic<Isa> isa_limit{Isa::avx512};

}  // namespace

std::vector<int> allowed_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<int> cpus;
  if (sched_getaffinity(0, sizeof set, &set) == 0)
    for (int i = 0; i < CPU_SETSIZE; i++)
      if (CPU_ISSET(i, &set)) cpus.push_back(i);
  if (cpus.empty()) cpus.push_back(0);
  return cpus;
}

int usable_cpus() {
  const double quota = std::ceil(cpu_quota());
  return static_cast<int>(std::clamp(quota, 1.0, static_cast<double>(allowed_cpus().size())));
}

std::string cpu_name() {
  std::ifstream f("/proc/cpuinfo");
  for (std::string line; std::getline(f, line);)
    if (line.rfind("model name", 0) == 0) return line.substr(line.find(':') + 2);
  return "unknown CPU";
}

const char* name_of(Isa isa) { return isa == Isa::avx512 ? "avx512" : isa == Isa::avx2 ? "avx2" : "portable"; }

Isa active_isa() {
  static const Isa detected = detect();
  return std::min(detected, isa_limit.load(std::memory_order_relaxed));
}

void limit_isa(Isa limit) { isa_limit.store(limit, std::memory_order_relaxed); }

bool has_bf16() {
#if defined(__x86_64__) && !defined(PANDO_NO_JIT)  // sanitizer builds have no kernels for AVX-512
  static const bool cpu = __builtin_cpu_supports("avx512bf16");
  return cpu && active_isa() == Isa::avx512;
#else
  return false;
#endif
}

Machine Machine::host() {
  Machine m;
  m.isa = active_isa();
  m.bf16 = has_bf16();
  m.cores = static_cast<int>(sysconf(_SC_NPROCESSORS_CONF));
  m.peak_gflops = m.isa == Isa::avx512 ? 117 : m.isa == Isa::avx2 ? 101 : 12;
  if (long b = sysconf(_SC_LEVEL1_DCACHE_SIZE); b > 0) m.l1_bytes = static_cast<double>(b);
  if (long b = sysconf(_SC_LEVEL2_CACHE_SIZE); b > 0) m.l2_bytes = static_cast<double>(b);
  if (long b = sysconf(_SC_LEVEL3_CACHE_SIZE); b > 0) m.l3_bytes = static_cast<double>(b);
  return m;
}

}  // namespace pando
