#include "plan/plan.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace pando::plan {
namespace {

constexpr const char* keep_names[] = {"keep", "recompute", "offload"};
constexpr const char* gradients_names[] = {"overlap", "after"};
constexpr const char* collective_names[] = {"ring", "hierarchical", "auto"};
constexpr const char* links_names[] = {"fifo", "fair"};

template <class T, size_t n>
bool find_name(std::string_view name, const char* const (&names)[n], T& out) {
  for (size_t i = 0; i < n; i++)
    if (name == names[i]) return out = static_cast<T>(i), true;
  return false;
}

// Where piece `at` of `pieces` begins.
int64_t cut(const std::vector<double>& ratio, int64_t extent, int64_t pieces, int64_t at) {
  if (ratio.empty()) return extent * at / pieces;
  double all = std::accumulate(ratio.begin(), ratio.end(), 0.0);
  double before = std::accumulate(ratio.begin(), ratio.begin() + at, 0.0);
  return std::clamp<int64_t>(std::llround(static_cast<double>(extent) * before / all), 0, extent);
}

const std::vector<double>& ratio_of(const Split& s, int dim) {
  static const auto& equal = *new std::vector<double>;  // never destroyed
  return s.ratios.empty() ? equal : s.ratios[static_cast<size_t>(dim)];
}

}  // namespace

const char* name_of(Keep k) { return keep_names[static_cast<int>(k)]; }
const char* name_of(Gradients g) { return gradients_names[static_cast<int>(g)]; }
const char* name_of(Collective c) { return collective_names[static_cast<int>(c)]; }
const char* name_of(Links l) { return links_names[static_cast<int>(l)]; }
bool parse(std::string_view name, Gradients& out) { return find_name(name, gradients_names, out); }
bool parse(std::string_view name, Collective& out) { return find_name(name, collective_names, out); }
bool parse(std::string_view name, Links& out) { return find_name(name, links_names, out); }

Extents Split::grid(int rank) const {
  Extents e;
  e.rank = static_cast<int8_t>(rank);
  for (int i = 0; i < rank; i++) e[i] = degree[static_cast<size_t>(i)];
  return e;
}

Interval Split::piece(int dim, int64_t extent, int64_t at) const {
  int64_t pieces = degree[static_cast<size_t>(dim)];
  if (pieces == 1) return {0, extent};
  const std::vector<double>& r = ratio_of(*this, dim);
  return {cut(r, extent, pieces, at), cut(r, extent, pieces, at + 1)};
}

}  // namespace pando::plan
