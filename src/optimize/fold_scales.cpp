#include "optimize/fold_scales.hpp"

#include <cfloat>
#include <cmath>
#include <cstring>

#include "optimize/rewriter.hpp"

namespace pando {
namespace {

// Beyond this size a factor may make infinite, in the weights, what is finite behind the sum.
constexpr float largest_factor = 0x1p40f;
bool in_range(const std::vector<float>& list, float limit) {
  return std::all_of(list.begin(), list.end(), [&](float x) { return std::abs(x) <= limit; });
}

// Weights of matmul are scaled by copying them, so only small ones.
constexpr int64_t max_scaled_weights = 1 << 18;
// A factor and an addend are written out for all channels.
constexpr int64_t max_channels = 1 << 22;

std::vector<float> floats(const Tensor& t) {
  std::vector<float> list(static_cast<size_t>(element_count(t.shape)));
  if (!list.empty()) std::memcpy(list.data(), t.data, list.size() * sizeof(float));
  return list;
}

// A constant that varies along the last dimension only, as `channels` numbers.
std::optional<std::vector<float>> per_channel(const Graph& graph, ValueId v, int64_t channels) {
  if (!graph.is_constant(v) || graph.values[v].dtype != DType::f32) return {};
  const Shape& shape = graph.shape(v);
  int64_t n = element_count(shape);
  if (n == 1) return std::vector<float>(static_cast<size_t>(channels), floats(*graph.values[v].constant)[0]);
  if (shape.empty() || n != channels || shape.back() != channels) return {};
  return floats(*graph.values[v].constant);
}

// y = x * factor + addend per channel; what a map of one instruction does to operand x.
struct Line {
  ValueId x = none;
  std::vector<float> factor, addend;  // empty: 1, 0
};
std::optional<Line> line(const Rewriter& rw, const Node& node, ValueId x) {
  const MapInstr* in = single_instr(&node);
  ValueId out = node.outputs[0];
  if (!in || rw.dtype(out) != DType::f32 || rw.shape(x) != rw.shape(out)) return {};
  int64_t channels = rw.shape(x).back();
  if (channels > max_channels) return {};
  const float p0 = static_cast<float>(in->p0), p1 = static_cast<float>(in->p1);
  auto fill = [&](float c) { return std::vector<float>(static_cast<size_t>(channels), c); };
  switch (in->op) {
    case MapOp::mul_imm: return Line{x, fill(p0), {}};
    case MapOp::add_imm: return Line{x, {}, fill(p0)};
    case MapOp::affine: return Line{x, fill(p0), fill(p1)};
    case MapOp::mul:
    case MapOp::add:
    case MapOp::sub: {
      if (node.inputs.size() != 2) return {};
      bool left = node.inputs[in->a] == x;
      if (in->op == MapOp::sub && !left) return {};
      auto c = per_channel(rw.g, node.inputs[left ? in->b : in->a], channels);
      if (!c) return {};
      if (in->op == MapOp::mul) return Line{x, *c, {}};
      if (in->op == MapOp::sub)
        for (float& e : *c) e = -e;
      return Line{x, {}, *c};
    }
    default: return {};
  }
}

ValueId constant(Rewriter& rw, const std::vector<float>& list) {
  return rw.constant(make_constant(DType::f32, {static_cast<int64_t>(list.size())}, list));
}

// The constant per-channel operand v, times `factor` (element by element) plus `addend`; absent: `missing` everywhere.
bool update(Rewriter& rw, ValueId& v, float missing, const std::vector<float>& factor,
            const std::vector<float>& addend) {
  size_t n = std::max(factor.size(), addend.size());
  std::vector<float> list(n, missing);
  if (v != none) {
    if (!rw.is_constant(v)) return false;
    list = floats(*rw.g.values[v].constant);
  }
  for (size_t i = 0; i < n; i++) {
    if (!factor.empty()) list[i] *= factor[i];
    if (!addend.empty()) list[i] += addend[i];
  }
  if (!in_range(list, FLT_MAX)) return false;
  v = constant(rw, list);
  return true;
}

bool into_conv(Rewriter& rw, Node& node, const Node& conv, const Line& l) {
  if (!conv.as<ConvAttrs>().epilogue.empty()) return false;
  std::vector<ValueId> inputs = conv.inputs;
  inputs.resize(conv_fixed_inputs, none);
  enum { bias = 2, scale = 3 };
  if (!l.factor.empty() && !update(rw, inputs[scale], 1, l.factor, {})) return false;
  if (inputs[bias] != none || !l.addend.empty())
    if (!update(rw, inputs[bias], 0, l.factor, l.addend)) return false;
  rw.replace(node, rw.emit(conv_op, conv.name, inputs, conv.attrs));
  return true;
}

bool all_equal(const std::vector<float>& list) {
  return std::all_of(list.begin(), list.end(), [&](float x) { return x == list[0]; });
}

// The weights with their columns multiplied.
TensorPtr scaled_columns(const Tensor& w, bool transposed, const std::vector<float>& factor) {
  auto t = make_tensor(DType::f32, w.shape);
  std::vector<float> list = floats(w);
  size_t rank = w.shape.size(), cols = static_cast<size_t>(w.shape[rank - 1]),
         rows = static_cast<size_t>(w.shape[rank - 2]);
  for (size_t i = 0; i < list.size(); i++) list[i] *= factor[transposed ? i / cols % rows : i % cols];
  std::memcpy(writable(*t), list.data(), t->bytes());
  return t;
}

bool into_matmul(Rewriter& rw, Node& node, const Node& matmul, const Line& l) {
  MatMulAttrs attrs = matmul.as<MatMulAttrs>();
  if (!attrs.epilogue.empty()) return false;
  std::vector<ValueId> inputs = matmul.inputs;
  inputs.resize(matmul_fixed_inputs, none);
  enum { weights = 1, bias = 2 };
  if (!l.factor.empty()) {
    ValueId w = inputs[weights];
    if (all_equal(l.factor)) {
      attrs.alpha *= l.factor[0];
      if (!(std::abs(attrs.alpha) <= largest_factor)) return false;
    } else if (rw.is_constant(w) && rw.dtype(w) == DType::f32 && element_count(rw.shape(w)) <= max_scaled_weights)
      inputs[weights] = rw.constant(scaled_columns(*rw.g.values[w].constant, attrs.trans_b, l.factor));
    else return false;
  }
  if (inputs[bias] != none || !l.addend.empty())
    if (!update(rw, inputs[bias], 0, l.factor, l.addend)) return false;
  std::string name = matmul.name;
  rw.replace(node, rw.emit(matmul_op, name, inputs, attrs));
  return true;
}

bool fold_line(Rewriter& rw, Node& node) {
  for (ValueId x : node.inputs) {
    const Node* before = rw.producer(x);
    const bool conv = before && before->op == &conv_op;
    if (!before || (!conv && before->op != &matmul_op) || !rw.single(x)) continue;
    auto l = line(rw, node, x);
    if (!l || !in_range(l->factor, largest_factor) || !in_range(l->addend, FLT_MAX)) continue;
    Node matrix = *before;  // emitting may move it
    return conv ? into_conv(rw, node, matrix, *l) : into_matmul(rw, node, matrix, *l);
  }
  return false;
}

bool fold_pad(Rewriter& rw, Node& conv) {
  const Node* pad = rw.producer(conv.inputs[0], pad_op);
  if (!pad) return false;
  const auto& p = pad->as<PadAttrs>();
  size_t rank = p.begin.size();
  bool zeros = std::visit([](auto value) { return value == 0; }, p.value);
  if (p.mode != PadMode::constant || !zeros) return false;
  if (p.begin[0] != 0 || p.end[0] != 0 || p.begin[rank - 1] != 0 || p.end[rank - 1] != 0) return false;
  ConvAttrs attrs = conv.as<ConvAttrs>();
  for (size_t i = 0; i + 2 < rank; i++) {
    if (p.begin[i + 1] < 0 || p.end[i + 1] < 0) return false;
    attrs.pads_begin[i] += p.begin[i + 1];
    attrs.pads_end[i] += p.end[i + 1];
  }
  rw.exchange_input(conv, 0, ValueId(pad->inputs[0]));
  conv.attrs = attrs;
  return true;
}

}  // namespace

Graph fold_scales(Graph graph, CompileContext& context) {
  return rewrite_nodes(std::move(graph), context, [](Rewriter& rw, Node& node) {
    if (node.op == &conv_op) fold_pad(rw, node);
    return node.op == &map_op && fold_line(rw, node);
  });
}

}  // namespace pando
