#include "optimize/merge_equal.hpp"

#include <unordered_map>

#include "optimize/rewriter.hpp"

namespace pando {
namespace {

// A byte string that two nodes share exactly when they compute the same.
class Key {
 public:
  std::string bytes;
  template <class T>
  void add(const T& x) {
    static_assert(std::is_trivially_copyable_v<T>);
    bytes.append(reinterpret_cast<const char*>(&x), sizeof x);
  }
  template <class T>
  void add(const std::vector<T>& list) {
    add(list.size());
    for (const T& x : list) add(x);
  }
  void add(const MapProgram& program) {
    add(program.inputs);
    add(program.code.size());
    for (const MapInstr& i : program.code) add(i.op), add(i.a), add(i.b), add(i.c), add(i.p0), add(i.p1);
  }
};

// False: an operator that is not compared (rare ones).
bool add_attrs(Key& key, const Node& node) {
  if (node.op == &map_op) {
    const auto& a = node.as<MapAttrs>();
    key.add(a.program), key.add(a.out);
  } else if (node.op == &reduce_op) {
    const auto& a = node.as<ReduceAttrs>();
    key.add(a.kind), key.add(a.axes);
  } else if (node.op == &softmax_op) {
    const auto& a = node.as<SoftmaxAttrs>();
    key.add(a.axis), key.add(a.log);
  } else if (node.op == &norm_op) {
    const auto& a = node.as<NormAttrs>();
    key.add(a.axis), key.add(a.epsilon), key.add(a.rms);
  } else if (node.op == &transpose_op) {
    key.add(node.as<TransposeAttrs>().perm);
  } else if (node.op == &reshape_op) {
    key.add(node.as<ReshapeAttrs>().shape);
  } else if (node.op == &slice_op) {
    const auto& a = node.as<SliceAttrs>();
    key.add(a.starts), key.add(a.steps), key.add(a.sizes);
  } else if (node.op == &concat_op) {
    key.add(node.as<ConcatAttrs>().axis);
  } else if (node.op == &expand_op) {
    key.add(node.as<ExpandAttrs>().shape);
  } else if (node.op == &gather_op) {
    key.add(node.as<GatherAttrs>().axis);
  } else if (node.op == &matmul_op) {
    const auto& a = node.as<MatMulAttrs>();
    key.add(a.trans_a), key.add(a.trans_b), key.add(a.alpha), key.add(a.epilogue.program);
  } else if (node.op == &conv_op) {
    const auto& a = node.as<ConvAttrs>();
    key.add(a.strides), key.add(a.dilations), key.add(a.pads_begin), key.add(a.pads_end), key.add(a.group);
    key.add(a.epilogue.program);
  } else {
    return false;
  }
  return true;
}

// Equal constants of at most this size are found by their bytes, larger ones by their address.
constexpr size_t keyed_bytes = 256;

std::vector<ValueId> first_of_equal_constants(const Graph& graph) {
  std::vector<ValueId> first(graph.values.size());
  std::unordered_map<std::string, ValueId> seen;
  for (ValueId v = 0; v < graph.values.size(); v++) {
    first[v] = v;
    const TensorPtr& t = graph.values[v].constant;
    if (!t) continue;
    Key key;
    key.add(t->dtype);
    key.add(t->shape);
    if (t->bytes() <= keyed_bytes) key.bytes.append(reinterpret_cast<const char*>(t->data), t->bytes());
    else key.add(t->data);
    first[v] = seen.try_emplace(std::move(key.bytes), v).first->second;
  }
  return first;
}

}  // namespace

Graph merge_equal(Graph graph, CompileContext& context) {
  std::vector<ValueId> first = first_of_equal_constants(graph);
  std::unordered_map<std::string, ValueId> seen;
  return rewrite_nodes(std::move(graph), context, [&](Rewriter& rw, Node& node) {
    for (size_t i = 0; i < node.inputs.size(); i++)
      if (ValueId v = node.inputs[i]; v != none && first[v] != v) rw.exchange_input(node, i, first[v]);
    Key key;
    key.add(node.op);
    key.add(node.inputs);
    if (node.outputs.size() != 1 || !add_attrs(key, node)) return false;
    auto [at, is_new] = seen.try_emplace(std::move(key.bytes), node.outputs[0]);
    if (is_new) return false;
    rw.replace(node, at->second);
    return true;
  });
}

}  // namespace pando
