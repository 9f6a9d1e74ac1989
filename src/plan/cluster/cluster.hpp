// The machines that a plan is for: devices that may differ, links that they share, and the route between any two.
#pragma once
#include <cmath>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/machine.hpp"

namespace pando::plan {

// What a device is. `machine` holds the fp32 peak and the memory bandwidth; rates in GB/s are 1e9 bytes per second.
struct DeviceKind {
  std::string name;
  Machine machine;
  double peak_gflops_16 = 0;  // fp16 or bf16; 0: as fp32
  int64_t memory_bytes = 0;
  double matrix_efficiency = 1;  // share of the peak that matrix operators reach, of the bandwidth that others reach
  double vector_efficiency = 1;
  double task_overhead_us = 0;  // added to every task: a kernel's launch
  double host_gb_per_s = 0;     // to and from its host's memory; 0: nothing can be put there
  int64_t task_overhead_ns() const { return std::llround(task_overhead_us * 1e3); }
};

struct Device {
  uint32_t kind = 0;
  uint32_t node = 0;  // devices of one node stand behind its links to the others
};

// One direction of a wire, or a bus: moves one thing at a time (first come) or shares its rate (fair).
struct Link {
  std::string name;
  double gb_per_s = 1;
  int64_t latency_ns = 0;
};

// How the links of one level (devices of a node; nodes) are shared.
enum class Sharing : uint8_t {
  pair,  // a link per ordered pair
  port,  // everyone has one link out and one link in (a switch)
  bus,   // one link for all of a node; between nodes: one per node, for both directions
};

// How the file describes the network; kept, so that writing gives the file again.
struct Network {
  enum class Form : uint8_t { nodes, matrices, routes } form = Form::nodes;
  struct Level {
    double gb_per_s = 10, latency_us = 0;
    Sharing sharing = Sharing::port;
    bool per_device = false;  // between nodes: the ports are the devices' own, not the node's
  } inside, between;
  std::vector<std::vector<double>> gb_per_s, latency_us;  // matrices: [from][to], the diagonal is unused
  struct Route {
    uint32_t from = 0, to = 0;
    std::vector<uint32_t> links;
  };
  std::vector<Route> routes;  // of explicit links, one per ordered pair
};

struct Cluster {
  std::string name, source;
  std::vector<DeviceKind> kinds;
  std::vector<Device> devices;
  Network network;
  std::vector<Link> links;
  // Latency of a route and time per byte of its slowest link.
  struct RouteCost {
    double latency_ns = 0, ns_per_byte = 0;
    auto operator<=>(const RouteCost&) const = default;
  };
  // Links between two devices, in order: route_links[route_begin[from * devices + to] ...). Empty when from == to.
  std::vector<uint32_t> route_begin, route_links;
  std::vector<RouteCost> route_costs;      // that differ
  std::vector<uint32_t> route_cost_index;  // per pair

  size_t size() const { return devices.size(); }
  const DeviceKind& kind_of(uint32_t device) const { return kinds[devices[device].kind]; }
  // Bytes that a device may hold: `limit`, or where that is 0 what it has.
  int64_t memory_limit(uint32_t device, int64_t limit) const {
    return limit > 0 ? limit : kind_of(device).memory_bytes;
  }
  struct RouteView {
    const uint32_t* first;
    const uint32_t* last;
    const uint32_t* begin() const { return first; }
    const uint32_t* end() const { return last; }
  };
  RouteView route(uint32_t from, uint32_t to) const { return route(from * static_cast<uint32_t>(devices.size()) + to); }
  RouteView route(uint32_t pair) const {  // from * size() + to
    return {route_links.data() + route_begin[pair], route_links.data() + route_begin[pair + 1]};
  }
  const RouteCost& route_cost(uint32_t pair) const { return route_costs[route_cost_index[pair]]; }
  const RouteCost& route_cost(uint32_t from, uint32_t to) const {
    return route_cost(from * static_cast<uint32_t>(devices.size()) + to);
  }
  std::string hash() const;  // 16 hex digits of everything that a prediction depends on
};

inline constexpr size_t max_devices = 2048;

// Makes links and routes from kinds, devices and network (for Form::routes the links are given). Throws
// invalid_argument.
void connect(Cluster& cluster);
// Reads and checks a cluster file. Throws invalid_argument with one line that names the place.
Cluster read_cluster(std::string_view json);
std::string write_cluster(const Cluster& cluster);

// A machine by name: p100xN, p100xN-10g, k80xN, a100xN, tpu-v2xN, tpu-v3xN, host. Throws invalid_argument, naming what
// there is.
Cluster shipped_cluster(const std::string& name);
// Names that stand for the families above, for messages and listings.
std::vector<std::string> shipped_cluster_names();

}  // namespace pando::plan
