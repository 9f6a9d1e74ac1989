// The machines that come with Pando: families of any size, each with its source.
#include <charconv>

#include "base/cpu.hpp"
#include "base/error.hpp"
#include "plan/cluster/cluster.hpp"

namespace pando::plan {
namespace {

struct Family {
  const char* prefix;
  const char* suffix;
  int most;
  int per_node;
  double gflops, gflops_16, memory_gb_per_s;
  int64_t memory_bytes;
  Network::Level inside, between;
  const char* source;
  double host_gb_per_s = 0;  // GPUs: PCIe 3.0 or 4.0 x16
};

constexpr int64_t bytes_per_gib = int64_t{1} << 30;

// Rates in a node and between nodes are per direction.
const Family families[] = {
    {"p100x",
     "",
     64,
     4,
     9500,
     19000,
     732,
     16 * bytes_per_gib,
     {20, 1, Sharing::pair, false},
     {12.5, 5, Sharing::port, false},
     "NVIDIA P100 SXM2 data sheet (9.5 to 10.6 TFLOP/s, 732 GB/s, NVLink 20 GB/s per direction and pair); nodes of 4 "
     "and "
     "100 Gb/s InfiniBand as in FlexFlow (SysML 2019)",
     12},
    {"p100x",
     "-10g",
     64,
     4,
     9500,
     19000,
     732,
     16 * bytes_per_gib,
     {20, 1, Sharing::pair, false},
     {1.25, 20, Sharing::port, false},
     "as p100xN, with 10 Gb/s Ethernet between nodes",
     12},
    {"k80x",
     "",
     256,
     4,
     2800,
     0,
     240,
     12 * bytes_per_gib,
     {10, 5, Sharing::bus, false},
     {7, 5, Sharing::port, false},
     "half an NVIDIA K80 (data sheet: 5.6 TFLOP/s, 480 GB/s for two chips); nodes of 4 behind one PCIe 3.0 switch and "
     "56 Gb/s between nodes as in FlexFlow (SysML 2019)",
     6},
    {"a100x",
     "",
     2048,
     8,
     19500,
     312000,
     2039,
     80 * bytes_per_gib,
     {300, 2, Sharing::port, false},
     {25, 5, Sharing::port, true},
     "NVIDIA A100 80 GB SXM data sheet and DGX A100 (NVSwitch 300 GB/s per direction, one 200 Gb/s adapter per GPU)",
     25},
    {"tpu-v2x",
     "",
     512,
     64,
     3000,
     180000,
     2400,
     64 * bytes_per_gib,
     {62, 1, Sharing::port, false},
     {12.5, 5, Sharing::port, true},
     "TPU v2 board (Jouppi et al., CACM 2020: 4 chips of 46 TFLOP/s bf16, 700 GB/s, 16 GiB; links of 496 Gb/s); fp32 "
     "is an estimate"},
    {"tpu-v3x",
     "",
     512,
     64,
     4000,
     420000,
     3600,
     128 * bytes_per_gib,
     {82, 1, Sharing::port, false},
     {12.5, 5, Sharing::port, true},
     "TPU v3 board (Jouppi et al., CACM 2020: 4 chips of 123 TFLOP/s bf16, 900 GB/s, 32 GiB; links of 656 Gb/s); fp32 "
     "is an estimate"},
};

Cluster make(const Family& f, const std::string& name, int count) {
  Cluster c;
  c.name = name;
  c.source = f.source;
  DeviceKind kind;
  kind.name = std::string(f.prefix, std::string(f.prefix).size() - 1);
  kind.machine.peak_gflops = f.gflops;
  kind.machine.memory_gb_per_s = f.memory_gb_per_s;
  kind.peak_gflops_16 = f.gflops_16;
  kind.memory_bytes = f.memory_bytes;
  kind.host_gb_per_s = f.host_gb_per_s;
  c.kinds.push_back(kind);
  for (int i = 0; i < count; i++) c.devices.push_back({0, static_cast<uint32_t>(i / f.per_node)});
  c.network.inside = f.inside;
  c.network.between = f.between;
  connect(c);
  return c;
}

// The CPU at hand: its cores as devices that copy through memory. Rates come from base/machine's table by instruction
// set, not from a measurement.
Cluster host() {
  Cluster c;
  c.name = "host";
  c.source = "table by instruction set for " + cpu_name();
  DeviceKind kind;
  kind.name = "core";
  kind.machine = Machine::host();
  kind.memory_bytes = 4 * bytes_per_gib;
  c.kinds.push_back(kind);
  c.devices.assign(static_cast<size_t>(usable_cpus()), {0, 0});
  c.network.inside = {kind.machine.memory_gb_per_s / 2, 1, Sharing::bus, false};
  connect(c);
  return c;
}

}  // namespace

Cluster shipped_cluster(const std::string& name) {
  if (name == "host") return host();
  for (const Family& f : families) {
    std::string_view rest = name, prefix = f.prefix, suffix = f.suffix;
    if (!rest.starts_with(prefix) || !rest.ends_with(suffix) || rest.size() <= prefix.size() + suffix.size()) continue;
    rest = rest.substr(prefix.size(), rest.size() - prefix.size() - suffix.size());
    int count = 0;
    auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), count);
    if (error != std::errc() || end != rest.data() + rest.size()) continue;
    if (count < 1 || count > f.most)
      fail(ErrorCode::invalid_argument, "machine '{}': {} devices, expected 1 to {}", name, count, f.most);
    return make(f, name, count);
  }
  std::string all;
  for (const std::string& n : shipped_cluster_names()) all += (all.empty() ? "" : ", ") + n;
  fail(ErrorCode::invalid_argument, "there is no machine '{}': choose one of {} or give a cluster file", name, all);
}

std::vector<std::string> shipped_cluster_names() {
  std::vector<std::string> names{"host"};
  for (const Family& f : families) names.push_back(fmt::format("{}N{}", f.prefix, f.suffix));
  return names;
}

}  // namespace pando::plan
