// BERT (Devlin et al. 2018), GPT-2 (Radford et al. 2019) and GPT-3 (Brown et al. 2020), with layer norm, GELU and
// attention decomposed and shapes computed by Shape, Gather and Concat, as PyTorch's exporter writes them.
#include <fmt/format.h>

#include <cmath>

#include "cli/zoo/onnx_writer.hpp"
#include "cli/zoo/zoo.hpp"

namespace pando::zoo {
namespace {

using Type = OnnxWriter::Type;

struct Transformer {
  OnnxWriter& w;
  int64_t width, heads;
  int constants = 0;

  std::string scalar(float v) { return w.floats(fmt::format("const{}", constants++), {}, {v}); }
  std::string index(int64_t v) { return w.ints(fmt::format("index{}", constants++), {}, {v}); }
  std::string list(const std::vector<int64_t>& v) {
    return w.ints(fmt::format("list{}", constants++), {static_cast<int64_t>(v.size())}, v);
  }
  std::string norm(const std::string& x, const std::string& name, float epsilon, const std::string& output = {}) {
    std::string mean = w.node("ReduceMean", {x}, {{"axes", Dims{-1}}});
    std::string centered = w.node("Sub", {x, mean});
    std::string square = w.node("Pow", {centered, scalar(2)});
    std::string variance = w.node("ReduceMean", {square}, {{"axes", Dims{-1}}});
    std::string deviation = w.node("Sqrt", {w.node("Add", {variance, scalar(epsilon)})});
    std::string scaled =
        w.node("Mul", {w.node("Div", {centered, deviation}), w.random(name + ".weight", {width}, 0.05f, 1)});
    return w.node("Add", {scaled, w.random(name + ".bias", {width}, 0.02f)}, {}, output);
  }
  std::string linear(const std::string& x, const std::string& name, int64_t in, int64_t out, float gain = 1) {
    float spread = gain / std::sqrt(static_cast<float>(in));
    std::string y = w.node("MatMul", {x, w.random(name + ".weight", {in, out}, spread)});
    return w.node("Add", {w.random(name + ".bias", {out}, 0.02f), y});
  }
  // One entry of x's shape, as a list of one.
  std::string extent(const std::string& x, int64_t axis) {
    std::string d = w.node("Gather", {w.node("Shape", {x}), index(axis)}, {{"axis", 0}});
    return w.node("Unsqueeze", {d, list({0})});
  }
  std::string reshape(const std::string& x, const std::vector<int64_t>& tail) {
    std::vector<std::string> parts{extent(x, 0), extent(x, 1)};
    for (int64_t d : tail) parts.push_back(list({d}));
    return w.node("Reshape", {x, w.node("Concat", parts, {{"axis", 0}})});
  }
  std::string split_heads(const std::string& x, Dims perm) {
    return w.node("Transpose", {reshape(x, {heads, width / heads})}, {{"perm", std::move(perm)}});
  }
  // Scores, `mask` applied, softmax, values, heads merged.
  template <class Mask>
  std::string attention(const std::string& q, const std::string& k, const std::string& v, Mask&& mask) {
    std::string scores = w.node("MatMul", {split_heads(q, {0, 2, 1, 3}), split_heads(k, {0, 2, 3, 1})});
    const int64_t per_head = width / heads;
    scores = w.node("Div", {scores, scalar(std::sqrt(static_cast<float>(per_head)))});
    std::string weights = w.node("Softmax", {mask(scores)}, {{"axis", -1}});
    std::string y = w.node("MatMul", {weights, split_heads(v, {0, 2, 1, 3})});
    return reshape(w.node("Transpose", {y}, {{"perm", Dims{0, 2, 1, 3}}}), {width});
  }
};

}  // namespace

void bert(OnnxWriter& w, const Options& o, int64_t layers, int64_t width, int64_t heads) {
  Transformer t{w, width, heads};
  int64_t s = o.sequence > 0 ? o.sequence : 128;
  for (const char* name : {"input_ids", "attention_mask", "token_type_ids"}) w.input(name, Type::i64, {o.batch, s});
  w.output("last_hidden_state", Type::f32, {o.batch, s, width});
  w.output("pooler_output", Type::f32, {o.batch, width});
  std::vector<int64_t> positions(static_cast<size_t>(s));
  for (int64_t i = 0; i < s; i++) positions[static_cast<size_t>(i)] = i;
  std::string words = w.node("Gather", {w.random("embeddings.word.weight", {30522, width}, 0.5f), "input_ids"});
  std::string types = w.node("Gather", {w.random("embeddings.type.weight", {2, width}, 0.2f), "token_type_ids"});
  std::string places =
      w.node("Gather", {w.random("embeddings.position.weight", {std::max<int64_t>(512, s), width}, 0.2f),
                        w.ints("position_ids", {1, s}, positions)});
  std::string x = t.norm(w.node("Add", {w.node("Add", {words, types}), places}), "embeddings.norm", 1e-12f);
  std::string keep = w.node("Unsqueeze", {w.node("Unsqueeze", {"attention_mask", t.list({1})}), t.list({2})});
  keep = w.node("Sub", {t.scalar(1), w.node("Cast", {keep}, {{"to", 1}})});
  std::string mask = w.node("Mul", {keep, t.scalar(-10000)});
  for (int64_t l = 0; l < layers; l++) {
    std::string n = fmt::format("encoder.{}.", l);
    std::string q = t.linear(x, n + "query", width, width), k = t.linear(x, n + "key", width, width);
    std::string v = t.linear(x, n + "value", width, width);
    std::string a = t.attention(q, k, v, [&](const std::string& scores) { return w.node("Add", {scores, mask}); });
    x = t.norm(w.node("Add", {t.linear(a, n + "attention.output", width, width), x}), n + "attention.norm", 1e-12f);
    std::string h = t.linear(x, n + "intermediate", width, 4 * width);
    std::string erf = w.node("Erf", {w.node("Div", {h, t.scalar(1.41421356237f)})});
    std::string gelu = w.node("Mul", {w.node("Mul", {h, w.node("Add", {erf, t.scalar(1)})}), t.scalar(0.5f)});
    std::string y = w.node("Add", {t.linear(gelu, n + "output", 4 * width, width), x});
    x = t.norm(y, n + "output.norm", 1e-12f, l + 1 == layers ? "last_hidden_state" : "");
  }
  std::string first = w.node("Gather", {x, t.index(0)}, {{"axis", 1}});
  std::string weight = w.random("pooler.weight", {width, width}, 1 / std::sqrt(static_cast<float>(width)));
  std::string pooled = w.node("Gemm", {first, weight, w.random("pooler.bias", {width}, 0.02f)}, {{"transB", 1}});
  w.node("Tanh", {pooled}, {}, "pooler_output");
}

void gpt(OnnxWriter& w, const Options& o, const GptSize& size) {
  constexpr int64_t vocabulary = 50257;
  const int64_t width = size.width, context = size.context;
  Transformer t{w, width, size.heads};
  int64_t s = o.sequence > 0 ? o.sequence : size.sequence;
  w.input("input_ids", Type::i64, {o.batch, s});
  w.output("logits", Type::f32, {o.batch, s, vocabulary});
  std::vector<int64_t> positions(static_cast<size_t>(s));
  for (int64_t i = 0; i < s; i++) positions[static_cast<size_t>(i)] = i;
  // The embedding is tied to the output layer; its spread is the one that keeps logits of order one.
  std::string table = w.random("wte.weight", {vocabulary, width}, 1 / std::sqrt(static_cast<float>(width)));
  std::string places = w.node("Gather", {w.random("wpe.weight", {std::max(context, s), width}, 0.02f),
                                         w.ints("position_ids", {1, s}, positions)});
  std::string x = w.node("Add", {w.node("Gather", {table, "input_ids"}), places});
  std::string triangle = w.lower_triangle("causal_mask", std::max(context, s));
  auto causal = [&](const std::string& scores) {
    std::string queries = t.extent(scores, 2), keys = t.extent(scores, 3);
    std::string rows = w.node("Slice", {triangle, t.list({0}), queries, t.list({2}), t.list({1})});
    std::string part = w.node("Slice", {rows, t.list({0}), keys, t.list({3}), t.list({1})});
    return w.node("Where", {part, scores, t.scalar(-3.4028234663852886e38f)});
  };
  for (int64_t l = 0; l < size.layers; l++) {
    std::string n = fmt::format("h.{}.", l);
    std::string qkv = t.linear(t.norm(x, n + "ln_1", 1e-5f), n + "attn.c_attn", width, 3 * width);
    std::string q = n + "query", k = n + "key", v = n + "value";
    w.nodes("Split", {qkv, t.list({width, width, width})}, {q, k, v}, {{"axis", 2}});
    x = w.node("Add", {t.linear(t.attention(q, k, v, causal), n + "attn.c_proj", width, width, 0.3f), x});
    std::string h = t.linear(t.norm(x, n + "ln_2", 1e-5f), n + "mlp.c_fc", width, 4 * width);
    std::string cubic = w.node("Mul", {t.scalar(0.044715f), w.node("Pow", {h, t.scalar(3)})});
    std::string inner = w.node("Mul", {t.scalar(0.7978845608f), w.node("Add", {h, cubic})});
    std::string gate = w.node("Add", {w.node("Tanh", {inner}), t.scalar(1)});
    std::string gelu = w.node("Mul", {w.node("Mul", {t.scalar(0.5f), h}), gate});
    x = w.node("Add", {x, t.linear(gelu, n + "mlp.c_proj", 4 * width, width, 0.3f)});
  }
  std::string head = w.node("Transpose", {table}, {{"perm", Dims{1, 0}}});
  w.node("MatMul", {t.norm(x, "ln_f", 1e-5f), head}, {}, "logits");
}

}  // namespace pando::zoo
