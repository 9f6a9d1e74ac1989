#include "dist/split_reductions.hpp"

#include "graph/ops/ops.hpp"

namespace pando::dist {
namespace {

using plan::Split;

class Rewriter {
 public:
  Rewriter(Graph& graph, NodeId node, const Domain& domain, const Split& split, Partial partial)
      : g_(graph), node_(graph.nodes[node]), domain_(domain), split_(split), partial_(std::move(partial)) {}

  // The pieces' results; `node` of the graph becomes what adds them.
  std::vector<ValueId> rewrite() {
    std::vector<ValueId> results;
    Extents grid = split_.grid(domain_.rank), at;
    for (int d = 0; d < domain_.rank; d++)
      if (domain_[d].tag != Tag::reduction) grid[d] = 1;
    at.rank = grid.rank;
    for (;;) {
      results.push_back(piece(at));
      int d = domain_.rank - 1;
      for (; d >= 0 && ++at[d] == grid[d]; d--) at[d] = 0;
      if (d < 0) break;
    }
    combine(results);
    return results;
  }
  const Node& combined() const { return combined_; }

 private:
  Interval interval(int dim, const Extents& at) const { return split_.piece(dim, domain_[dim].extent, at[dim]); }

  // What a piece reads of an operand: where its rule follows a cut dimension, that dimension's interval.
  ValueId part_of(int input, const Extents& at, const std::string& name) {
    const ValueId v = node_.inputs[static_cast<size_t>(input)];
    const Access rule = node_.op->reads({g_, node_}, input);
    const Shape& shape = g_.shape(v);
    SliceAttrs a{std::vector<int64_t>(shape.size(), 0), std::vector<int64_t>(shape.size(), 1), shape};
    bool cut = false;
    for (size_t axis = 0; axis < shape.size(); axis++) {
      const int d = rule.axis[axis].dim;
      if (d < 0 || domain_[d].tag != Tag::reduction || split_.degree[static_cast<size_t>(d)] <= 1) continue;
      const Interval range = interval(d, at);
      a.starts[axis] = range.lo;
      a.sizes[axis] = range.size();
      cut = true;
    }
    if (!cut) return v;
    if (!g_.is_constant(v)) return g_.add(slice_op, name, {v}, a);
    const Tensor& from = *g_.values[v].constant;
    auto to = make_tensor(from.dtype, a.sizes);
    View in = from.view(), out = to->view();
    slice_op.evaluate(a, {&in, 1}, {&out, 1});
    return g_.add_constant({}, to);
  }

  ValueId piece(const Extents& at) {
    const std::string name = fmt::format("{} [{}]", display_name(g_, node_), to_string(at.span()));
    const size_t own = node_.op->epilogue ? static_cast<size_t>(node_.op->epilogue->first_operand) : SIZE_MAX;
    std::vector<ValueId> inputs;
    for (size_t i = 0; i < std::min(own, node_.inputs.size()); i++) {
      const bool left_out = node_.inputs[i] == none || static_cast<int>(i) == partial_.bias;
      inputs.push_back(left_out ? none : part_of(static_cast<int>(i), at, fmt::format("{}.{}", name, i)));
    }
    return g_.add(*node_.op, name, std::move(inputs), partial_.attrs);
  }

  // Adds in the order of the pieces, as many at once as a map takes; the last map finishes the operator.
  void combine(std::vector<ValueId> values) {
    constexpr size_t at_once = 4;
    auto fold = [&](size_t count) {
      MapAttrs m;
      m.program.inputs = static_cast<int>(count);
      for (size_t i = 1; i < count; i++)
        m.program.code.push_back(
            {partial_.combine, static_cast<uint8_t>(i == 1 ? 0 : count + i - 2), static_cast<uint8_t>(i)});
      return m;
    };
    while (values.size() > at_once) {
      std::vector<ValueId> first(values.begin(), values.begin() + at_once);
      values.erase(values.begin(), values.begin() + at_once);
      values.insert(values.begin(), g_.add(map_op, display_name(g_, node_) + ".sum", first, fold(at_once)));
    }
    finish(std::move(values), fold(values.size()));
  }

