// Transposes are kept back as long as operators can do without them. Every value is known as a transpose of some base
// value; an operator that can work on its operands' bases does so, with its axes renamed, and its result is again a
// transpose of what it made. A transpose is done only where an operator demands the value itself, so chains of them
// compose, and cancel, on the way.
#include "optimize/move_transposes.hpp"

#include <map>

#include "optimize/permutation.hpp"
#include "optimize/rewriter.hpp"

namespace pando {
namespace {

struct Laid {  // value = transpose(base, perm)
  ValueId base;
  Perm perm;
};

// How an operator's operands that lie in different orders are brought together when it costs the same either way.
enum class Prefer { moved, plain };

class Mover {
 public:
  Mover(Graph graph, Prefer prefer, const CompileContext& context)
      : rw_(std::move(graph)), prefer_(prefer), context_(context) {}
  // After run: the other preference could have led elsewhere.
  bool preferred() const { return preferred_; }

  Graph run() {
    for (Node& node : rw_.take()) {
      context_.check();
      rw_.next(node);
      if (!move(node)) keep(node);
    }
    // Outputs are demanded as they are.
    for (ValueId v : std::vector(rw_.g.outputs)) {
      ValueId r = rw_.resolve(v);
      if (!laid_.contains(r)) continue;
      ValueId made = value(r);
      laid_.erase(r);
      rw_.replace(r, made);
    }
    return rw_.finish();
  }

 private:
  Rewriter rw_;
  Prefer prefer_;
  const CompileContext& context_;
  mutable bool preferred_ = false;
  std::map<ValueId, Laid> laid_;                      // of values that are not made yet
  std::map<std::pair<ValueId, Perm>, ValueId> made_;  // transposes done, by base and perm

  Laid of(ValueId v) const {
    auto at = laid_.find(v);
    return at != laid_.end() ? at->second : Laid{v, identity_perm(rw_.shape(v).size())};
  }

  ValueId transposed(ValueId base, const Perm& perm, const std::string& name) {
    if (is_identity(perm)) return base;
    auto [at, is_new] = made_.try_emplace({base, perm}, none);
    if (!is_new) return at->second;
    if (moves_only_ones(rw_.shape(base), perm))
      at->second = rw_.emit(reshape_op, name, {base}, ReshapeAttrs{after(perm, rw_.shape(base))});
    else at->second = rw_.emit(transpose_op, name, {base}, TransposeAttrs{perm});
    rw_.keep(at->second);
    return at->second;
  }

  ValueId value(ValueId v) {
    Laid l = of(v);
    return transposed(l.base, l.perm, rw_.g.values[v].name);
  }

  // The value u with v = transpose(u, perm).
  ValueId base_under(ValueId v, const Perm& perm, const std::string& name) {
    Laid l = of(v);
    return transposed(l.base, compose(l.perm, inverse(perm)), name);
  }

  // Bytes of the transpose that base_under would do.
  double cost_under(ValueId v, const Perm& perm) const {
    Laid l = of(v);
    Perm p = compose(l.perm, inverse(perm));
    if (is_identity(p) || rw_.is_constant(l.base) || made_.contains({l.base, p})) return 0;
    if (moves_only_ones(rw_.shape(l.base), p)) return 0;
    return static_cast<double>(element_count(rw_.shape(v))) * static_cast<double>(size_of(rw_.dtype(v)));
  }

  // An operator that demands its operands as they are.
  void keep(Node& node) {
    for (size_t i = 0; i < node.inputs.size(); i++)
      if (ValueId v = node.inputs[i]; v != none && laid_.contains(v)) rw_.exchange_input(node, i, value(v));
    rw_.emit(std::move(node));
  }

  // The node's output is transpose(base, perm) from here on.
  void define(Node& node, ValueId base, Perm perm) {
    rw_.keep(base);
    if (is_identity(perm)) rw_.replace(node, 0, base);
    else laid_[node.outputs[0]] = {base, std::move(perm)};
    rw_.drop(node);
  }

