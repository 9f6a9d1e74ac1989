#include "cli/process.hpp"

#include <fstream>
#include <string>

namespace pando::cli {
namespace {

// Not getrusage: its peak includes that of the process that forked this one.
double status_mb(const std::string& key) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.rfind(key, 0) == 0) return std::stod(line.substr(key.size())) / 1024;
  return 0;
}

}  // namespace

double memory_mb() { return status_mb("VmRSS:"); }
double peak_memory_mb() { return status_mb("VmHWM:"); }

}  // namespace pando::cli
