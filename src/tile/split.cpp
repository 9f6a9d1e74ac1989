// How finely one operator is cut. More tiles give more parallelism and shorter tails but cost overhead, weights read
// again and halos computed from colder caches; the model weighs them for the machine's cores, never for the workers of
// a run, since tiles must not depend on those.
#include <algorithm>
#include <cmath>

#include "tile/internal.hpp"

namespace pando::tiling {
namespace {

constexpr int max_candidates = 7;

// Of a copy (a slice that is not an address), where the tile size is chosen. All cores share its bandwidth long before;
// and each of its tiles may have to be found behind a hundred views.
constexpr double max_copy_tiles = 256;

// Block extents to try for a dimension: the whole, then about 1/2, 1/4 ... of it, aligned. Rows of images are mostly
// multiples of 7, channels of powers of two.
int candidates(int64_t extent, int64_t align, std::array<int64_t, max_candidates>& out) {
  constexpr int64_t rows[] = {2, 4, 7, 14, 28, 56}, channels[] = {2, 4, 8, 16, 32, 64};
  int n = 0;
  out[n++] = extent;
  for (int64_t parts : align >= 16 ? channels : rows) {
    int64_t block = ((extent + parts - 1) / parts + align - 1) / align * align;
    if (block < out[n - 1] && block < extent && n < max_candidates) out[n++] = block;
  }
  return n;
}

struct Search {
  const NodeView& view;
  const AlgorithmRow& row;
  const Borders& borders;
  const Machine& machine;
  const TileOptions& options;
  const Domain& domain;
  bool copies_part;  // it is a slice that is not an address
  int dims[3];
  int count = 0;
  Extents block, best;
  double best_score = 1e300, best_us = 0;

  void consider() {
    double tiles = 1;
    Box box;
    box.rank = domain.rank;
    for (int i = 0; i < domain.rank; i++) {
      box[i] = {0, block[i]};
      if (block[i] > 0) tiles *= static_cast<double>((domain[i].extent + block[i] - 1) / block[i]);
    }
    if (copies_part && options.tile_us == 0 && tiles > max_copy_tiles) return;
    // A box in the middle: the first one has no halo above it.
    for (int k = 0; k < count; k++) {
      int i = dims[k];
      int64_t shift = domain[i].extent > 2 * block[i] ? block[i] : 0;
      box[i] = {shift, shift + block[i]};
    }
    double us = box_us(view, box, row, machine) + machine.tile_overhead_us;
    // Two views of the same tiles, weighed alike: in the middle of a flow the work spreads over the cores and a
    // tile's time is lost at the end; where everything waits for everything the cores go through them round by round.
    double cores = static_cast<double>(std::max(machine.cores, 2));
    double score = 0.5 * (tiles * us / cores + us) + 0.5 * std::ceil(tiles / cores) * us;
    if (options.tile_us > 0) score = std::abs(std::log(us / options.tile_us)) * 1e6 + tiles * us;
    if (score < best_score * (1 - 1e-9)) {
      best_score = score;
      best = block;
      best_us = us;
    }
  }

  // Outer dimensions vary fastest, so that of equally good cuts the one of the outermost dimension is found first.
  void descend(int k) {
    if (k < 0) return consider();
    std::array<int64_t, max_candidates> list{};
    int i = dims[k], n = candidates(domain[i].extent, borders.preferred[i], list);
    for (int c = 0; c < n; c++) {
      block[i] = list[c];
      descend(k - 1);
    }
    block[i] = domain[i].extent;
  }
};

}  // namespace

OpTiles Splitter::split(NodeId n) {
  NodeView view{graph_, graph_.nodes[n]};
  OpTiles out;
  out.node = n;
  out.domain = view.node.op->domain(view);
  const Candidate candidate{view, out.domain, &storage_, options_.winograd, machine_.bf16, options_.precision};
  const AlgorithmRow& row = options_.references ? algorithm_rows().back() : choose_row(candidate);
  const Borders borders = borders_of(row, candidate);
  out.row = &row;
  int rank = out.domain.rank;
  std::vector<int64_t> key{static_cast<int64_t>(reinterpret_cast<intptr_t>(view.node.op)),
                           &row - algorithm_rows().data()};
  for (int i = 0; i < rank; i++)
    key.insert(key.end(), {out.domain[i].extent, borders.preferred[i], borders.may_cut[i]});
  for (int i = 0; i < view.inputs(); i++) {
    key.push_back(-1);
    if (view.has(i)) key.insert(key.end(), view.in_shape(i).begin(), view.in_shape(i).end());
  }
  auto known = known_.find(key);
  if (known == known_.end()) {
    Search search{view, row, borders, machine_, options_, out.domain, addresses(view, Addressing::part),
                  {},   0,   {},      {},       1e300,    0};
    search.block.rank = static_cast<int8_t>(rank);
    for (int i = 0; i < rank; i++) search.block[i] = out.domain[i].extent;
    // Cut at most three dimensions: the outer two, and the output features of matrix operators.
    for (int i = 0; i < rank; i++)
      if (borders.may_cut[i] && out.domain[i].extent > 1 && (search.count < 2 || out.domain[i].tag == Tag::parameter) &&
          search.count < 3)
        search.dims[search.count++] = i;
    search.descend(search.count - 1);
    known = known_.emplace(std::move(key), Choice{search.best, search.best_us}).first;
  }
  out.block = known->second.block;
  out.tile_us = known->second.us;
  out.grid.rank = static_cast<int8_t>(rank);
  uint64_t tiles = 1;
  for (int i = 0; i < rank; i++) {
    out.block[i] = std::max<int64_t>(out.block[i], 1);
    out.grid[i] = std::max<int64_t>((out.domain[i].extent + out.block[i] - 1) / out.block[i], 1);
    tiles *= static_cast<uint64_t>(out.grid[i]);  // of few cuts in at most three dimensions
  }
  out.tile_count = static_cast<uint32_t>(tiles);
  return out;
}

}  // namespace pando::tiling
