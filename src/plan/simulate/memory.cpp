#include "plan/simulate/memory.hpp"

#include <algorithm>
#include <map>

#include "graph/ops/ops.hpp"

namespace pando::plan {
namespace {

struct Event {
  int64_t ns;
  int64_t bytes;
};

std::string gib(int64_t bytes) {
  if (bytes < 1 << 20) return fmt::format("{} bytes", bytes);
  if (bytes < int64_t{1} << 30) return fmt::format("{:.1f} MiB", static_cast<double>(bytes) / (1 << 20));
  return fmt::format("{:.1f} GiB", static_cast<double>(bytes) / (1 << 30));
}

// Distinct weights are held once on a device, however many parts of operators that use them are there.
class Weights {
 public:
  Weights(const TaskGraph& graph, std::vector<DeviceMemory>& out) : graph_(graph), out_(out) {}

  void add_all() {
    const TaskGraph& graph = graph_;
    const Space& space = graph.space();
    for (uint32_t o = 0; o < space.ops().size(); o++) {
      const Config& c = graph.configs()[o];
      const Domain& domain = space.ops()[o].domain;
      for_each_part(c.split, domain.rank, [&](uint32_t i, const Extents& at) {
        Box box;
        box.rank = domain.rank;
        for (int d = 0; d < box.rank; d++) box[d] = c.split.piece(d, domain[d].extent, at[d]);
        for (const Parameter& p : space.ops()[o].parameters) add(p, box, c.devices[i]);
      });
    }
    for (const auto& [value, cells] : cells_)
      for (const Cell& cell : cells) account(value, cell);
  }

 private:
  struct Cell {
    Box box;
    bool trained;
    std::vector<uint32_t> devices;
  };
  void add(const Parameter& p, const Box& part, uint32_t device) {
    Box box = apply(p.rule, part, graph_.space().graph().shape(p.value));
    std::vector<Cell>& cells = cells_[p.value];
    auto found = std::find_if(cells.begin(), cells.end(), [&](const Cell& c) { return c.box == box; });
    if (found == cells.end()) found = cells.insert(found, {box, p.update != none, {}});
    if (std::find(found->devices.begin(), found->devices.end(), device) == found->devices.end())
      found->devices.push_back(device);
  }
  void account(ValueId value, const Cell& cell) {
    int64_t bytes = cell.box.count() * static_cast<int64_t>(size_of(graph_.space().graph().values[value].dtype));
    auto holders = static_cast<int64_t>(cell.devices.size());
    uint8_t sharded = graph_.options().sharded_states;
    for (uint32_t d : cell.devices) {
      DeviceMemory& m = out_[d];
      if (!cell.trained) {
        m.weights += bytes;
        continue;
      }
      m.weights += (bytes * graph_.space().optimizer_states()) / (sharded >= 1 ? holders : 1) +
                   bytes / (sharded >= 2 ? holders : 1) + bytes / (sharded >= 3 ? holders : 1);
      // Gathered: this operator's, and the next one's ahead of it.
      if (sharded == 3 && holders > 1) m.gathered = std::max(m.gathered, 2 * bytes);
    }
  }

  const TaskGraph& graph_;
  std::vector<DeviceMemory>& out_;
  std::map<ValueId, std::vector<Cell>> cells_;
};

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
  auto gradients_begin = [&](uint32_t op, uint32_t part) {
    int64_t begin = std::numeric_limits<int64_t>::max();
    for (uint32_t s : {space.ops()[op].stages[1], space.ops()[op].stages[2]})
      if (s != none) begin = std::min(begin, t.times[t.base[s] + part].start);
    return begin;
  };
  for (uint32_t s = 0; s < stages.size(); s++) {
    uint32_t op = stages[s].op;
    const Config& c = graph.configs()[op];
    if (stages[s].role == Role::weight_gradient) continue;  // counted with the weights
    for_each_part(c.split, space.ops()[op].domain.rank, [&](uint32_t i, const Extents& coordinate) {
      uint32_t at = t.base[s] + i, device = c.devices[i];
      int64_t bytes = 0, until = t.times[at].end;
      int64_t again = std::numeric_limits<int64_t>::max(), again_until = 0;  // computed or fetched a second time
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
          // Received copies are kept in any case; the result itself only where its operator keeps it.
          if (flow && space.flows()[w].kept) {
            int64_t gradients_end = kept_until(reader_op, n.reader);
            if (n.transfer == none && c.keep != Keep::keep) {
              again = std::min(again, gradients_begin(reader_op, n.reader));
              again_until = std::max(again_until, gradients_end);
            } else {
              read_until = std::max(read_until, gradients_end);
            }
          }
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
      if (stages[s].role == Role::forward && space.ops()[op].output_kept) {
        if (c.keep == Keep::keep) until = std::max(until, kept_until(op, i));
        else again = std::min(again, gradients_begin(op, i)), again_until = std::max(again_until, kept_until(op, i));
      }
      if (again < again_until) {
        events[device].push_back({std::max(again, until), bytes});
        events[device].push_back({std::max(again_until, until), -bytes});
      }
      events[device].push_back({t.times[at].start, bytes});
      events[device].push_back({until, -bytes});
    });
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
  Weights(graph, out).add_all();
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
    out[d].weights += out[d].gathered;
    out[d].peak = out[d].weights + out[d].activations;
  }
  return out;
}

std::vector<MemoryCurve> memory_curves(const TaskGraph& graph, const Timeline& t) {
  std::vector<MemoryCurve> out;
  for (const std::vector<Event>& events : activation_events(graph, t)) {
    MemoryCurve& curve = out.emplace_back();
    int64_t now = 0;
    for (const Event& e : events) {
      now += e.bytes;
      if (curve.empty() || curve.back().first != e.ns) curve.emplace_back(e.ns, now);
      else curve.back().second = now;
    }
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

int64_t peak_of(const std::vector<DeviceMemory>& memory) {
  int64_t most = 0;
  for (const DeviceMemory& m : memory) most = std::max(most, m.peak);
  return most;
}

std::string memory_reason(const Space& space, const std::vector<DeviceMemory>& memory, int64_t limit) {
  for (uint32_t d = 0; d < memory.size(); d++) {
    int64_t most = space.cluster().memory_limit(d, limit);
    const DeviceMemory& m = memory[d];
    if (m.peak > most)
      return fmt::format("device {}: {} > {}: weights{} {}, activations {} at {:.3f} ms", d, gib(m.peak), gib(most),
                         space.training() ? ", gradients and states" : "", gib(m.weights), gib(m.activations),
                         static_cast<double>(m.peak_ns) * 1e-6);
  }
  return {};
}

}  // namespace pando::plan
