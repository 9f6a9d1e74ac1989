#include "optimize/widen_halves.hpp"

#include "optimize/rewriter.hpp"

namespace pando {
namespace {

bool is_half(DType t) { return t == DType::f16 || t == DType::bf16; }
DType widened(DType t) { return is_half(t) ? DType::f32 : t; }

class Widening {
 public:
  explicit Widening(Rewriter& rw) : rw_(rw) {}

  bool rewrite(Node& node) {
    const bool reads = has_half(node.inputs);
    if (!reads && !has_half(node.outputs)) return false;
    if (reads && only_moves(node)) return false;
    if (is_cast(node)) return cast(node), true;
    Attributes attrs = node.attrs;
    if (single_instr(&node)) attrs.as<MapAttrs>().out = widened(attrs.as<MapAttrs>().out);
    std::vector<ValueId> inputs = node.inputs;
    for (size_t i = 0; i < inputs.size(); i++)
      if (inputs[i] != none && !is_weights(node, i)) inputs[i] = wide(inputs[i]);
    const ValueId first = rw_.emit(*node.op, node.name, inputs, std::move(attrs));
    const std::vector<ValueId> made = rw_.producer(first)->outputs;
    for (size_t i = 0; i < made.size(); i++) stand_for(node.outputs[i], made[i]);
    rw_.drop(node);
    return true;
  }

 private:
  bool has_half(const std::vector<ValueId>& values) const {
    return std::any_of(values.begin(), values.end(), [&](ValueId v) { return v != none && is_half(rw_.dtype(v)); });
  }
  bool is_known_wide(ValueId v) const { return v != none && v < wide_.size() && wide_[v] != none; }

  // A node that only moves values none of which has been computed: they stay what they are.
  bool only_moves(const Node& node) const {
    const NodeView view{rw_.g, node};
    const bool known = std::any_of(node.inputs.begin(), node.inputs.end(), [&](ValueId v) { return is_known_wide(v); });
    return !known && node.op->operations(view, whole(node.op->domain(view))) == 0;
  }
  bool is_cast(const Node& node) const {
    const MapInstr* in = single_instr(&node);
    return in && in->op == MapOp::cast;
  }
  // Constant matrices and filters that all samples share, however transposed.
  bool is_weights(const Node& node, size_t i) const {
    if (i != 1 || !node.op->matrix || !node.op->epilogue || follows_samples({rw_.g, node}, static_cast<int>(i)))
      return false;
    ValueId v = node.inputs[i];
    for (const Node* from = rw_.producer(v); from; from = rw_.producer(v)) {
      if (from->inputs.size() != 1 || single_instr(from)) return false;
      v = from->inputs[0];
    }
    return rw_.is_constant(v) && is_half(rw_.dtype(v));
  }
  static bool follows_samples(const NodeView& view, int input) {
    const Domain domain = view.node.op->domain(view);
    const Access access = view.node.op->reads(view, input);
    for (int d = 0; d < access.rank; d++)
      if (access.axis[d].dim >= 0 && domain[access.axis[d].dim].tag == Tag::sample) return true;
    return false;
  }

  ValueId wide(ValueId v) {
    if (!is_half(rw_.dtype(v))) return v;
    if (!is_known_wide(v)) know(v, rw_.emit(map_op, {}, {v}, map_of(MapOp::cast, 0, 0, DType::f32)));
    return wide_[v];
  }
  void know(ValueId v, ValueId as_float32) {
    if (v >= wide_.size()) wide_.resize(rw_.g.values.size(), none);
    wide_[v] = as_float32;
    rw_.keep(as_float32);  // readers of v are still to come
  }

  // From 16 bits, or to them: to float32 instead, which may be nothing.
  void cast(Node& node) {
    const ValueId from = wide(node.inputs[0]), old = node.outputs[0];
    const DType to = widened(rw_.dtype(old));
    if (rw_.dtype(from) == to) stand_for(old, from);
    else stand_for(old, rw_.emit(map_op, node.name, {from}, map_of(MapOp::cast, 0, 0, to)));
    rw_.drop(node);
  }

  // `made` is what `old` was, possibly widened. Outputs of the graph are narrowed again.
  void stand_for(ValueId old, ValueId made) {
    const bool is_output = std::find(rw_.g.outputs.begin(), rw_.g.outputs.end(), old) != rw_.g.outputs.end();
    if (!is_half(rw_.dtype(old))) return rw_.replace(old, made);
    know(old, made);
    if (!is_output) {
      if (rw_.g.values[made].name.empty()) rw_.g.values[made].name = std::exchange(rw_.g.values[old].name, {});
      return;
    }
    const ValueId narrow = rw_.emit(map_op, {}, {made}, map_of(MapOp::cast, 0, 0, rw_.dtype(old)));
    know(narrow, made);
    rw_.replace(old, narrow);
  }

  Rewriter& rw_;
  std::vector<ValueId> wide_;  // of values of 16 bits: the same as float32; none where it was not needed so far
};

}  // namespace

Graph widen_halves(Graph graph, CompileContext& context) {
  if (std::none_of(graph.values.begin(), graph.values.end(), [](const Value& v) { return is_half(v.dtype); }))
    return graph;
  Rewriter rw(std::move(graph));
  Widening widening(rw);
  for (Node& node : rw.take()) {
    context.check();
    rw.next(node);
    if (!widening.rewrite(node)) rw.emit(std::move(node));
  }
  return rw.finish();
}

}  // namespace pando
