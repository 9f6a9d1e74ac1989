#include "optimize/recognize_attention.hpp"

#include <cmath>

#include "optimize/rewriter.hpp"

namespace pando {
namespace {

// The scale multiplies q before the product instead of the scores: a larger one might overflow there.
constexpr double largest_scale = 0x1p40;

// With a causal fill as low as this it is worth trying to leave keys out.
constexpr float masked = -1e4f;

// What lies between q k^T and the softmax: keep ? score + mask : fill. A causal mask is not part of `keep`.
struct Scores {
  const Node* matmul = nullptr;  // q k^T
  double scale = 1;
  bool causal = false;
  ValueId mask = none, keep = none, fill = none;
  ValueId seen = none;  // the condition of all replacements so far: keep and the causal one
};

// Whether element (i, j) of the last two dimensions is `open` exactly for j <= i + T - S, in all leading dimensions.
template <class Open>
bool lower_triangular(const Tensor& t, const Shape& scores, Open open) {
  size_t rank = t.shape.size();
  int64_t rows = scores[scores.size() - 2], cols = scores.back();
  // With fewer keys than queries some query sees no key: left to the mask.
  if (rank < 2 || cols < rows || t.shape[rank - 2] != rows || t.shape[rank - 1] != cols) return false;
  int64_t n = element_count(t.shape);
  for (int64_t at = 0; at < n; at++) {
    int64_t i = at / cols % rows, j = at % cols;
    if (open(at) != (j <= i + cols - rows)) return false;
  }
  return n > 0;
}

ValueId combined(Rewriter& rw, const Node& node, MapOp op, ValueId a, ValueId b, DType type) {
  return a == none ? b : rw.emit(map_op, node.name, {a, b}, map_of(op, 0, 0, type));
}

// where(condition, scores, fill) or where(condition, fill, scores), met on the way from the softmax to the product:
// what it replaces is replaced before what was found so far is done.
bool add_where(Rewriter& rw, const Node& node, const MapInstr& in, const Shape& shape, Scores& s, ValueId& rest) {
  ValueId condition = node.inputs[in.a], yes = node.inputs[in.b], no = node.inputs[in.c];
  bool keep = true;  // scores where the condition holds
  if (!scalar_value(rw.g, no)) {
    std::swap(yes, no);
    keep = false;
  }
  auto fill = scalar_value(rw.g, no);
  if (!fill || rw.shape(yes) != shape) return false;
  rest = yes;
  bool causal = false;
  if (rw.is_constant(condition) && *fill <= masked) {
    const Tensor& t = *rw.g.values[condition].constant;
    causal = lower_triangular(t, shape, [&](int64_t i) { return (t.data[i] != std::byte{0}) == keep; });
  }
  if (!keep) condition = rw.emit(map_op, node.name, {condition}, map_of(MapOp::logical_not, 0, 0, DType::boolean));
  ValueId filled =
      combined(rw, node, MapOp::add, s.mask, rw.constant(make_constant<float>(DType::f32, {}, {*fill})), DType::f32);
  if (s.seen == none) s.fill = filled;
  else s.fill = rw.emit(map_op, node.name, {s.seen, filled, s.fill}, map_of(MapOp::where));
  s.seen = combined(rw, node, MapOp::logical_and, s.seen, condition, DType::boolean);
  if (causal) s.causal = true;
  else s.keep = combined(rw, node, MapOp::logical_and, s.keep, condition, DType::boolean);
  return true;
}

// Opens what lies between the softmax and q k^T.
std::optional<Scores> open_scores(Rewriter& rw, ValueId v) {
  Scores s;
  Shape shape = rw.shape(v);
  for (int step = 0; step < 8; step++) {
    if (const Node* m = rw.producer(v, matmul_op)) {
      s.matmul = m;
      return s;
    }
    if (Scaled f = scaled(rw, v); f.x != v) {
      s.scale *= f.factor;
      v = f.x;
      continue;
    }
    const Node* found = rw.producer(v);
    const MapInstr* in = single_instr(found);
    if (!in || rw.dtype(v) != DType::f32) return {};
    // Walking backwards: a scaling met so far comes after this mask, and would have to scale the mask as well.
    if (s.scale != 1) return {};
    Node node = *found;
    MapInstr instr = *in;
    if (instr.op == MapOp::where) {
      ValueId rest = none;
      if (!add_where(rw, node, instr, shape, s, rest)) return {};
      v = rest;
    } else if (instr.op == MapOp::add) {
      ValueId a = node.inputs[instr.a], b = node.inputs[instr.b];
      auto from_scores = [&](ValueId x) {
        return rw.shape(x) == shape &&
               (rw.producer(x, matmul_op) || scaled(rw, x).x != x || (!rw.is_constant(x) && rw.producer(x, map_op)));
      };
      if (!from_scores(a)) std::swap(a, b);
      if (!from_scores(a)) return {};
      s.mask = combined(rw, node, MapOp::add, s.mask, b, DType::f32);
      v = a;
    } else {
      return {};
    }
  }
  return {};
}

// Takes a scalar factor off an operand of the products.
ValueId unscale(const Rewriter& rw, ValueId v, double& scale) {
  for (Scaled f = scaled(rw, v); f.x != v; f = scaled(rw, v)) {
    scale *= f.factor;
    v = f.x;
  }
  return v;
}

class Emit {
 public:
  Emit(Rewriter& rw, const std::string& name) : rw_(rw), name_(name) {}
  ValueId transpose(ValueId v, std::vector<int64_t> perm) {
    return rw_.emit(transpose_op, name_, {v}, TransposeAttrs{std::move(perm)});
  }
  ValueId reshape(ValueId v, Shape shape) { return rw_.emit(reshape_op, name_, {v}, ReshapeAttrs{std::move(shape)}); }
  // [B, H, rows, cols], or [BH, rows, cols] with one head, to [B, rows, H, cols]; `flip`: cols and rows are exchanged.
  ValueId heads_last(ValueId v, bool flip) {
    if (rw_.shape(v).size() == 3) {
      const Shape& s = rw_.shape(v);
      v = reshape(v, {s[0], 1, s[1], s[2]});
    }
    return transpose(v, flip ? std::vector<int64_t>{0, 3, 1, 2} : std::vector<int64_t>{0, 2, 1, 3});
  }

