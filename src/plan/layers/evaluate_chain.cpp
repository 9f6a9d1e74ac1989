// Counts elements moved, rule by rule.
#include "plan/layers/layer_table.hpp"

namespace pando::plan {

std::vector<double> evaluate_chain(const LayerTable& table, const std::vector<std::vector<int>>& types) {
  std::vector<double> out;
  for (size_t level = 0; level < types.size(); level++) {
    double moved = 0;
    // How large a tensor of layer l is now: halved once for every earlier level whose type cut it.
    auto size = [&](size_t l, double whole, int uncut_by) {
      for (size_t before = 0; before < level; before++)
        if (types[before][l] != uncut_by) whole /= 2;
      return whole;
    };
    for (size_t l = 0; l < table.layers.size(); l++) {
      const TableLayer& layer = table.layers[l];
      // I leaves weights whole, II outputs, III inputs: that is what the halves exchange.
      double weights = size(l, layer.weights, 1), output = size(l, layer.output, 2), input = size(l, layer.input, 3);
      int type = types[level][l];
      moved += type == 1 ? weights : type == 2 ? output : input;
      auto arrive = [&](int from) {
        bool fits = (from == 1 && type == 1) || (from == 2 && type == 3) || (from == 3 && type == 2);
        return fits ? 0.0 : input / 2;
      };
      if (l > 0) moved += arrive(types[level][l - 1]);
      int i = static_cast<int>(l);
      if (table.span > 0 && i >= table.first && i % table.stride == table.first % table.stride)
        moved += arrive(types[level][l - static_cast<size_t>(table.span)]);
    }
    out.push_back(moved);
  }
  return out;
}

}  // namespace pando::plan
