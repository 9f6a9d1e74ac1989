#include "optimize/fuse_maps.hpp"

#include <algorithm>

#include "optimize/map_merge.hpp"
#include "optimize/rewriter.hpp"

namespace pando {
namespace {

// A program that computes in float32: of operands and to a result of any type when it has several instructions.
bool fusible(const Rewriter& rw, const Node& node) {
  if (node.op != &map_op) return false;
  const MapProgram& program = node.as<MapAttrs>().program;
  if (program.code.size() > 1) return is_float_program(program);
  // A cast to float32 is what reading an operand of another type does.
  if (program.code[0].op == MapOp::cast)
    return rw.dtype(node.outputs[0]) == DType::f32 && is_program_type(rw.dtype(node.inputs[0]));
  const auto f32 = [&](ValueId v) { return rw.dtype(v) == DType::f32; };
  return is_float_program(program) && f32(node.outputs[0]) && std::all_of(node.inputs.begin(), node.inputs.end(), f32);
}

bool single_cast(const Node& node) {
  const MapInstr* in = single_instr(&node);
  return in && in->op == MapOp::cast;
}

// Takes the producer of one operand into the node.
bool fuse_one(Rewriter& rw, Node& node) {
  for (ValueId v : node.inputs) {
    const Node* before = rw.producer(v);
    uint32_t slots = static_cast<uint32_t>(std::count(node.inputs.begin(), node.inputs.end(), v));
    if (!before || rw.uses(v) != slots || rw.shape(v) != rw.shape(node.outputs[0]) || rw.dtype(v) != DType::f32 ||
        !fusible(rw, *before))
      continue;
    MapProgram first = before->as<MapAttrs>().program;
    if (first.code[0].op == MapOp::cast) first.code[0].op = MapOp::copy;
    auto merged = merge({std::move(first), before->inputs}, {node.as<MapAttrs>().program, node.inputs}, v);
    if (!merged) continue;
    rw.exchange_inputs(node, merged->operands);
    node.as<MapAttrs>().program = std::move(merged->program);
    return true;
  }
  return false;
}

}  // namespace

Graph fuse_maps(Graph graph, CompileContext& context) {
  return rewrite_nodes(std::move(graph), context, [](Rewriter& rw, Node& node) {
    if (fusible(rw, node) && !single_cast(node))
      while (fuse_one(rw, node)) {
      }
    return false;  // changed in place
  });
}

}  // namespace pando
