#include "plan/simulate/memory.hpp"

#include <algorithm>

#include "graph/ops/ops.hpp"

namespace pando::plan {
namespace {

struct Event {
  int64_t ns;
  int64_t bytes;
};

std::string gib(int64_t bytes) {
  if (bytes < int64_t{1} << 30) return fmt::format("{:.1f} MiB", static_cast<double>(bytes) / (1 << 20));
  return fmt::format("{:.1f} GiB", static_cast<double>(bytes) / (1 << 30));
}

// Distinct weights of an operator on a device are held once, however many of its parts are there.
void add_weights(const TaskGraph& graph, uint32_t op, std::vector<DeviceMemory>& out) {
  const Space& space = graph.space();
  const Config& c = graph.configs()[op];
  const PlannedOp& planned = space.ops()[op];
  Extents grid = c.split.grid(planned.domain.rank);
  std::vector<std::tuple<uint32_t, ValueId, Box>> held;
  for (uint32_t i = 0; i < c.devices.size(); i++) {
    Box box = grid_box(grid, i, [&](int d, int64_t at) { return c.split.piece(d, planned.domain[d].extent, at); });
    for (const Parameter& p : planned.parameters) {
      const Value& v = space.graph().values[p.value];
      std::tuple<uint32_t, ValueId, Box> one{c.devices[i], p.value, apply(p.rule, box, v.shape)};
      if (std::find(held.begin(), held.end(), one) != held.end()) continue;
      held.push_back(one);
      int64_t bytes = std::get<2>(one).count() * static_cast<int64_t>(size_of(v.dtype));
      out[c.devices[i]].weights += p.update == none ? bytes : resident_bytes(space, bytes);
    }
  }
}

// Per device, what begins (bytes > 0) and ends to be held, by time. What ends at a time makes room for what begins
// then.
std::vector<std::vector<Event>> activation_events(const TaskGraph& graph, const Timeline& t) {
  const Space& space = graph.space();
  const auto& stages = space.stages();
  std::vector<std::vector<Event>> events(graph.devices());
  // End of the last task of an operator's part that needs what the forward pass left.
  auto kept_until = [&](uint32_t op, uint32_t part) {
    int64_t end = 0;
    for (uint32_t s : {space.ops()[op].stages[1], space.ops()[op].stages[2]})
      if (s != none) end = std::max(end, t.times[t.base[s] + part].end);
    return end;
  };
  for (uint32_t s = 0; s < stages.size(); s++) {
    uint32_t op = stages[s].op;
    const Config& c = graph.configs()[op];
    if (stages[s].role == Role::weight_gradient) continue;  // counted with the weights
    Extents grid = c.split.grid(space.ops()[op].domain.rank);
    for (uint32_t i = 0; i < c.devices.size(); i++) {
      uint32_t at = t.base[s] + i, device = c.devices[i];
      int64_t bytes = 0, until = t.times[at].end;
      Extents coordinate;
      coordinate.rank = grid.rank;
      uint32_t rest = i;
      for (int d = grid.rank - 1; d >= 0; d--) {
        coordinate[d] = rest % static_cast<uint32_t>(grid[d]);
        rest /= static_cast<uint32_t>(grid[d]);
      }
      for (const Piece& piece : stages[s].pieces) {
        NodeView view = space.view(piece.node);
        Box box = piece.box(c.split, coordinate);
        for (int k = 0; k < view.outputs(); k++)
          bytes += apply(view.node.op->writes(view, k), box, view.out_shape(k)).count() *
                   static_cast<int64_t>(size_of(view.out(k).dtype));
      }
      for (uint32_t w : graph.wires_of(s)) {
        const Wire& wire = graph.wires()[w];
        bool flow = w < space.flows().size();  // the first wires are the flows
        for (uint32_t k = wire.begin[i]; k < wire.begin[i + 1]; k++) {
          Wire::Next n = wire.next[k];
          uint32_t reader_op = graph.block_op(wire.to);
          int64_t read_until = t.times[t.base[wire.to] + n.reader].end;
          bool keeps = flow && space.flows()[w].kept && graph.configs()[reader_op].keep == Keep::keep;
          if (keeps) read_until = std::max(read_until, kept_until(reader_op, n.reader));
          if (n.transfer == none) {
            until = std::max(until, read_until);
            continue;
          }
          uint32_t transfer = t.base[wire.transfers] + n.transfer;
          until = std::max(until, t.times[transfer].end);
          const Block& b = graph.blocks()[wire.transfers];
          uint32_t target = b.tasks[n.transfer].where % graph.devices();
          events[target].push_back({t.times[transfer].start, b.bytes[n.transfer]});
          events[target].push_back({read_until, -b.bytes[n.transfer]});
        }
      }
      if (stages[s].role == Role::forward && space.ops()[op].output_kept && c.keep == Keep::keep)
        until = std::max(until, kept_until(op, i));
      events[device].push_back({t.times[at].start, bytes});
      events[device].push_back({until, -bytes});
    }
  }
  for (auto& list : events)
    std::sort(list.begin(), list.end(),
              [](const Event& a, const Event& b) { return a.ns != b.ns ? a.ns < b.ns : a.bytes < b.bytes; });
  return events;
}

}  // namespace

int64_t resident_bytes(const Space& space, int64_t weights) {
  return space.training() ? weights * (2 + space.optimizer_states()) : weights;
}

std::vector<DeviceMemory> memory_of(const TaskGraph& graph, const Timeline& t) {
  std::vector<DeviceMemory> out(graph.devices());
  for (uint32_t o = 0; o < graph.space().ops().size(); o++) add_weights(graph, o, out);
  std::vector<std::vector<Event>> events = activation_events(graph, t);
  for (size_t d = 0; d < out.size(); d++) {
    int64_t now = 0;
    for (const Event& e : events[d]) {
      now += e.bytes;
      if (now > out[d].activations) {
        out[d].activations = now;
        out[d].peak_ns = e.ns;
      }
    }
    out[d].peak = out[d].weights + out[d].activations;
  }
  return out;
}

std::vector<int64_t> activations_at(const TaskGraph& graph, const Timeline& t, const std::vector<int64_t>& ns) {
  std::vector<int64_t> out(graph.devices(), 0);
  std::vector<std::vector<Event>> events = activation_events(graph, t);
  for (size_t d = 0; d < out.size(); d++)
    for (const Event& e : events[d])
      if (e.ns <= ns[d]) out[d] += e.bytes;
  return out;
}

std::string memory_reason(const Space& space, const std::vector<DeviceMemory>& memory, int64_t limit) {
  for (uint32_t d = 0; d < memory.size(); d++) {
    int64_t most = limit > 0 ? limit : space.cluster().kind_of(d).memory_bytes;
    const DeviceMemory& m = memory[d];
    if (m.peak > most)
      return fmt::format("device {}: {} > {}: weights{} {}, activations {} at {:.3f} ms", d, gib(m.peak), gib(most),
                         space.training() ? ", gradients and states" : "", gib(m.weights), gib(m.activations),
                         static_cast<double>(m.peak_ns) * 1e-6);
  }
  return {};
}

}  // namespace pando::plan
