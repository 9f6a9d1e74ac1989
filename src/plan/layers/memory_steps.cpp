#include "plan/layers/memory_steps.hpp"

#include <algorithm>

#include "base/error.hpp"

namespace pando::plan {

double StepTable::entering(size_t layer, int from, int to, int64_t steps) const {
  double before = at(layer, from, steps);
  return layer == 0
             ? before
             : before + chain_.layers[layer].enter[static_cast<size_t>(from) * static_cast<size_t>(chain_.layouts) +
                                                   static_cast<size_t>(to)];
}

StepTable::StepTable(const StepChain& chain, int64_t capacity)
    : chain_(chain), width_(static_cast<size_t>(capacity) + 1) {
  auto layouts = static_cast<size_t>(chain.layouts);
  table_.assign((chain.layers.size() + 1) * layouts * width_, std::numeric_limits<double>::infinity());
  std::fill_n(table_.begin(), layouts * width_, 0.0);
  std::vector<double> best(width_);
  for (size_t l = 0; l < chain.layers.size(); l++)
    for (int to = 0; to < chain.layouts; to++) {
      const auto& options = chain.layers[l].options;
      if (std::none_of(options.begin(), options.end(), [&](const StepOption& o) { return o.layout == to; })) continue;
      std::fill(best.begin(), best.end(), std::numeric_limits<double>::infinity());
      for (int from = 0; from < chain.layouts; from++) {
        const double* before = &table_[(l * layouts + static_cast<size_t>(from)) * width_];
        double enter =
            l == 0 ? 0 : chain.layers[l].enter[static_cast<size_t>(from) * layouts + static_cast<size_t>(to)];
        for (size_t e = 0; e < width_; e++) best[e] = std::min(best[e], before[e] + enter);
      }
      double* here = &table_[((l + 1) * layouts + static_cast<size_t>(to)) * width_];
      for (const StepOption& o : options) {
        if (o.layout != to || o.memory > capacity) continue;
        auto m = static_cast<size_t>(o.memory);
        for (size_t e = m; e < width_; e++) here[e] = std::min(here[e], best[e - m] + o.time);
      }
    }
}

double StepTable::least(int64_t capacity) const {
  double time = std::numeric_limits<double>::infinity();
  for (int y = 0; y < chain_.layouts; y++) time = std::min(time, least(capacity, y));
  return time;
}

// Walks back along sums that are equal: both sides were computed by the same operations.
std::vector<int> StepTable::choose(int64_t steps, int layout) const {
  std::vector<int> out(chain_.layers.size());
  for (size_t l = out.size(); l-- > 0;) {
    double time = at(l + 1, layout, steps);
    const auto& options = chain_.layers[l].options;
    bool found = false;
    for (size_t s = 0; s < options.size() && !found; s++) {
      const StepOption& o = options[s];
      if (o.layout != layout || o.memory > steps) continue;
      for (int from = 0; from < chain_.layouts && !found; from++) {
        if (entering(l, from, layout, steps - o.memory) + o.time != time) continue;
        out[l] = static_cast<int>(s);
        steps -= o.memory;
        layout = from;
        found = true;
      }
    }
    if (!found) fail(ErrorCode::internal, "layer-memory: no option of layer {} leads to the table's entry", l);
  }
  return out;
}

}  // namespace pando::plan
