// A chain of layers, each run in one of several ways that take time and memory: the fastest choice within a capacity.
// f[l][e][s] = T(l, s) + min over s' of f[l-1][e - m(l, s)][s'] + R(l, s', s), memory in whole steps (H3T: Wang et al.,
// NeurIPS 2023; Galvatron: Miao et al., PVLDB 2022).
#pragma once
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

namespace pando::plan {

struct StepOption {
  double time = 0;
  int64_t memory = 0;  // steps
  int layout = 0;      // what R depends on: how the layer's tensors lie
};
struct StepLayer {
  std::vector<StepOption> options;
  std::vector<double> enter;  // R: [layout before * layouts + layout]; unused for the first layer
};
struct StepChain {
  int layouts = 1;
  std::vector<StepLayer> layers;
};

// All of f, up to a capacity: 8 bytes per layer, layout and step.
class StepTable {
 public:
  StepTable(const StepChain& chain, int64_t capacity);
  // The least time when the last layer has this layout, within `capacity` (up to the table's); infinity: none fits.
  double least(int64_t capacity, int layout) const { return at(chain_.layers.size(), layout, capacity); }
  double least(int64_t capacity) const;
  // An option per layer that reaches least(capacity, layout), which is finite.
  std::vector<int> choose(int64_t capacity, int layout) const;

 private:
  double at(size_t layers, int layout, int64_t steps) const {
    return table_[(layers * static_cast<size_t>(chain_.layouts) + static_cast<size_t>(layout)) * width_ +
                  static_cast<size_t>(steps)];
  }
  double entering(size_t layer, int from, int to, int64_t steps) const;

  const StepChain& chain_;
  size_t width_;
  std::vector<double> table_;
};

}  // namespace pando::plan