 private:
  Rewriter& rw_;
  std::string name_;
};

bool plain(const Rewriter& rw, const Node& m) {
  bool bias = m.inputs.size() > 2 && m.inputs[2] != none;
  return !bias && m.as<MatMulAttrs>().epilogue.empty() && rw.dtype(m.outputs[0]) == DType::f32;
}

bool match_attention(Rewriter& rw, Node& node) {
  if (node.op != &matmul_op || !plain(rw, node)) return false;
  const auto& second = node.as<MatMulAttrs>();
  if (second.trans_a || second.trans_b) return false;
  ValueId p = node.inputs[0], v = node.inputs[1];
  size_t rank = rw.shape(p).size();
  const Node* softmax = rw.producer(p, softmax_op);
  if (!softmax || !rw.single(p) || (rank != 3 && rank != 4) || rw.shape(v).size() != rank) return false;
  const auto& sm = softmax->as<SoftmaxAttrs>();
  if (sm.log || sm.axis != static_cast<int64_t>(rank) - 1 || rw.is_constant(v)) return false;
  auto scores = open_scores(rw, softmax->inputs[0]);
  if (!scores || !plain(rw, *scores->matmul)) return false;
  const Node first = *scores->matmul;
  const auto& mm = first.as<MatMulAttrs>();
  if (mm.trans_a || rw.shape(first.inputs[0]).size() != rank || rw.shape(first.inputs[1]).size() != rank) return false;
  double scale = scores->scale * mm.alpha;
  ValueId q = unscale(rw, first.inputs[0], scale), k = unscale(rw, first.inputs[1], scale);
  for (size_t i = 0; i + 2 < rank; i++)  // no broadcast of batch or heads
    if (rw.shape(q)[i] != rw.shape(k)[i] || rw.shape(q)[i] != rw.shape(v)[i]) return false;

  if (!std::isnormal(static_cast<float>(scale)) || std::abs(scale) > largest_scale) return false;

  Emit emit(rw, node.name);
  // [BH, S, T] has one head.
  auto over_heads = [&](ValueId m) {
    const Shape s = rw.shape(m);
    return rank == 3 && s.size() == 3 ? emit.reshape(m, {s[0], 1, s[1], s[2]}) : m;
  };
  std::vector<ValueId> inputs{emit.heads_last(q, false), emit.heads_last(k, !mm.trans_b), emit.heads_last(v, false)};
  if (scores->mask != none || scores->fill != none)
    inputs.push_back(scores->mask == none ? none : over_heads(scores->mask));
  if (scores->fill != none) {
    ValueId keep = scores->keep;
    if (keep != none) keep = rw.emit(map_op, node.name, {keep}, map_of(MapOp::cast));
    inputs.push_back(keep == none ? none : over_heads(keep));
    inputs.push_back(over_heads(scores->fill));
  }
  AttentionAttrs attrs{static_cast<float>(scale), scores->causal};
  ValueId y = rw.emit(attention_op, node.name, inputs, attrs);
  y = emit.transpose(y, {0, 2, 1, 3});
  if (second.alpha != 1) y = rw.emit(map_op, node.name, {y}, map_of(MapOp::mul_imm, second.alpha));
  if (rank == 3) y = emit.reshape(y, rw.shape(node.outputs[0]));
  rw.replace(node, y);
  return true;
}

}  // namespace

Graph recognize_attention(Graph graph, CompileContext& context) {
  return rewrite_nodes(std::move(graph), context, match_attention);
}

}  // namespace pando
