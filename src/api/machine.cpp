// The machine at hand as a cluster file: what can be measured in a second.
#include <sys/sysinfo.h>

#include <chrono>
#include <cstring>

#include "base/cpu.hpp"
#include "base/float_mode.hpp"
#include "base/memory.hpp"
#include "pando/pando.hpp"
#include "pando/simulate.hpp"
#include "plan/cluster/cluster.hpp"

namespace pando {
namespace {

// GB/s of copying from one large array to another, the best of a few: bytes that are copied, not read plus written.
double copy_gb_per_s() {
  constexpr size_t bytes = size_t{64} << 20;
  AlignedBuffer from(bytes), to(bytes);
  std::memset(from.data(), 1, bytes);
  std::memset(to.data(), 2, bytes);
  double best = 0;
  for (int i = 0; i < 8; i++) {
    auto begin = std::chrono::steady_clock::now();
    std::memcpy(to.data(), from.data(), bytes);
    double ns = std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - begin).count();
    best = std::max(best, static_cast<double>(bytes) / ns);
  }
  return best;
}

int64_t memory_per_device(size_t devices) {
  struct sysinfo info {};
  if (sysinfo(&info) != 0) return int64_t{4} << 30;
  return static_cast<int64_t>(info.totalram) * info.mem_unit / static_cast<int64_t>(devices);
}

}  // namespace

std::string measure_machine() {
  ScopedFloatMode mode;
  plan::Cluster c = plan::shipped_cluster("host");
  plan::DeviceKind& core = c.kinds[0];
  double copied = copy_gb_per_s();
  core.machine.peak_gflops = measure_peak_gflops(1, 100);
  core.machine.memory_gb_per_s = 2 * copied;  // read and written
  core.memory_bytes = memory_per_device(c.size());
  c.network.inside.gb_per_s = copied;
  c.source = "measured on " + cpu_name() + ": fma loop on one core, copies through memory";
  plan::connect(c);
  return plan::write_cluster(c);
}

}  // namespace pando
