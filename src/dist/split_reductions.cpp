#include "dist/split_reductions.hpp"

#include "graph/ops/ops.hpp"

namespace pando::dist {
namespace {

using plan::Split;

class Rewriter {
 public:
  Rewriter(Graph& graph, NodeId node, const Domain& domain, const Split& split)
      : g_(graph), node_(graph.nodes[node]), domain_(domain), split_(split) {}

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

  ValueId slice(ValueId v, int axis, Interval range, const std::string& name) {
    const Shape& shape = g_.shape(v);
    SliceAttrs a{std::vector<int64_t>(shape.size(), 0), std::vector<int64_t>(shape.size(), 1), shape};
    a.starts[static_cast<size_t>(axis)] = range.lo;
    a.sizes[static_cast<size_t>(axis)] = range.size();
    if (!g_.is_constant(v)) return g_.add(slice_op, name, {v}, a);
    const Tensor& from = *g_.values[v].constant;
    auto to = make_tensor(from.dtype, a.sizes);
    View in = from.view(), out = to->view();
    slice_op.evaluate(std::any(a), {&in, 1}, {&out, 1});
    return g_.add_constant({}, to);
  }

  ValueId piece(const Extents& at) {
    std::string name = fmt::format("{} [{}]", display_name(g_, node_), to_string(at.span()));
    if (node_.op == &conv_op) {
      ConvAttrs a = node_.as<ConvAttrs>();
      a.epilogue = {};
      Interval ci = interval(domain_.rank - 1, at);
      ValueId x = slice(node_.inputs[0], static_cast<int>(g_.shape(node_.inputs[0]).size()) - 1, ci, name + ".x");
      ValueId scale = node_.inputs.size() > 3 ? node_.inputs[3] : none;
      return g_.add(conv_op, name, {x, slice(node_.inputs[1], 1, ci, name + ".w"), none, scale}, a);
    }
    if (node_.op == &matmul_op) {
      MatMulAttrs a = node_.as<MatMulAttrs>();
      a.epilogue = {};
      Interval k = interval(domain_.rank - 1, at);
      int last_a = static_cast<int>(g_.shape(node_.inputs[0]).size()) - 1;
      int last_b = static_cast<int>(g_.shape(node_.inputs[1]).size()) - 1;
      ValueId left = slice(node_.inputs[0], a.trans_a ? last_a - 1 : last_a, k, name + ".a");
      ValueId right = slice(node_.inputs[1], a.trans_b ? last_b : last_b - 1, k, name + ".b");
      return g_.add(matmul_op, name, {left, right, none}, a);
    }
    ReduceAttrs a = node_.as<ReduceAttrs>();
    if (a.kind == ReduceKind::mean) a.kind = ReduceKind::sum;
    ValueId x = node_.inputs[0];
    for (int64_t axis : a.axes) {
      int d = static_cast<int>(axis);
      if (split_.degree[static_cast<size_t>(d)] > 1) x = slice(x, d, interval(d, at), name + ".x");
    }
    return g_.add(reduce_op, name, {x}, a);
  }

  // Adds in the order of the pieces, as many at once as a map takes; the last map finishes the operator.
  void combine(std::vector<ValueId> values) {
    constexpr size_t at_once = 4;
    MapOp op = MapOp::add;
    if (node_.op == &reduce_op) {
      ReduceKind kind = node_.as<ReduceAttrs>().kind;
      op = kind == ReduceKind::max ? MapOp::max : kind == ReduceKind::min ? MapOp::min : MapOp::add;
      if (kind == ReduceKind::prod) op = MapOp::mul;
    }
    auto fold = [&](size_t count) {
      MapAttrs m;
      m.program.inputs = static_cast<int>(count);
      for (size_t i = 1; i < count; i++)
        m.program.code.push_back({op, static_cast<uint8_t>(i == 1 ? 0 : count + i - 2), static_cast<uint8_t>(i)});
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
    const Epilogue* epilogue = nullptr;
    int fixed = 0, bias = -1;
    if (node_.op == &conv_op) epilogue = &node_.as<ConvAttrs>().epilogue, fixed = conv_fixed_inputs, bias = 2;
    if (node_.op == &matmul_op) epilogue = &node_.as<MatMulAttrs>().epilogue, fixed = matmul_fixed_inputs, bias = 2;
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
    if (node_.op == &reduce_op && node_.as<ReduceAttrs>().kind == ReduceKind::mean) {
      double count = 1;
      for (int64_t axis : node_.as<ReduceAttrs>().axes)
        count *= static_cast<double>(g_.shape(node_.inputs[0])[static_cast<size_t>(axis)]);
      p.code.push_back({MapOp::mul_imm, last(), 0, 0, 1 / count});
    }
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
      for (size_t i = 0; i < extra; i++) values.push_back(node_.inputs[static_cast<size_t>(fixed) + i]);
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
  Node combined_;
};

bool cuts_reduction(const Domain& domain, const Split& split) {
  for (int d = 0; d < domain.rank; d++)
    if (domain[d].tag == Tag::reduction && split.degree[static_cast<size_t>(d)] > 1) return true;
  return false;
}

void check_supported(const NodeView& v) {
  bool known = v.node.op == &matmul_op || v.node.op == &reduce_op ||
               (v.node.op == &conv_op && v.as<ConvAttrs>().group == 1 && v.graph.is_constant(v.node.inputs[1]));
  for (int i = 0; i < v.inputs(); i++) known &= !v.has(i) || v.in(i).dtype == DType::f32;
  if (!known || v.out().dtype != DType::f32)
    fail(ErrorCode::not_supported, "operator '{}': a cut reduction of this {} cannot be run",
         display_name(v.graph, v.node), v.node.op->name);
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
    check_supported(space.view(op.node));
    Rewriter rewriter(out.graph, op.node, op.domain, split);
    out.results.push_back(rewriter.rewrite());
    out.graph.nodes[op.node] = rewriter.combined();
    changed = true;
  }
  if (changed) sort_nodes(out.graph);
  return out;
}

}  // namespace pando::dist