  void finish(std::vector<ValueId> values, MapAttrs sum) {
    MapProgram& p = sum.program;
    const size_t parts = values.size();
    const EpilogueSlot* slot = node_.op->epilogue;
    const Epilogue* epilogue = slot ? &slot->in(node_.attrs) : nullptr;
    const int bias = partial_.bias;
    bool has_bias = bias >= 0 && static_cast<size_t>(bias) < node_.inputs.size() && node_.inputs[bias] != none;
    size_t extra = epilogue && !epilogue->empty() ? static_cast<size_t>(epilogue->program.inputs) - 1 : 0;
    // Operands come before results in the numbering of registers: results move up.
    const size_t inputs = parts + (has_bias ? 1 : 0) + extra;
    for (MapInstr& i : p.code)
      if (i.a >= parts) i.a = static_cast<uint8_t>(i.a + inputs - parts);
    p.inputs = static_cast<int>(inputs);
    auto last = [&] { return static_cast<uint8_t>(p.code.empty() ? 0 : inputs + p.code.size() - 1); };
    if (has_bias) {
      values.push_back(node_.inputs[static_cast<size_t>(bias)]);
      p.code.push_back({MapOp::add, last(), static_cast<uint8_t>(parts)});
    }
    if (partial_.factor != 1) p.code.push_back({MapOp::mul_imm, last(), 0, 0, partial_.factor});
    if (extra > 0 || (epilogue && !epilogue->empty())) {
      const MapProgram& e = epilogue->program;
      const uint8_t element = last();
      const size_t first_operand = parts + (has_bias ? 1 : 0), first_result = inputs + p.code.size();
      auto moved = [&](uint8_t r) {
        if (r == 0) return element;
        if (r < e.inputs) return static_cast<uint8_t>(first_operand + r - 1);
        return static_cast<uint8_t>(first_result + r - static_cast<size_t>(e.inputs));
      };
      for (MapInstr i : e.code) {
        i.a = moved(i.a), i.b = moved(i.b), i.c = moved(i.c);
        p.code.push_back(i);
      }
      for (size_t i = 0; i < extra; i++) values.push_back(node_.inputs[static_cast<size_t>(slot->first_operand) + i]);
    }
    if (p.inputs > max_map_inputs || p.code.size() > max_map_instrs)
      fail(ErrorCode::not_supported, "operator '{}': what follows its sum is too long for a cut reduction",
           display_name(g_, node_));
    combined_ = {&map_op, node_.name, std::move(values), node_.outputs, sum};
  }

  Graph& g_;
  const Node node_;  // a copy: adding nodes moves the graph's
  const Domain& domain_;
  const Split& split_;
  const Partial partial_;
  Node combined_;
};

bool cuts_reduction(const Domain& domain, const Split& split) {
  for (int d = 0; d < domain.rank; d++)
    if (domain[d].tag == Tag::reduction && split.degree[static_cast<size_t>(d)] > 1) return true;
  return false;
}

// Whether operand `input` follows every reduced dimension index by index, or not at all.
bool follows_plainly(const NodeView& v, int input, const Domain& domain) {
  const Access rule = v.node.op->reads(v, input);
  if (rule.kind != Access::Kind::axes) return rule.kind == Access::Kind::none;
  for (int axis = 0; axis < rule.rank; axis++) {
    const int d = rule.axis[axis].dim;
    if (d >= 0 && domain[d].tag == Tag::reduction && !(rule.axis[axis] == axis_same(d))) return false;
  }
  return true;
}

Partial partial_of(const NodeView& v, const Domain& domain) {
  std::optional<Partial> partial = v.node.op->partial ? v.node.op->partial(v) : std::nullopt;
  bool known = partial.has_value() && v.out().dtype == DType::f32;
  for (int i = 0; i < v.inputs(); i++)
    if (v.has(i)) known = known && v.in(i).dtype == DType::f32 && (i == partial->bias || follows_plainly(v, i, domain));
  if (!known)
    fail(ErrorCode::not_supported, "operator '{}': a cut reduction of this {} cannot be run",
         display_name(v.graph, v.node), v.node.op->name);
  return *std::move(partial);
}

}  // namespace

uint32_t reduction_index(const Domain& domain, const Split& split, const Extents& part) {
  uint32_t index = 0;
  for (int d = 0; d < domain.rank; d++)
    if (domain[d].tag == Tag::reduction)
      index = index * split.degree[static_cast<size_t>(d)] + static_cast<uint32_t>(part[d]);
  return index;
}

SplitGraph split_reductions(const plan::Space& space, const std::vector<plan::Config>& configs) {
  SplitGraph out{space.graph(), {}};
  bool changed = false;
  for (size_t o = 0; o < space.ops().size(); o++) {
    const plan::PlannedOp& op = space.ops()[o];
    const Split& split = configs[o].split;
    if (!cuts_reduction(op.domain, split)) {
      out.results.push_back({out.graph.nodes[op.node].outputs[0]});
      continue;
    }
    Rewriter rewriter(out.graph, op.node, op.domain, split, partial_of(space.view(op.node), op.domain));
    out.results.push_back(rewriter.rewrite());
    out.graph.nodes[op.node] = rewriter.combined();
    changed = true;
  }
  if (changed) sort_nodes(out.graph);
  return out;
}

}  // namespace pando::dist
