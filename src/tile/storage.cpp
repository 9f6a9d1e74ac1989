// Which values are addresses into other values' buffers. Reshape and Slice look into their input; the operands of a
// Concat are written straight into its output. What cannot be an address is copied by a whole Slice.
#include <algorithm>

#include "graph/ops/ops.hpp"
#include "tile/internal.hpp"

namespace pando::tiling {
namespace {

// Strides of the same elements under shape `to`, when the row-major order of `from` can be walked with strides.
bool reshape_strides(std::span<const int64_t> from, const Extents& strides, std::span<const int64_t> to, Extents& out) {
  out = dense_strides(to);
  if (element_count(from) == 0) return true;
  // Runs of input dimensions that are contiguous with one another, extents of 1 left out.
  struct Run {
    int64_t extent, stride;
  };
  std::vector<Run> runs;
  for (size_t i = 0; i < from.size(); i++) {
    if (from[i] == 1) continue;
    int64_t s = strides[static_cast<int>(i)];
    if (!runs.empty() && runs.back().stride == s * from[i]) runs.back() = {runs.back().extent * from[i], s};
    else runs.push_back({from[i], s});
  }
  int j = static_cast<int>(to.size()) - 1;
  for (size_t r = runs.size(); r-- > 0;) {
    int64_t left = runs[r].extent, stride = runs[r].stride;
    for (; j >= 0 && left > 1; j--) {
      if (to[j] == 1) {
        out[j] = stride;
        continue;
      }
      if (left % to[j] != 0) return false;
      out[j] = stride;
      stride *= to[j];
      left /= to[j];
    }
    if (left != 1) return false;
  }
  return true;
}

// Views of views, and concats in concats, up to this depth; then a copy stands between. A search for what lies behind a
// view walks through all of them, so that no path may be as long as the graph.
constexpr uint32_t max_depth = 128;

class Planner {
 public:
  Planner(Graph& graph, TileGraph& out, std::vector<bool>& executed, const CompileContext& context)
      : graph_(graph), out_(out), executed_(executed), context_(context) {}

  void plan() {
    copy_outputs_that_cannot_lie_dense();
    place_concat_operands();
    move_copies_to_their_readers();
    out_.storage.assign(graph_.values.size(), {});
    executed_.assign(graph_.nodes.size(), true);
    placed_.resize(graph_.values.size());
    output_of_.assign(graph_.values.size(), none);
    find_roots();
    for (uint32_t i = 0; i < graph_.outputs.size(); i++) output_of_[root_[graph_.outputs[i]]] = i;
    for (uint32_t i = 0; i < graph_.inputs.size(); i++) dense(graph_.inputs[i], BufferKind::input, i);
    for (ValueId v = 0; v < graph_.values.size(); v++)
      if (graph_.values[v].constant) dense(v, BufferKind::constant, 0);
    depth_.assign(graph_.values.size(), 0);
    for (NodeId n = 0; n < graph_.nodes.size(); n++) {
      context_.check();
      resolve(n);
    }
  }

 private:
  struct Place {  // the operand lies in `concat`'s output, from index `begin` along `axis`
    ValueId concat = none;
    int axis = 0;
    int64_t begin = 0;
    uint32_t depth = 0;  // concats around it
  };

  std::optional<Addressing> view_of(NodeId n) const {
    if (n == none || !graph_.nodes[n].op->view) return {};
    return graph_.nodes[n].op->view({graph_, graph_.nodes[n]});
  }
  bool is(NodeId n, Addressing::Kind kind) const { return n != none && addresses({graph_, graph_.nodes[n]}, kind); }

  // Per value, the one whose buffer an output of this name occupies: reshapes are looked through.
  void find_roots() {
    producer_ = Uses(graph_).producer;
    root_.resize(graph_.values.size());
    for (ValueId v = 0; v < root_.size(); v++) root_[v] = v;
    for (NodeId n = 0; n < graph_.nodes.size(); n++)
      if (is(n, Addressing::regroup)) root_[graph_.nodes[n].outputs[0]] = root_[graph_.nodes[n].inputs[0]];
  }

  ValueId add_copy(ValueId v, const std::string& name) {
    const Shape& shape = graph_.shape(v);
    SliceAttrs attrs{std::vector<int64_t>(shape.size(), 0), std::vector<int64_t>(shape.size(), 1), shape};
    return graph_.add(slice_op, "copy of " + name, {v}, attrs);
  }

  // An output must fill a buffer of its own, densely: not a graph input, constant, slice, or another output's memory.
  void copy_outputs_that_cannot_lie_dense() {
    find_roots();
    std::vector<bool> taken(graph_.values.size(), false);
    for (ValueId& v : graph_.outputs) {
      ValueId root = v < root_.size() ? root_[v] : v;
      bool view_of_other = is(producer_[root], Addressing::part);
      if (producer_[root] == none || view_of_other || taken[root]) {
        std::string name = graph_.values[v].name;
        v = add_copy(v, name);
        graph_.values[v].name = name;
        taken.resize(graph_.values.size(), false);
        producer_.resize(graph_.values.size(), none);
        producer_[v] = static_cast<NodeId>(graph_.nodes.size() - 1);
        root = v;
      }
      taken[root] = true;
      pinned_.resize(graph_.values.size(), false);
      pinned_[root] = true;
    }
    pinned_.resize(graph_.values.size(), false);
  }

  // An operand may be written in place when an operator with its own tiles makes it, for this concat alone.
  bool can_lie_in(ValueId v, ValueId concat) const {
    NodeId p = producer_[v];
    if (p == none || pinned_[v] || placed_[v].concat != none) return false;
    const std::optional<Addressing> view = view_of(p);
    if (!view) return true;
    return view->kind == Addressing::joined && placed_[concat].depth < max_depth;
  }

