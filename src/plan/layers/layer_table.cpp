#include "plan/layers/layer_table.hpp"

#include <algorithm>
#include <array>

#include "plan/layers/stopwatch.hpp"

namespace pando::plan {
namespace {

constexpr int types = 3;
constexpr int states = 27;  // types of the three layers before: base 3, the latest in the lowest digit

// Elements that move into a layer of type `to` from one of type `from` (0, 1, 2 for I, II, III), as a share of its
// input.
constexpr double arriving[types][types] = {{0, 0.5, 0.5}, {0.5, 0.5, 0}, {0.5, 0, 0.5}};

// Elements that layer l moves when it has a type and the layers before it those of a state.
double moved_by(const LayerTable& table, const TableLayer& layer, int l, int type, int state) {
  const int before[3] = {state % 3, state / 3 % 3, state / 9};
  double moved = type == 0 ? layer.weights : type == 1 ? layer.output : layer.input;
  if (l > 0) moved += layer.input * arriving[before[0]][type];
  if (table.span > 0 && l >= table.first && l % table.stride == table.first % table.stride)
    moved += layer.input * arriving[before[table.span - 1]][type];
  return moved;
}

TableLevel best_level(const LayerTable& table, const std::vector<TableLayer>& now) {
  int count = static_cast<int>(now.size());
  // From the back: the least that layers l and later move, after the layers of a state. Choosing from the front then
  // finds the lowest types among equal plans. Before the first layer all types are I, which costs nothing.
  std::vector<std::array<double, states>> rest(now.size() + 1);
  rest[count].fill(0);
  auto through = [&](int l, int type, int state) {
    return moved_by(table, now[l], l, type, state) + rest[l + 1][(3 * state + type) % states];
  };
  for (int l = count - 1; l >= 0; l--)
    for (int state = 0; state < states; state++)
      rest[l][state] = std::min({through(l, 0, state), through(l, 1, state), through(l, 2, state)});
  TableLevel out;
  out.moved = rest[0][0];
  for (int l = 0, state = 0; l < count; l++) {
    int type = 0;
    while (through(l, type, state) != rest[l][state]) type++;
    out.types.push_back(type + 1);
    state = (3 * state + type) % states;
  }
  return out;
}

}  // namespace

TableOutcome search_chain(const LayerTable& table, const SearchControl& control) {
  Stopwatch watch(control);
  TableOutcome out;
  out.search = "chain";
  out.objective = "moved";
  out.unit = "elements";
  std::vector<TableLayer> now = table.layers;
  for (int level = 0; level < table.levels; level++) {
    out.levels.push_back(best_level(table, now));
    out.value += out.levels.back().moved;
    for (size_t l = 0; l < now.size(); l++) {
      int type = out.levels.back().types[l];
      if (type != 1) now[l].weights /= 2;
      if (type != 2) now[l].output /= 2;
      if (type != 3) now[l].input /= 2;
    }
  }
  out.feasible = true;
  out.optimal = table.levels == 1;  // each level is, all together need not be
  out.proposals = static_cast<int64_t>(now.size()) * table.levels * states * types;
  out.seconds = watch.seconds();
  return out;
}

}  // namespace pando::plan
