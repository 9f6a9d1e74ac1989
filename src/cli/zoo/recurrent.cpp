// The recurrent networks of FlexFlow's evaluation (Jia, Zaharia, Aiken, SysML 2019): text classification (RNNTC) and a
// language model (RNNLM), LSTM layers with a softmax over the vocabulary at every step, and translation (NMT) after
// Luong et al. 2015: two layers to read, two to write, attention. 40 steps in 5 cells of 8, so that cells of a layer,
// which share its weights, can be placed apart.
#include <fmt/format.h>

#include <cmath>

#include "cli/zoo/onnx_writer.hpp"
#include "cli/zoo/zoo.hpp"

namespace pando::zoo {
namespace {

using Type = OnnxWriter::Type;
using Names = std::vector<std::string>;

constexpr int cells = 5;
constexpr int64_t steps = 8;

struct Recurrent {
  OnnxWriter& w;
  int64_t batch, width;

  std::string list(const std::string& name, const Dims& v) { return w.ints(name, {static_cast<int64_t>(v.size())}, v); }
  float spread(int64_t in) const { return 1 / std::sqrt(static_cast<float>(in)); }

  // Words of every cell, [batch, steps, width].
  Names embed(const std::string& input, const std::string& name, int64_t vocabulary) {
    w.input(input, Type::i64, {batch, cells * steps});
    std::string table = w.random(name + ".weight", {vocabulary, width}, 0.5f), axis = list(name + ".axis", {1});
    Names out;
    for (int c = 0; c < cells; c++) {
      std::string n = fmt::format("{}.{}.", name, c);
      std::string words =
          w.node("Slice", {input, list(n + "begin", {c * steps}), list(n + "end", {(c + 1) * steps}), axis});
      out.push_back(w.node("Gather", {table, words}));
    }
    return out;
  }

  struct State {
    std::string h, c;
  };
  // One layer over all cells, from `state` on where there is one, which becomes that of the end.
  Names lstm(const std::string& name, const Names& x, State& state) {
    std::string weight = w.random(name + ".weight", {1, 4 * width, width}, spread(width)),
                recurrence = w.random(name + ".recurrence", {1, 4 * width, width}, spread(width)),
                bias = w.random(name + ".bias", {1, 8 * width}, 0.02f), axis = list(name + ".axis", {1});
    Names out;
    for (size_t c = 0; c < x.size(); c++) {
      std::string n = fmt::format("{}.{}.", name, c),
                  time_first = w.node("Transpose", {x[c]}, {{"perm", Dims{1, 0, 2}}});
      w.nodes("LSTM", {time_first, weight, recurrence, bias, "", state.h, state.c}, {n + "y", n + "h", n + "c"},
              {{"hidden_size", width}});
      state = {n + "h", n + "c"};
      out.push_back(w.node("Transpose", {w.node("Squeeze", {n + "y", axis})}, {{"perm", Dims{1, 0, 2}}}));
    }
    return out;
  }

  // Products with weights that the cells share.
  Names linear(const std::string& name, const Names& x, int64_t in, int64_t out) {
    std::string weight = w.random(name + ".weight", {in, out}, spread(in)),
                bias = w.random(name + ".bias", {out}, 0.02f);
    Names y;
    for (const std::string& v : x) y.push_back(w.node("Add", {w.node("MatMul", {v, weight}), bias}));
    return y;
  }

  void softmax(const Names& x, int64_t vocabulary) {
    Names logits = linear("output", x, width, vocabulary);
    for (size_t c = 0; c < logits.size(); c++) {
      std::string name = fmt::format("probabilities{}", c);
      w.node("Softmax", {logits[c]}, {{"axis", -1}}, name);
      w.output(name, Type::f32, {batch, steps, vocabulary});
    }
  }

  // What a cell's words attend to among all that was read (global attention, dot product), joined with them.
  Names attend(const Names& x, const Names& read) {
    std::string keys = w.node("Concat", read, {{"axis", 1}});
    std::string turned = w.node("Transpose", {keys}, {{"perm", Dims{0, 2, 1}}});
    Names joined;
    for (const std::string& v : x) {
      std::string weights = w.node("Softmax", {w.node("MatMul", {v, turned})}, {{"axis", -1}});
      joined.push_back(w.node("Concat", {w.node("MatMul", {weights, keys}), v}, {{"axis", 2}}));
    }
    Names out;
    for (const std::string& v : linear("attention", joined, 2 * width, width)) out.push_back(w.node("Tanh", {v}));
    return out;
  }
};

}  // namespace

void rnn(OnnxWriter& w, const Options& o, int layers, int64_t width, int64_t vocabulary) {
  Recurrent net{w, o.batch, width};
  Names x = net.embed("words", "embedding", vocabulary);
  for (int l = 0; l < layers; l++) {
    Recurrent::State state;
    x = net.lstm(fmt::format("lstm{}", l), x, state);
  }
  net.softmax(x, vocabulary);
}

void nmt(OnnxWriter& w, const Options& o) {
  constexpr int64_t vocabulary = 32000;
  Recurrent net{w, o.batch, 1024};
  Names source = net.embed("source", "encoder.embedding", vocabulary),
        target = net.embed("target", "decoder.embedding", vocabulary);
  for (int l = 0; l < 2; l++) {
    Recurrent::State state;
    source = net.lstm(fmt::format("encoder.lstm{}", l), source, state);
    target = net.lstm(fmt::format("decoder.lstm{}", l), target, state);  // goes on where the encoder's layer ended
  }
  net.softmax(net.attend(target, source), vocabulary);
}

}  // namespace pando::zoo