  // Outer concats first, so that an inner one is placed into the outer before its own operands follow it.
  void place_concat_operands() {
    placed_.assign(graph_.values.size(), {});
    size_t count = graph_.nodes.size();
    for (size_t n = count; n-- > 0;) {
      const std::optional<Addressing> view = view_of(static_cast<NodeId>(n));
      if (!view || view->kind != Addressing::joined) continue;
      const int axis = view->axis;
      ValueId out = graph_.nodes[n].outputs[0];
      int64_t begin = 0;
      for (size_t i = 0; i < graph_.nodes[n].inputs.size(); i++) {
        ValueId v = graph_.nodes[n].inputs[i];
        int64_t extent = graph_.shape(v)[axis];
        if (!can_lie_in(v, out)) {
          v = add_copy(v, graph_.nodes[n].name);
          graph_.nodes[n].inputs[i] = v;
          producer_.resize(graph_.values.size(), none);
          producer_[v] = static_cast<NodeId>(graph_.nodes.size() - 1);
          copies_.push_back({static_cast<NodeId>(graph_.nodes.size() - 1), static_cast<NodeId>(n)});
          placed_.resize(graph_.values.size());
          pinned_.resize(graph_.values.size(), false);
        }
        placed_[v] = {out, axis, begin, placed_[out].depth + 1};
        begin += extent;
      }
    }
  }

  // Copies were appended. In the order of operators a copy stands right before the concat that wants it: as late as it
  // can, so that what it holds does not live longer than it must.
  void move_copies_to_their_readers() {
    std::vector<Node> ordered;
    ordered.reserve(graph_.nodes.size());
    const size_t count = graph_.nodes.size() - copies_.size();
    std::stable_sort(copies_.begin(), copies_.end(), [](const Copy& x, const Copy& y) { return x.reader < y.reader; });
    auto copy = copies_.begin();
    for (size_t n = 0; n < count; n++) {
      for (; copy != copies_.end() && copy->reader == n; ++copy) ordered.push_back(std::move(graph_.nodes[copy->node]));
      ordered.push_back(std::move(graph_.nodes[n]));
    }
    graph_.nodes = std::move(ordered);
  }

  void dense(ValueId v, BufferKind kind, uint32_t index) {
    Storage& s = out_.storage[v];
    s.buffer = static_cast<uint32_t>(out_.buffers.size());
    s.offset = 0;
    s.strides = dense_strides(graph_.shape(v));
    int64_t bytes = element_count(graph_.shape(v)) * static_cast<int64_t>(size_of(graph_.values[v].dtype));
    out_.buffers.push_back({kind, bytes, 0, v, index});
  }

  // Storage of a value that a node writes: inside a concat's output, a model output, or memory of its own.
  const Storage& home(ValueId v) {
    Storage& s = out_.storage[v];
    if (s.buffer != UINT32_MAX) return s;
    if (const Place& place = placed_[v]; place.concat != none) {  // at most max_depth deep
      Storage outer = home(place.concat);
      outer.offset += place.begin * outer.strides[place.axis];
      return out_.storage[v] = outer;
    }
    if (output_of_[v] != none) {
      dense(v, BufferKind::output, output_of_[v]);
      out_.buffers.back().value = graph_.outputs[output_of_[v]];
    } else {
      dense(v, BufferKind::arena, 0);
    }
    return out_.storage[v];
  }

  void resolve(NodeId n) {
    const Node& node = graph_.nodes[n];
    const std::optional<Addressing> view = view_of(n);
    if (view && view->kind == Addressing::joined) {
      executed_[n] = false;
      home(node.outputs[0]);
      return;
    }
    ValueId in = node.inputs.empty() ? none : node.inputs[0], out = node.outputs[0];
    bool free = placed_[out].concat == none && output_of_[out] == none;  // copies have a home of their own
    if (free && in != none && depth_[in] == max_depth) free = false;
    if (free && in != none && view && view->kind != Addressing::sum) {
      Storage storage = out_.storage[in];
      const bool address =
          view->kind == Addressing::regroup
              ? reshape_strides(graph_.shape(in), out_.storage[in].strides, graph_.shape(out), storage.strides)
              : slice(*view, graph_.shape(out), storage);
      if (address) {
        out_.storage[out] = storage;
        executed_[n] = false;
        depth_[out] = depth_[in] + 1;
        return;
      }
    }
    for (ValueId v : node.outputs) home(v);
  }

  // Kernels want features contiguous and strides forward.
  static bool slice(const Addressing& part, const Shape& sizes, Storage& s) {
    int rank = s.strides.size();
    for (int i = 0; i < rank; i++) {
      if (part.step[i] < 1 || (i == rank - 1 && part.step[i] != 1 && sizes[i] > 1)) return false;
      s.offset += part.start[i] * s.strides[i];
      s.strides[i] *= part.step[i];
    }
    return true;
  }

  Graph& graph_;
  TileGraph& out_;
  std::vector<bool>& executed_;
  const CompileContext& context_;
  std::vector<NodeId> producer_;
  std::vector<ValueId> root_;
  std::vector<uint32_t> depth_;  // views between a value and what an operator wrote
  std::vector<bool> pinned_;     // outputs' roots
  std::vector<Place> placed_;
  struct Copy {
    NodeId node, reader;
  };
  std::vector<Copy> copies_;         // for concats, the last of these first
  std::vector<uint32_t> output_of_;  // value -> position among the outputs whose memory it fills
};

}  // namespace

void assign_storage(Graph& graph, TileGraph& out, std::vector<bool>& executed, const CompileContext& context) {
  Planner(graph, out, executed, context).plan();
}

}  // namespace pando::tiling
