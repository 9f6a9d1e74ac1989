// Scores groups of devices from the formula. The matching between neighbours is found by raising a threshold edge by
// edge, and its feasibility by Koenig's theorem on plain sets of columns.
#include <fmt/format.h>

#include <algorithm>
#include <functional>

#include "plan/layers/network.hpp"

namespace pando::plan {
namespace {

// Can every row be matched over the allowed pairs? Repeatedly re-routes along a shortest alternating path.
bool all_matched(const std::vector<std::vector<char>>& allowed) {
  size_t n = allowed.size();
  std::vector<size_t> partner(n, n);  // of a column
  for (size_t start = 0; start < n; start++) {
    std::vector<size_t> from(n, n + 1), queue{start};  // from[column]: the row that reached it
    size_t end = n;
    for (size_t q = 0; q < queue.size() && end == n; q++)
      for (size_t column = 0; column < n && end == n; column++) {
        if (!allowed[queue[q]][column] || from[column] <= n) continue;
        from[column] = queue[q];
        if (partner[column] == n) end = column;
        else queue.push_back(partner[column]);
      }
    if (end == n) return false;
    for (size_t column = end;;) {
      size_t row = from[column], next = n;
      for (size_t c = 0; c < n; c++)
        if (partner[c] == row) next = c;
      partner[column] = row;
      if (row == start) break;
      column = next;
    }
  }
  return true;
}

}  // namespace

NetworkScore evaluate_network(const NetworkProblem& p, const std::vector<std::vector<int>>& groups) {
  NetworkScore out;
  std::vector<int> seen(p.devices, 0);
  size_t size = groups.empty() ? 0 : groups[0].size();
  for (const auto& group : groups) {
    if (group.size() != size) out.violation = "the groups differ in size";
    for (int i : group) {
      if (i < 0 || i >= p.devices || seen[i]++ > 0) out.violation = fmt::format("device {} is not in one group", i);
    }
  }
  if (static_cast<int>(groups.size()) != p.groups || static_cast<int>(size) * p.groups != p.devices)
    out.violation = "not every device is in a group";
  if (!out.violation.empty()) return out;
  auto seconds = [&](int i, int j, double bytes) {
    size_t at = static_cast<size_t>(i) * p.devices + j;
    return p.delay[at] + bytes / p.bandwidth[at];
  };
  for (const auto& group : groups)
    for (int i : group) {
      double sum = 0;
      for (int j : group)
        if (j != i) sum += 2 * seconds(i, j, p.gradient_bytes / static_cast<double>(size));
      out.data = std::max(out.data, sum);
    }
  for (size_t g = 0; g + 1 < groups.size(); g++) {
    std::vector<double> steps;
    for (int i : groups[g])
      for (int j : groups[g + 1]) steps.push_back(seconds(i, j, p.activation_bytes));
    std::sort(steps.begin(), steps.end());
    steps.erase(std::unique(steps.begin(), steps.end()), steps.end());
    for (double step : steps) {
      std::vector<std::vector<char>> allowed(size, std::vector<char>(size, 0));
      for (size_t i = 0; i < size; i++)
        for (size_t j = 0; j < size; j++)
          allowed[i][j] = seconds(groups[g][i], groups[g + 1][j], p.activation_bytes) <= step;
      if (!all_matched(allowed)) continue;
      out.pipeline += step;
      break;
    }
  }
  out.value = out.data + 2 * out.pipeline;
  return out;
}

}  // namespace pando::plan
