#include "optimize/blocked_products.hpp"

#include "graph/ops/common.hpp"
#include "graph/quantization.hpp"
#include "optimize/rewriter.hpp"

namespace pando {
namespace {

// Weights [n][blocks][size] (channels first), or [blocks][size][n], and what goes with each block.
struct Coded {
  TensorPtr codes, scale, zero;  // zero: null for one number
  View scale_view, zero_view;
  double one_zero = 0;
  bool channels_first = false;
  int64_t n = 0, blocks = 0, size = 0;

  int64_t code_at(int64_t channel, int64_t k) const {
    const int64_t at = channels_first ? channel * blocks * size + k : k * n + channel;
    return codes->dtype == DType::u8 ? int64_t{load<uint8_t>(codes->data, at)} : load<int8_t>(codes->data, at);
  }
  int64_t parameter(int64_t channel, int64_t block) const {
    return channels_first ? channel * blocks + block : block * n + channel;
  }
  int64_t zero_at(int64_t channel, int64_t block) const {
    return zero ? load_as<int64_t>(zero_view, parameter(channel, block)) : static_cast<int64_t>(one_zero);
  }
};

std::optional<Coded> coded(const Rewriter& rw, const Node& node) {
  const ValueId w = node.inputs[1];
  const Node* reshape = rw.producer(w);
  if (!reshape || !addresses({rw.g, *reshape}, Addressing::regroup) || rw.shape(w).size() != 2) return {};
  const Node* map = rw.producer(reshape->inputs[0]);
  const auto d = map ? as_dequantize({rw.g, *map}) : std::nullopt;
  if (!d || !rw.is_constant(d->x) || size_of(rw.dtype(d->x)) != 1 || d->scale || !rw.is_constant(d->scale_value) ||
      rw.shape(d->x).size() != 3)
    return {};
  if (!d->zero && !rw.is_constant(d->zero_value)) return {};
  Coded c;
  c.codes = rw.g.values[d->x].constant;
  c.scale = rw.g.values[d->scale_value].constant;
  c.scale_view = c.scale->view();
  if (d->zero) c.one_zero = *d->zero;
  else c.zero = rw.g.values[d->zero_value].constant, c.zero_view = c.zero->view();
  const Shape& s = c.codes->shape;
  c.channels_first = node.as<MatMulAttrs>().trans_b;
  if (c.channels_first) c.n = s[0], c.blocks = s[1], c.size = s[2];
  else c.blocks = s[0], c.size = s[1], c.n = s[2];
  const Shape parameters = c.channels_first ? Shape{c.n, c.blocks, 1} : Shape{c.blocks, 1, c.n};
  const Shape whole = c.channels_first ? Shape{c.n, c.blocks * c.size} : Shape{c.blocks * c.size, c.n};
  if (rw.shape(w) != whole || c.scale->shape != parameters || (c.zero && c.zero->shape != parameters)) return {};
  if (c.size % 16 != 0 || c.one_zero != std::trunc(c.one_zero)) return {};
  return c;
}

// The lowest code is `low`: codes of 4 bits where all fit, else of 8; nothing where not even those do.
std::optional<int64_t> bits_of(const Coded& c, int64_t low, const CompileContext& context) {
  int64_t bits = 4;
  const auto look = [&](int64_t v) {
    const int64_t shifted = v - low, four = low == 0 ? v : v + 8;
    if (four < 0 || four > 15) bits = std::max<int64_t>(bits, shifted < 0 || shifted > 255 ? 16 : 8);
  };
  for (int64_t channel = 0; channel < c.n && bits < 16; channel++) {
    context.check();
    for (int64_t k = 0; k < c.blocks * c.size; k++) look(c.code_at(channel, k));
    for (int64_t block = 0; block < c.blocks; block++) look(c.zero_at(channel, block));
  }
  if (bits > 8) return {};
  return bits;
}

TensorPtr in_blocks(const Coded& c, BlockFormat f, int64_t low, const CompileContext& context) {
  auto rows = make_tensor(DType::u8, {c.n, f.row_bytes(c.blocks * c.size)});
  const int64_t shift = low == 0 ? 0 : f.bits == 4 ? 8 : 128;
  for (int64_t channel = 0; channel < c.n; channel++) {
    context.check();
    for (int64_t block = 0; block < c.blocks; block++) {
      std::byte* to = writable(*rows) + (channel * c.blocks + block) * f.block_bytes();
      const float scale = load_as<float>(c.scale_view, c.parameter(channel, block));
      std::memcpy(to, &scale, sizeof scale);
      to[sizeof scale] = static_cast<std::byte>(c.zero_at(channel, block) + shift);
      for (int64_t i = 0; i < c.size; i++) {
        const int64_t code = c.code_at(channel, block * c.size + i) + shift;
        to[int64_t{sizeof scale} + 1 + i * f.bits / 8] |=
            static_cast<std::byte>(f.bits == 4 ? code << i % 2 * 4 : code);
      }
    }
  }
  return rows;
}

bool rewrite(Rewriter& rw, Node& node, CompileContext& context) {
  // Of matrix operators only products have weights of two dimensions.
  if (!node.op->matrix || !node.op->epilogue || node.inputs[1] == none || rw.shape(node.inputs[1]).size() != 2)
    return false;
  const auto& attrs = node.as<MatMulAttrs>();
  if (attrs.trans_a || attrs.blocks || rw.dtype(node.inputs[0]) != DType::f32) return false;
  const std::optional<Coded> c = coded(rw, node);
  if (!c) return false;
  const int64_t low = c->codes->dtype == DType::i8 ? -128 : 0;
  const std::optional<int64_t> bits = bits_of(*c, low, context);
  if (!bits || !context.affords(c->n * BlockFormat{c->size, *bits}.row_bytes(c->blocks * c->size))) return false;
  MatMulAttrs blocked = attrs;
  blocked.blocks = {c->size, *bits};
  blocked.trans_b = false;
  std::vector<ValueId> inputs = node.inputs;
  inputs[1] = rw.constant(in_blocks(*c, blocked.blocks, low, context));
  rw.replace(node, rw.emit(*node.op, node.name, inputs, blocked));
  return true;
}

}  // namespace

Graph blocked_products(Graph graph, CompileContext& context) {
  return rewrite_nodes(std::move(graph), context, [&](Rewriter& rw, Node& node) { return rewrite(rw, node, context); });
}

}  // namespace pando