  // The order in which operands of the output's rank, among `operands`, are brought together cheapest; empty: none of
  // them is transposed.
  Perm choose(const std::vector<ValueId>& operands, size_t rank) const {
    std::vector<Perm> candidates;
    for (ValueId v : operands)
      if (rw_.shape(v).size() == rank && !rw_.is_constant(v)) {
        Laid l = of(v);
        if (std::find(candidates.begin(), candidates.end(), l.perm) == candidates.end()) candidates.push_back(l.perm);
      }
    Perm best;
    double least = 0;
    for (const Perm& p : candidates) {
      double cost = 0;
      for (ValueId v : operands)
        if (rw_.shape(v).size() == rank) cost += cost_under(v, p);
      bool wins_tie = is_identity(p) == (prefer_ == Prefer::plain);
      preferred_ |= !best.empty() && cost == least;
      if (best.empty() || cost < least || (cost == least && wins_tie)) best = p, least = cost;
    }
    return best.empty() || is_identity(best) ? Perm{} : best;
  }

  // Operand of an operator that broadcasts, for outputs of `perm`'s rank laid under perm.
  ValueId broadcast_under(ValueId v, const Perm& perm, const std::string& name) {
    Shape shape = rw_.shape(v);
    if (element_count(shape) == 1 && shape.size() <= perm.size() && !laid_.contains(v)) return v;
    if (shape.size() < perm.size()) {
      v = value(v);
      shape.insert(shape.begin(), perm.size() - shape.size(), 1);
      v = rw_.emit(reshape_op, name, {v}, ReshapeAttrs{shape});
    }
    return base_under(v, perm, name);
  }

  bool move(Node& node) {
    if (node.op == &transpose_op) {
      Laid l = of(node.inputs[0]);
      define(node, l.base, compose(l.perm, node.as<TransposeAttrs>().perm));
      return true;
    }
    bool any = std::any_of(node.inputs.begin(), node.inputs.end(), [&](ValueId v) { return laid_.contains(v); });
    if (!any) return false;
    if (node.op == &reshape_op) return move_reshape(node);
    if (node.op == &matmul_op) return move_matmul(node);
    switch (node.op->order) {
      case Order::first: return move_first(node);
      case Order::all:
      case Order::broadcast: return move_all(node);
      case Order::fixed: break;
    }
    return false;
  }

  bool move_all(Node& node) {
    Perm perm = choose(node.inputs, rw_.shape(node.outputs[0]).size());
    if (perm.empty()) return false;
    std::vector<ValueId> inputs;
    for (ValueId v : node.inputs)
      inputs.push_back(node.op->order == Order::broadcast ? broadcast_under(v, perm, node.name)
                                                          : base_under(v, perm, node.name));
    define(node, rw_.emit(*node.op, node.name, inputs, node.attrs.permuted(perm)), perm);
    return true;
  }

  // A matrix that is only turned over is read so.
  bool move_matmul(Node& node) {
    MatMulAttrs attrs = node.as<MatMulAttrs>();
    if (attrs.blocks) return false;
    for (int i = 0; i < 2; i++) {
      ValueId v = node.inputs[i];
      Laid l = of(v);
      Perm turn = identity_perm(l.perm.size());
      std::swap(turn[turn.size() - 1], turn[turn.size() - 2]);
      if (l.perm != turn || made_.contains({l.base, l.perm})) continue;
      (i ? attrs.trans_b : attrs.trans_a) ^= true;
      rw_.exchange_input(node, i, l.base);
    }
    node.attrs = attrs;
    return false;
  }

  // Operators that work along axes they name: operand 0 may lie in any order.
  bool move_first(Node& node) {
    Laid l = of(node.inputs[0]);
    if (is_identity(l.perm) || (node.op->may_reorder && !node.op->may_reorder({rw_.g, node}, l.perm))) return false;
    std::vector<ValueId> inputs = node.inputs;
    for (size_t i = 1; i < inputs.size(); i++)
      if (inputs[i] != none) inputs[i] = value(inputs[i]);
    inputs[0] = l.base;
    define(node, rw_.emit(*node.op, node.name, inputs, node.attrs.permuted(l.perm)), l.perm);
    return true;
  }

