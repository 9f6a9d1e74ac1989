#include "optimize/fuse_epilogues.hpp"

#include <algorithm>

#include "optimize/map_merge.hpp"
#include "optimize/rewriter.hpp"

namespace pando {
namespace {

// The node's epilogue as a program whose register 0 is `element`.
BoundProgram bound(const Node& node, ValueId element) {
  BoundProgram r;
  r.program = node.op->epilogue->in(node.attrs).program;
  r.operands.push_back(element);
  if (r.program.code.empty()) r.program = {{}, 1};
  const auto fixed = static_cast<size_t>(node.op->epilogue->first_operand);
  if (node.inputs.size() > fixed) r.operands.insert(r.operands.end(), node.inputs.begin() + fixed, node.inputs.end());
  return r;
}

// The map's operand whose producer takes the map in: of several, the one that is made last, since the others are
// known by then.
ValueId choose(const Rewriter& rw, const Node& map) {
  ValueId best = none;
  ValueId out = map.outputs[0];
  const MapProgram& program = map.as<MapAttrs>().program;
  if (!is_float_program(program)) return none;
  const auto f32 = [&](ValueId v) { return rw.dtype(v) == DType::f32; };
  for (ValueId v : map.inputs) {
    const Node* before = rw.producer(v);
    if (!before || !before->op->epilogue) continue;
    // Products of bytes give their sums, or float32, to a program, and take its result of any type.
    const bool bytes = multiplies_bytes({rw.g, *before}), sums = bytes && rw.dtype(v) == DType::i32;
    if (!f32(v) && !(sums && program.code.size() > 1)) continue;
    if (!f32(out) && !bytes) continue;
    if (!std::all_of(map.inputs.begin(), map.inputs.end(), [&](ValueId w) { return w == v || f32(w); })) continue;
    if (rw.uses(v) != std::count(map.inputs.begin(), map.inputs.end(), v) || rw.shape(v) != rw.shape(out)) continue;
    if (best == none || rw.producer_id(v) > rw.producer_id(best)) best = v;
  }
  return best;
}

bool fuse(Rewriter& rw, Node& map) {
  if (map.op != &map_op) return false;
  ValueId v = choose(rw, map);
  if (v == none) return false;
  const Node& matrix = *rw.producer(v);
  BoundProgram first = bound(matrix, v), second{map.as<MapAttrs>().program, map.inputs};
  first.operands[0] = none;  // the element itself, register 0; its value's name is the link
  std::optional<BoundProgram> merged = merge(first, second, v);
  if (!merged) return false;
  std::vector<ValueId> added(merged->operands.begin() + static_cast<int64_t>(first.operands.size()),
                             merged->operands.end());
  Node fused = rw.extract(rw.producer_id(v));
  const EpilogueSlot& slot = *fused.op->epilogue;
  fused.inputs.resize(std::max(fused.inputs.size(), static_cast<size_t>(slot.first_operand)), none);
  slot.of(fused.attrs).program = std::move(merged->program);
  slot.of(fused.attrs).out = rw.dtype(map.outputs[0]);
  rw.emit_for(map, std::move(fused), added);
  return true;
}

}  // namespace

Graph fuse_epilogues(Graph graph, CompileContext& context) { return rewrite_nodes(std::move(graph), context, fuse); }

}  // namespace pando
