// Network files: delays in ms and bandwidths in Gbit/s between all pairs of devices.
#include <fmt/format.h>

#include "plan/layers/files.hpp"

namespace pando::plan {

NetworkProblem read_network(const Json& file, const PlanRequest& request) {
  constexpr int64_t max_devices = 4096;
  NetworkProblem out;
  const Json &delay = list_of(file, "delay_ms", "the file"), &bandwidth = list_of(file, "bandwidth_gbps", "the file");
  int64_t devices =
      file.contains("devices") ? whole_of(file, "devices", "the file") : static_cast<int64_t>(delay.size());
  if (devices < 1 || devices > max_devices)
    fail(ErrorCode::invalid_model, "the file: {} devices, expected 1 to {}", devices, max_devices);
  if (request.devices && *request.devices != devices)
    fail(ErrorCode::invalid_argument, "devices: {} asked for, the network has {}", *request.devices, devices);
  int64_t groups = request.groups.value_or(8);
  if (groups < 1 || devices % groups != 0)
    fail(ErrorCode::invalid_argument, "groups: {} devices do not form {} equal groups", devices, groups);
  out.devices = static_cast<int>(devices);
  out.groups = static_cast<int>(groups);
  out.gradient_bytes = request.gradient_bytes.value_or(out.gradient_bytes);
  out.activation_bytes = request.activation_bytes.value_or(out.activation_bytes);
  auto read = [&](const Json& rows, const char* key, double scale, bool zero) {
    std::vector<double> values;
    if (static_cast<int64_t>(rows.size()) != devices)
      fail(ErrorCode::invalid_model, "\"{}\" has {} rows, expected {}", key, rows.size(), devices);
    for (int64_t i = 0; i < devices; i++) {
      std::string where = fmt::format("{}[{}]", key, i);
      if (!rows[i].is_array() || static_cast<int64_t>(rows[i].size()) != devices)
        fail(ErrorCode::invalid_model, "{}: expected a list of {} numbers", where, devices);
      for (int64_t j = 0; j < devices; j++) {
        double x = i == j ? 1 : amount(rows[i][j], std::to_string(j).c_str(), where);
        if (x == 0 && !zero) fail(ErrorCode::invalid_model, "{}: \"{}\" is 0", where, j);
        values.push_back(x * scale);
      }
    }
    return values;
  };
  out.delay = read(delay, "delay_ms", 1e-3, true);
  out.bandwidth = read(bandwidth, "bandwidth_gbps", 1e9 / 8, false);
  return out;
}

}  // namespace pando::plan