  // A reshape cuts the dimensions into groups that it joins or splits. When each group lies together, and in its own
  // order, in the base, the reshape is done there and the groups stay transposed. Otherwise the transpose that brings
  // each group together is done, no other: groups keep the base's order.
  bool move_reshape(Node& node) {
    ValueId v = node.inputs[0];
    Laid l = of(v);
    Shape in = rw_.shape(v), out = rw_.shape(node.outputs[0]), base = rw_.shape(l.base);
    if (moves_only_ones(base, l.perm)) {
      define(node, rw_.emit(reshape_op, node.name, {l.base}, ReshapeAttrs{out}), identity_perm(out.size()));
      return true;
    }
    auto groups = group(in, out);
    if (groups.size() < 2) return false;
    // Where a group goes: by its widest member's place in the base; new extents of 1 go first.
    std::vector<std::pair<int64_t, size_t>> order;
    for (size_t g = 0; g < groups.size(); g++) {
      int64_t place = -1, widest = 0;
      for (int64_t d : groups[g].in)
        if (in[d] > widest) widest = in[d], place = l.perm[d];
      order.push_back({place, g});
    }
    std::sort(order.begin(), order.end());
    Perm gather, from;  // base -> base with its groups together; new base's dimension -> output dimension
    Shape shape;
    for (auto [place, g] : order) {
      for (int64_t d : groups[g].in) gather.push_back(l.perm[d]);
      for (int64_t d : groups[g].out) from.push_back(d), shape.push_back(out[d]);
    }
    bool free = moves_only_ones(base, gather);
    preferred_ |= !free;
    if (!free && prefer_ == Prefer::plain) return false;
    ValueId x = free ? l.base : transposed(l.base, gather, node.name);
    define(node, rw_.emit(reshape_op, node.name, {x}, ReshapeAttrs{shape}), inverse(from));
    return true;
  }

  struct Group {
    std::vector<int64_t> in, out;
  };
  // The finest cut into groups of equal element counts. Extents of 1 form groups of their own where they can; none for
  // tensors without elements.
  static std::vector<Group> group(const Shape& in, const Shape& out) {
    std::vector<Group> groups;
    if (element_count(in) == 0) return groups;  // what follows ends because both sides have equal counts
    size_t i = 0, o = 0;
    while (i < in.size() || o < out.size()) {
      Group g;
      int64_t a = 1, b = 1;
      if (i < in.size()) a = in[i], g.in.push_back(static_cast<int64_t>(i++));
      // An extent of 1 on one side only stands alone.
      if (a == 1 && !g.in.empty() && (o >= out.size() || out[o] != 1)) {
        groups.push_back(std::move(g));
        continue;
      }
      if (o < out.size()) b = out[o], g.out.push_back(static_cast<int64_t>(o++));
      if (b == 1 && a != 1 && !g.in.empty()) {
        g.in.clear();
        i--;
        groups.push_back(std::move(g));
        continue;
      }
      while (a != b) {
        if (a < b && i < in.size()) a *= in[i], g.in.push_back(static_cast<int64_t>(i++));
        else if (b < a && o < out.size()) b *= out[o], g.out.push_back(static_cast<int64_t>(o++));
        else return {};
      }
      groups.push_back(std::move(g));
    }
    return groups;
  }
};

double transpose_bytes(const Graph& graph) {
  double bytes = 0;
  for (const Node& node : graph.nodes)
    if (node.op == &transpose_op && !graph.is_constant(node.inputs[0]))
      bytes += static_cast<double>(element_count(graph.shape(node.outputs[0]))) *
               static_cast<double>(size_of(graph.values[node.outputs[0]].dtype));
  return bytes;
}

}  // namespace

Graph move_transposes(Graph graph, CompileContext& context) {
  if (std::none_of(graph.nodes.begin(), graph.nodes.end(), [](const Node& n) { return n.op == &transpose_op; }))
    return graph;
  Mover plain(graph, Prefer::plain, context);
  Graph best = plain.run();
  double least = transpose_bytes(best);
  if (plain.preferred()) {
    Graph moved = Mover(graph, Prefer::moved, context).run();
    if (double bytes = transpose_bytes(moved); bytes <= least) best = std::move(moved), least = bytes;
  }
  return least <= transpose_bytes(graph) ? best : graph;
}

}  // namespace pando
