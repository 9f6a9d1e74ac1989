// The CPU quota of control groups: where this process's groups are mounted, and what they and those around them say.
#include <algorithm>
#include <fstream>
#include <limits>
#include <sstream>
#include <vector>

#include "base/cpu.hpp"

namespace pando {
namespace {

constexpr double unlimited = std::numeric_limits<double>::infinity();

struct Mount {
  std::string root, point;  // the group that is mounted, and where
};

bool lists(const std::string& comma_separated, const std::string& word) {
  return ("," + comma_separated + ",").find("," + word + ",") != std::string::npos;
}

// Spaces and the like stand as \ooo in mountinfo.
std::string unescape(const std::string& text) {
  std::string out;
  for (size_t i = 0; i < text.size(); i++) {
    const bool octal = text[i] == '\\' && i + 3 < text.size() && text.find_first_not_of("01234567", i + 1) > i + 3;
    out += octal ? static_cast<char>(std::stoi(text.substr(i + 1, 3), nullptr, 8)) : text[i];
    if (octal) i += 3;
  }
  return out;
}

// Mounts of version 2 (`version` 2), or of version 1 with the cpu controller: proc(5), "mountinfo".
std::vector<Mount> mounts(const std::string& root, int version) {
  std::vector<Mount> found;
  std::ifstream file(root + "/proc/self/mountinfo");
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string id, parent, device, word, type, source, super;
    Mount mount;
    words >> id >> parent >> device >> mount.root >> mount.point;
    while (words >> word && word != "-") {
    }
    words >> type >> source >> super;
    if (version == 2 ? type != "cgroup2" : type != "cgroup" || !lists(super, "cpu")) continue;
    found.push_back({unescape(mount.root), unescape(mount.point)});
  }
  return found;
}

// The folder of group `path` under the mount; one outside of what is mounted is the mount's own.
std::string folder(const Mount& mount, const std::string& path) {
  if (path.find("/..") != std::string::npos) return mount.point;  // outside of our namespace
  std::string below = path;
  if (mount.root != "/") {
    const bool inside = path == mount.root || path.rfind(mount.root + "/", 0) == 0;
    below = inside ? path.substr(mount.root.size()) : std::string();
  }
  return below == "/" ? mount.point : mount.point + below;
}

double limit_in(const std::string& folder, int version) {
  double period = 0;
  if (version == 2) {
    std::string quota;
    std::ifstream file(folder + "/cpu.max");
    if (!(file >> quota >> period) || quota == "max" || period <= 0) return unlimited;
    std::istringstream number(quota);
    double limit = 0;
    return number >> limit && limit > 0 ? limit / period : unlimited;
  }
  double limit = 0;
  std::ifstream quota(folder + "/cpu.cfs_quota_us"), of(folder + "/cpu.cfs_period_us");
  return quota >> limit && of >> period && limit > 0 && period > 0 ? limit / period : unlimited;
}

double least_of_ancestors(const std::string& root, const Mount& mount, const std::string& path, int version) {
  double least = unlimited;
  for (std::string at = folder(mount, path); at.size() >= mount.point.size(); at.resize(at.rfind('/'))) {
    least = std::min(least, limit_in(root + at, version));
    if (at.rfind('/') == std::string::npos) break;
  }
  return least;
}

}  // namespace

double cpu_quota(const std::string& root) {
  double least = unlimited;
  std::ifstream file(root + "/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {  // number:controllers:path
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1), path = line.substr(second + 1);
    const int version = controllers.empty() ? 2 : 1;
    if (version == 1 && !lists(controllers, "cpu")) continue;
    for (const Mount& mount : mounts(root, version))
      least = std::min(least, least_of_ancestors(root, mount, path, version));
  }
  return least;
}

}  // namespace pando
