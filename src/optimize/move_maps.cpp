#include "optimize/move_maps.hpp"

#include <cstring>

#include "optimize/permutation.hpp"
#include "optimize/rewriter.hpp"

namespace pando {
namespace {

// Movements between a matrix operator, or a map that was moved to it, and the map at hand; the first one last.
struct Path {
  ValueId from = none;
  std::vector<Node> steps;
  bool reorders = false;  // some step is a transpose
};

constexpr size_t max_steps = 16;  // a map moves over the whole path again and again: keeps long chains linear

Path path_to(const Rewriter& rw, ValueId v) {
  Path path;
  while (rw.single(v) && path.steps.size() < max_steps) {
    const Node* node = rw.producer(v);
    if (!node) return {};
    if (node->op->epilogue || node->op->order == Order::broadcast) {
      path.from = v;
      return path;
    }
    if (node->op == &transpose_op) {
      path.reorders = true;
    } else if (!addresses({rw.g, *node}, Addressing::regroup)) {
      return {};
    }
    path.steps.push_back(*node);
    v = node->inputs[0];
  }
  return {};
}

bool keeps_last(const Path& path) {
  return std::all_of(path.steps.begin(), path.steps.end(), [](const Node& node) {
    if (node.op != &transpose_op) return true;
    const Perm& perm = node.as<TransposeAttrs>().perm;
    return perm.empty() || perm.back() == static_cast<int64_t>(perm.size()) - 1;
  });
}

constexpr int64_t max_tiled = 1 << 20;  // elements of a constant that is written out several times

// [values..., values..., ...]: what varies along the last dimension, for one `times` as long.
TensorPtr tiled(const TensorPtr& t, int64_t times) {
  int64_t n = element_count(t->shape);
  auto r = make_tensor(t->dtype, {n * times});
  for (int64_t i = 0; i < times; i++)
    std::memcpy(writable(*r) + static_cast<size_t>(i) * t->bytes(), t->data, t->bytes());
  return r;
}

// How an operand of the map on `out` is an operand of the map on `in`.
enum class Moved { no, one_element, whole, per_channel };
Moved how(const Rewriter& rw, ValueId v, const Shape& out, const Shape& in, const Path& path) {
  const Shape& shape = rw.shape(v);
  int64_t n = element_count(shape);
  if (n == 1) return Moved::one_element;
  if (shape == out) return path.reorders ? Moved::no : Moved::whole;
  bool last = !shape.empty() && !in.empty() && n == shape.back() && n == out.back();
  if (!last || !keeps_last(path)) return Moved::no;
  // Every movement keeps runs of n elements together, so position modulo n stays: if rows are whole runs.
  for (const Node& node : path.steps)
    if (rw.shape(node.inputs[0]).back() % n != 0 && path.reorders) return Moved::no;
  if (in.back() == n) return Moved::per_channel;
  return in.back() % n == 0 && in.back() <= max_tiled && rw.is_constant(v) ? Moved::per_channel : Moved::no;
}

ValueId operand(Rewriter& rw, ValueId v, Moved moved, const Shape& in, const std::string& name) {
  Shape shape = moved == Moved::whole ? in : moved == Moved::one_element ? Shape{} : Shape{element_count(rw.shape(v))};
  if (rw.is_constant(v)) {
    TensorPtr t = rw.g.values[v].constant;
    if (moved == Moved::per_channel && in.back() != shape[0]) return rw.constant(tiled(t, in.back() / shape[0]));
    return rw.constant(reshaped(t, shape));
  }
  return rw.shape(v) == shape ? v : rw.emit(reshape_op, name, {v}, ReshapeAttrs{shape});
}

bool move(Rewriter& rw, Node& map) {
  ValueId out = map.outputs[0];
  if (map.op != &map_op || rw.dtype(out) != DType::f32) return false;
  for (size_t i = 0; i < map.inputs.size(); i++) {
    if (rw.shape(map.inputs[i]) != rw.shape(out)) continue;
    Path path = path_to(rw, map.inputs[i]);
    if (path.from == none || path.steps.empty() || rw.dtype(path.from) != DType::f32) continue;
    Shape in = rw.shape(path.from), shape = rw.shape(out);
    std::vector<Moved> moved;
    for (ValueId v : map.inputs) moved.push_back(v == map.inputs[i] ? Moved::whole : how(rw, v, shape, in, path));
    if (std::find(moved.begin(), moved.end(), Moved::no) != moved.end()) continue;
    std::vector<ValueId> operands;
    for (size_t j = 0; j < map.inputs.size(); j++)
      operands.push_back(j == i ? path.from : operand(rw, map.inputs[j], moved[j], in, map.name));
    ValueId y = rw.emit(map_op, map.name, operands, map.attrs);
    for (auto step = path.steps.rbegin(); step != path.steps.rend(); ++step)
      y = rw.emit(*step->op, step->name, {y}, step->attrs);
    rw.replace(map, y);
    return true;
  }
  return false;
}

}  // namespace

Graph move_maps(Graph graph, CompileContext& context) { return rewrite_nodes(std::move(graph), context, move); }

}  // namespace pando
